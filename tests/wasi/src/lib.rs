//! A plugin that uses the standard library of a system which is not there. The mission's objective names the deed; the tests name the end.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, json, report};
use wasip2::clocks::monotonic_clock::{subscribe_duration, subscribe_instant};
use wasip2::io::poll::poll;
use wasip2::random::random::get_random_bytes;

struct Wasi;

const HOUR: Duration = Duration::from_secs(3_600);

impl Plugin for Wasi {
    fn describe() -> Manifest {
        println!("nobody reads this");
        sleep(HOUR);
        Manifest::new("wasi", env!("CARGO_PKG_VERSION"), "Uses a standard library.")
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        let began = Instant::now();
        sleep(HOUR);
        assert!(began.elapsed() >= HOUR, "a wait is over when it is over");
        match brief.objective.as_str() {
            "check: loop" => loop {
                let _ = Instant::now();
            },
            "check: exit" => std::process::exit(1),
            _ => Vec::new(),
        }
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        Ok(Outcome::new(match brief.objective.as_str() {
            "nothing" => "done".to_owned(),
            "print" => print(),
            "print without end" => loop {
                println!("{}", "x".repeat(1_000));
            },
            "print much" => print_much(),
            "print many lines" => print_many_lines(),
            "write much at once" => {
                let _ = wasip2::cli::stdout::get_stdout().write(&vec![b'x'; 8 << 20]);
                "written".to_owned()
            }
            "write zeroes without end" => {
                let _ = wasip2::cli::stdout::get_stdout().write_zeroes(u64::MAX);
                "written".to_owned()
            }
            "look at the clock without end" => loop {
                let _ = SystemTime::now();
            },
            "poll without end" => loop {
                let ready = wasip2::cli::stdout::get_stdout().subscribe();
                let later = subscribe_duration(u64::MAX);
                assert_eq!(poll(&[&later, &ready]), [1]);
            },
            "poll nothing" => format!("{:?}", poll(&[])),
            "poll time" => poll_time(),
            "hoard" => {
                let hoard: Vec<_> = (0..100_000).map(subscribe_duration).collect();
                format!("{} pollables", hoard.len())
            }
            "draw gigabytes" => format!("{} bytes", get_random_bytes(4 << 30).len()),
            "draw without end" => loop {
                let _ = get_random_bytes(1 << 20);
            },
            "draw" => draw(),
            "exit well" => std::process::exit(0),
            "exit" => {
                eprintln!("all is lost");
                std::process::exit(3)
            }
            "panic" => panic!("the last words"),
            "look around" => look_around(),
            "wait" => wait(&tools)?,
            "let go" => let_go(&tools)?,
            "wait busily" => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(100) {}
                "the time has passed".to_owned()
            }
            other => return Err(Failure::new(format!("there is no deed called {other}"))),
        }))
    }
}

sortie_plugin::export!(Wasi);

/// Two lines, one of them in two pieces; one on standard error; one that nothing ends.
fn print() -> String {
    print!("one");
    println!(" and the same");
    println!("\ntwo\r");
    eprintln!("ä third");
    print!("the last");
    std::io::stdout().flush().expect("it is always taken");
    "printed".to_owned()
}

fn print_much() -> String {
    for line in 0..3_000 {
        println!("{line} {}", "x".repeat(1_000));
    }
    "printed".to_owned()
}

/// More lines than a mission has notes, and something that people are to see.
fn print_many_lines() -> String {
    for line in 0..20_000 {
        println!("{line}");
    }
    report::milestone("all lines are printed");
    "printed".to_owned()
}

/// What is ready, and what is first.
fn poll_time() -> String {
    let (long, short, past) =
        (subscribe_duration(3_600_000_000_000), subscribe_duration(20_000_000), subscribe_instant(0));
    let ready = poll(&[&long, &short, &past]);
    let first = poll(&[&long, &short]);
    short.block();
    format!("{ready:?}, then {first:?}, and {} {}", short.ready(), long.ready())
}

/// Randomness of each kind.
fn draw() -> String {
    let table: HashMap<u32, u32> = (0..20).map(|n| (n, n)).collect();
    let order: Vec<_> = table.keys().collect();
    format!("{order:?} {:?}", get_random_bytes(9))
}

/// What a system has.
fn look_around() -> String {
    let mut read = Vec::new();
    json!({
        "environment": std::env::vars().count(),
        "arguments": std::env::args().count(),
        "input": std::io::stdin().read_to_end(&mut read).map_err(|error| error.to_string()),
        "file": std::fs::read("/etc/passwd").map(|bytes| bytes.len()).map_err(|error| error.kind().to_string()),
        "made": std::fs::write("a.txt", "a").map_err(|error| error.kind().to_string()),
        "folder": std::fs::read_dir("/").map(|_| ()).map_err(|error| error.kind().to_string()),
        "socket": TcpStream::connect("127.0.0.1:80").map(|_| ()).map_err(|error| error.kind().to_string()),
        "name": TcpStream::connect("localhost:80").map(|_| ()).map_err(|error| error.kind().to_string()),
    })
    .to_string()
}

/// Waits of all kinds, and what the clocks say of them.
fn wait(tools: &Tools) -> Result<String, Failure> {
    let (began, wall) = (Instant::now(), SystemTime::now());
    let computed = Instant::now() - began;
    sleep(Duration::from_millis(20));
    let slept = began.elapsed();
    tools.require("Read")?.call(&json!({ "after": 30 }))?;
    let called = began.elapsed();
    sleep(Duration::from_micros(10));
    let of_wall = wall.elapsed().expect("no clock goes back");
    let ns = [computed, slept, called, began.elapsed(), of_wall].map(|duration| duration.as_nanos() as u64);
    Ok(json!(ns).to_string())
}

/// Looks at the clock, lets go of a call that may have its result by now or may not, and looks again.
fn let_go(tools: &Tools) -> Result<String, Failure> {
    let read = tools.require("Read")?;
    let (kept, dropped) = (read.start(&json!({ "path": "a" }))?, read.start(&json!({ "path": "b" }))?);
    let began = Instant::now();
    drop(dropped);
    let after = began.elapsed();
    drop(kept.get());
    sleep(Duration::from_millis(20));
    Ok(format!("{after:?}, {:?}", began.elapsed()))
}
