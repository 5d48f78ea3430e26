//! `cargo xtask sim`: so many seeds from a first one on. Prints how often what happened; of a seed in which something was
//! wrong, everything that happened.

use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "it is this program's data")]
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(from)), Some(Ok(count))) = (numbers.next(), numbers.next()) else {
        eprintln!("sortie-sim FIRST_SEED COUNT");
        return ExitCode::FAILURE;
    };
    match sortie_sim::run_all(from, count) {
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
