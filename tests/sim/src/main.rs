//! `cargo xtask sim`: so many seeds from a first one on. Prints how often what happened; of a seed in which something was
//! wrong, everything that happened.

use std::process::ExitCode;

use sortie_sim::{About, run_all};

#[expect(clippy::print_stdout, reason = "it is this program's data")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let mut numbers = arguments.map(|text| text.parse::<u64>());
    let (Some(about), Some(Ok(from)), Some(Ok(count))) =
        (what.as_deref().and_then(about), numbers.next(), numbers.next())
    else {
        eprintln!("sortie-sim missions|thrift|forks|families|fleet|schedules FIRST_SEED COUNT");
        return ExitCode::FAILURE;
    };
    match run_all(about, from, count) {
        Ok(counts) => {
            counts.iter().for_each(|(what, n)| println!("{n:>9} {what}"));
            println!("{count} seeds from {from} on: all histories ended well");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn about(what: &str) -> Option<About> {
    match what {
        "missions" => Some(About::Missions),
        "thrift" => Some(About::Thrift),
        "forks" => Some(About::Forks),
        "families" => Some(About::Families),
        "fleet" => Some(About::Fleet),
        "schedules" => Some(About::Schedules),
        _ => None,
    }
}
