//! The crimes, by name.

use std::hint::black_box;
use std::time::Duration;

use sortie_plugin::{Brief, CallError, Failure, Outcome, Tools, artifacts, json, report, time, wait_any};

use crate::raw;

/// Does what the objective says; a build that was `mended` does one thing better.
pub fn commit(brief: &Brief, tools: &Tools, mended: bool) -> Result<Outcome, Failure> {
    match brief.objective.as_str() {
        "nothing" => Ok(Outcome::new("done")),
        "endless loop" => spin(),
        "call, then loop" => {
            tools.require("Write")?.call(&json!({ "path": "a.txt", "content": "a" }))?;
            report::milestone("from here on it computes");
            spin()
        }
        "call storm" => loop {
            let _ = time::now_ms();
            let _ = tools.require("Read")?.call(&json!({}));
            drop(tools.require("Read")?.start(&json!({})));
            report::debug("storm");
        },
        "memory bomb" => memory_bomb(),
        "deep recursion" => Ok(Outcome::new(dive(1).to_string())),
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("the last words"),
        "panic until mended" => panic_until(mended, tools),
        "complain until mended" => complain_until(mended, tools),
        "fail until mended" => fail_until(mended, tools),
        "look until mended" => look_until(mended, tools),
        "giant strings" => giant_strings(tools),
        "giant name" => raw::giant_name(),
        "giant summary" => Ok(Outcome::new("ä".repeat(20 << 20))),
        "invalid utf-8" => Ok(Outcome::new(raw::invalid_utf8())),
        "forged tool" => raw::call_tool(4_711),
        "forged pending" => raw::get_pending(4_711),
        "tool as pending" => raw::get_pending(raw::first_handle()),
        "wait for nothing" => raw::wait_for_nothing(),
        "hoard" => hoard(tools),
        "hoard results" => hoard_results(tools),
        "ignore refusals" => ignore_refusals(tools),
        "sleep for ever" => {
            time::sleep(Duration::MAX);
            Ok(Outcome::new("woke up"))
        }
        "race" => race(tools),
        "stable results" => stable_results(tools),
        other => Err(Failure::new(format!("there is no crime called {other}"))),
    }
}

/// Works, and panics in the middle of it, unless somebody mended that.
fn panic_until(mended: bool, tools: &Tools) -> Result<Outcome, Failure> {
    tools.require("Write")?.call(&json!({ "path": "a.txt", "content": "a" }))?;
    report::milestone("half way");
    assert!(mended, "the last words");
    report::milestone("past it");
    Ok(Outcome::new("went well"))
}

/// What a language does that writes its traceback on standard error: lines of the log, and the end.
fn complain_until(mended: bool, tools: &Tools) -> Result<Outcome, Failure> {
    tools.require("Write")?.call(&json!({ "path": "a.txt", "content": "a" }))?;
    report::info("half way");
    if !mended {
        for line in ["Traceback:", "  in run", "KeyError"] {
            report::warn(line);
        }
        core::arch::wasm32::unreachable();
    }
    report::milestone("past it");
    Ok(Outcome::new("went well"))
}

/// What a library does that catches an error: it is logged, and the plugin has failed.
fn fail_until(mended: bool, tools: &Tools) -> Result<Outcome, Failure> {
    tools.require("Write")?.call(&json!({ "path": "a.txt", "content": "a" }))?;
    if !mended {
        report::error("TypeError: undefined is not a function");
        return Err(Failure::new("the plugin failed"));
    }
    report::milestone("past it");
    Ok(Outcome::new("went well"))
}

/// The same as an engine does it that looks at the clock when it makes an error and when it writes. What is logged has the place of the build
/// in it. The plugin has looked at the clock itself before that.
fn look_until(mended: bool, tools: &Tools) -> Result<Outcome, Failure> {
    tools.require("Write")?.call(&json!({ "path": "a.txt", "content": "a" }))?;
    report::milestone("half way");
    let before = time::now_ms();
    if !mended {
        let _ = time::now_ms();
        report::error(format!("TypeError: undefined is not a function\nrun@/build/{}/plugin.js", crate::mode()));
        let _ = time::now_ms();
        return Err(Failure::new("the plugin failed"));
    }
    tools.require("Write")?.call(&json!({ "path": "b.txt", "content": before.to_string() }))?;
    Ok(Outcome::new("went well"))
}

/// Computes nothing, for ever.
pub fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn memory_bomb() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "the crime")]
fn dive(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    black_box(dive(depth + room[0])) + room[1]
}

/// Each is larger than it may be, and each is answered by a value.
fn giant_strings(tools: &Tools) -> Result<Outcome, Failure> {
    let giant = "x".repeat(9 << 20);
    report::milestone(&giant);
    report::error(&giant);
    report::judge(usize::try_from(u32::MAX).unwrap_or(0), report::Verdict::Met, &giant);
    let refused = tools.require("Read")?.call(&giant);
    assert!(matches!(refused, Err(CallError::InvalidArguments(_))), "{refused:?}");
    assert!(artifacts::put(&giant, "text/plain", "").is_err());
    assert!(artifacts::put("a", &giant, "").is_err());
    assert!(artifacts::put_file("a", "text/plain", &giant).is_err());
    assert!(artifacts::get(&giant).is_err());
    drop(giant);
    let too_large = vec![0_u8; (64 << 20) + 1];
    assert!(artifacts::put("a", "text/plain", &too_large).is_err());
    Ok(Outcome::new("every giant was refused"))
}

/// Starts calls and never takes a result: the 65th fails, the 1025th handle is one too many.
fn hoard(tools: &Tools) -> Result<Outcome, Failure> {
    let read = tools.require("Read")?;
    let mut held = Vec::new();
    for n in 0.. {
        let pending = read.start(&json!({ "wait": true }))?;
        if n >= 64 {
            assert!(matches!(pending.get(), Err(CallError::Failed(_))), "call {n} is one too many");
        }
        held.push(pending);
    }
    Ok(Outcome::new("held everything"))
}

/// Takes results and never lets go of them.
fn hoard_results(tools: &Tools) -> Result<Outcome, Failure> {
    let read = tools.require("Read")?;
    let mut held = Vec::new();
    loop {
        let pending = read.start(&json!({ "bytes": 4 << 20 }))?;
        drop(pending.get());
        held.push(pending);
    }
}

fn ignore_refusals(tools: &Tools) -> Result<Outcome, Failure> {
    let write = tools.require("Write")?;
    let refusals = (0..1_000).filter(|_| matches!(write.call(&json!({})), Err(CallError::Denied(_)))).count();
    Ok(Outcome::new(format!("refused {refusals} times, and done all the same")))
}

/// A call and a timer: the timer is first, the call is dropped.
fn race(tools: &Tools) -> Result<Outcome, Failure> {
    let slow = tools.require("Read")?.start(&json!({ "wait": true }))?;
    let timer = time::after(Duration::from_millis(5));
    let first = wait_any([&slow, &timer]);
    drop(slow);
    timer.get()?;
    Ok(Outcome::new(format!("{first} was first")))
}

/// A result is the same every time, whether it came late, early or as an error.
fn stable_results(tools: &Tools) -> Result<Outcome, Failure> {
    let (read, write) = (tools.require("read")?, tools.require("WRITE")?);
    let pending = [read.start(&json!({ "after": 5 }))?, read.start(&json!({}))?, write.start(&json!({}))?];
    for pending in &pending {
        let first = pending.get();
        assert_eq!(first, pending.get());
        assert_eq!(wait_any([pending]), 0);
    }
    Ok(Outcome::new(format!("{} and {}", read.name(), write.name())))
}
