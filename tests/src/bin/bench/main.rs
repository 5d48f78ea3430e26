//! `cargo xtask bench [--only SHAPE]…`: the figures of `docs/BENCHMARKS.md`, measured from outside on a release build.
//!
//! The load comes from this process, on the same cores as the node: the figures are of the machine, not of the node alone.
//! A shape that users have is measured beside its small case, in turns within one run, because machines are noisy: what
//! counts of it is the ratio. Lines for people, or with `--json` an object a line.
//!
//! Owns which shapes there are and how large; what each measures is in a module of its own.

#![expect(clippy::print_stdout, reason = "figures are this program's data")]
#![expect(clippy::disallowed_methods, reason = "measuring is what it does")]
#![expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]

mod agent;
mod client;
mod crowd;
mod journal;
mod kept;
mod lists;
mod long;
mod memory;
mod pages;
mod plain;
mod report;
mod schedules;
mod sizes;
mod store;
mod tools;

#[path = "../../../../runtime/journal/tests/postgres_kit/server.rs"]
#[allow(dead_code, reason = "the tests of the journal use more of it")]
mod server;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt as _;
use report::Report;
use sizes::Sizes;

/// Every shape, in the order in which they are measured, and what it is.
const SHAPES: [(&str, &str); 21] = [
    ("floor", "what the machine gives to a bare echo"),
    ("dispatch", "durable dispatches a second"),
    ("missions", "trivial missions a second"),
    ("cancel", "cancels of running missions"),
    ("steps", "durable steps a second"),
    ("replay", "recorded calls gone over a second"),
    ("inputs", "dispatches with large inputs, beside small ones"),
    ("sessions", "dispatches of a VP with many sessions, beside one with one"),
    ("callbacks", "missions whose receiver is fast, slow or dead, beside missions without one"),
    ("watchers", "missions that are watched, beside missions that nobody watches"),
    ("lists", "a page of each list that is long, beside one that is short"),
    ("pages", "each page of the dashboard with many missions beside few, and who looks on"),
    ("long", "pages, places and a fork of a mission with a long record, beside a short one"),
    ("kept", "a node that keeps many missions, beside a new one"),
    ("idle", "memory of a node with nothing to do"),
    ("queued", "memory and restart with many queued missions"),
    ("blocked", "memory, restart and requests with many blocked missions"),
    ("schedules", "memory and start with many schedules, the lateness of many fires at once, a long preview"),
    ("tools", "calls of a tool server, missions of an agent, memory of missions that wait for a model"),
    ("store", "missions in a database, by one node and three, beside missions in a file"),
    ("agent", "turns of coding missions, what they leave in the journal, their replay, the sizes of plugins"),
];

#[tokio::main]
async fn main() -> ExitCode {
    let mut wanted = Vec::new();
    let (mut smoke, mut json) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--smoke" => smoke = true,
            "--json" => json = true,
            tools::SERVER => {
                tools::serve();
                return ExitCode::SUCCESS;
            }
            // What follows it is a shape, as is what stands alone.
            "--only" => {}
            shape if SHAPES.iter().any(|(known, _)| *known == shape) => wanted.push(argument),
            _ => {
                eprintln!("bench [--smoke] [--json] [--only SHAPE]…; the shapes are:");
                SHAPES.iter().for_each(|(shape, what)| eprintln!("  {shape:<10} {what}"));
                return ExitCode::from(2);
            }
        }
    }
    let sizes = if smoke { Sizes::SMOKE } else { Sizes::FULL };
    let report = Report::new(json);
    let begun = Instant::now();
    let mut broken = Vec::new();
    for (shape, _) in SHAPES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == shape) {
            // One that cannot be measured does not take the others with it.
            let report = report.of(shape);
            let measured = AssertUnwindSafe(measure(shape, &sizes, &report)).catch_unwind().await;
            broken.extend(measured.is_err().then_some(shape));
        }
    }
    eprintln!("measured in {:.0?}", begun.elapsed());
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("could not be measured: {}; see above", broken.join(", "));
    ExitCode::FAILURE
}

async fn measure(shape: &str, sizes: &Sizes, report: &Report) {
    match shape {
        "floor" => plain::floor(sizes, report).await,
        "dispatch" => plain::dispatches(sizes, report).await,
        "missions" => plain::missions(sizes, report).await,
        "cancel" => plain::cancels(sizes, report).await,
        "steps" => plain::steps(sizes, report).await,
        "replay" => plain::replays(sizes, report).await,
        "inputs" => crowd::inputs(sizes, report).await,
        "sessions" => crowd::sessions(sizes, report).await,
        "callbacks" => crowd::callbacks(sizes, report).await,
        "watchers" => crowd::watchers(sizes, report).await,
        "lists" => lists::lists(sizes, report).await,
        "pages" => pages::pages(sizes, report).await,
        "long" => long::long(sizes, report).await,
        "kept" => kept::kept(sizes, report).await,
        "idle" => memory::idle(report).await,
        "queued" => memory::queued(sizes, report).await,
        "blocked" => memory::blocked(sizes, report).await,
        "schedules" => schedules::schedules(sizes, report).await,
        "tools" => tools::tools(sizes, report).await,
        "store" => store::store(sizes, report).await,
        "agent" => agent::agent(sizes, report).await,
        other => unreachable!("{other} is in the table"),
    }
}
