//! Nothing outlives its command: not in the background, not in another session, not when the call is dropped, not when the node is killed.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::world::World;

/// Set in the process that is killed in place of a node.
const VICTIM: &str = "SORTIE_TEST_VICTIM";

/// A number of seconds that no other process sleeps for.
pub(crate) fn mark(number: u32) -> String {
    format!("{}.{number}", 1_000_000 + std::process::id())
}

/// How many processes of this machine have that text in their arguments.
pub(crate) fn alive(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let told = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    told.filter(|arguments| String::from_utf8_lossy(arguments).split('\0').any(|argument| argument == mark)).count()
}

/// The monitor that a process with that text in its arguments runs under.
fn monitor_above(mark: &str) -> i32 {
    let told = |pid: &str, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| process.file_name().into_string().ok());
    let marked = |pid: &String| told(pid, "cmdline").split('\0').any(|argument| argument == mark);
    let mut pid = all.into_iter().find(marked).unwrap();
    while !told(&pid, "cmdline").ends_with("\0monitor\0") {
        let status = told(&pid, "status");
        pid = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a monitor above").to_owned();
    }
    pid.parse().unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}

/// Ways to stay behind; `{}` is what stays.
const WAYS: [(&str, &str); 9] = [
    ("in the background", "{} &"),
    ("without a shell that minds", "nohup {} >/dev/null 2>&1 & disown"),
    ("in another session", "setsid {} &"),
    ("forked twice", "( ( {} & ) & )"),
    ("forked twice in another session, with no output", "setsid sh -c '{} >/dev/null 2>&1 </dev/null &' & "),
    ("with the output in hand", "({}) & exec >&- 2>&-"),
    ("deaf", "(trap '' TERM HUP INT; {}) &"),
    ("a daemon", "perl -MPOSIX -e 'fork and exit; POSIX::setsid(); fork and exit; exec @ARGV' -- {}"),
    ("stopped", "{} & until grep -s -q -x sleep /proc/$!/comm; do :; done; kill -STOP $!"),
];

#[tokio::test]
async fn whatever_stays_behind_is_dead_when_the_call_is_over() {
    let world = World::new().await;
    for (number, (name, way)) in (0..).zip(WAYS) {
        let mark = mark(number);
        // It is there before the command ends.
        let wait = "until grep -s -q -x sleep /proc/[0-9]*/comm; do :; done; touch seen; exit 5";
        let command = format!("{}\n{wait}", way.replace("{}", &format!("sleep {mark}")));
        let ran = world.run(&command).await;
        assert_eq!((ran.code, alive(&mark)), (5, 0), "{name}: {ran:?}");
        assert!(fs::remove_file(world.mine().join("seen")).is_ok(), "{name}: it was never there: {ran:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_all_with_it() {
    let world = World::new().await;
    let mark = mark(100);
    let command = format!("setsid sleep {mark} & sleep {mark} & sleep {mark}");
    let arguments = json!({"command": command});
    {
        let call = world.call(&arguments);
        tokio::pin!(call);
        tokio::select! {
            ended = &mut call => panic!("{ended:?}"),
            () = until("all three run", || alive(&mark) >= 3) => {}
        }
    }
    until("all are dead", || alive(&mark) == 0).await;
    // What it wrote until then is counted when the next one writes.
    assert_eq!(world.run("echo next").await.stdout, "next\n");
}

#[tokio::test]
async fn a_call_whose_monitor_is_killed_fails_and_takes_all_with_it() {
    let world = World::new().await;
    let mark = mark(200);
    let arguments = json!({"command": format!("setsid sleep {mark} & sleep {mark}")});
    let call = world.call(&arguments);
    tokio::pin!(call);
    tokio::select! {
        ended = &mut call => panic!("{ended:?}"),
        () = until("both run", || alive(&mark) >= 2) => {}
    }
    let monitor = monitor_above(&mark);
    rustix::process::kill_process(rustix::process::Pid::from_raw(monitor).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    let told = call.await.unwrap_err().to_string();
    assert!(told.contains("broke off"), "{told}");
    until("all are dead", || alive(&mark) == 0).await;
}

/// Nothing by itself; in a process of its own, what a node does that is about to be killed.
#[tokio::test]
async fn a_victim_runs_a_command() {
    let Ok(mark) = std::env::var(VICTIM) else { return };
    let world = World::new().await;
    let _ = world.run(&format!("setsid sleep {mark} & (sleep {mark} &) ; sleep {mark}")).await;
}

#[tokio::test]
async fn a_node_that_is_killed_takes_all_with_it() {
    let mark = mark(300);
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outlive::a_victim_runs_a_command"])
        .env(VICTIM, &mark)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("all three run", || alive(&mark) >= 3).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("all are dead", || alive(&mark) == 0).await;
}
