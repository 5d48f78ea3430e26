//! `cargo xtask sim`: the driver in the simulation of `tests/sim`, through as many histories as one likes.

use crate::shell::{self, Project};

/// Histories, where nobody says how many.
const SEEDS: u64 = 10_000;

/// Simulates; one seed alone, where only that is named.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let (mut seeds, mut first, mut about) = (None, None, "missions");
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let value = match flag.as_str() {
            "--schedules" | "--forks" | "--families" | "--fleet" => {
                about = &flag[2..];
                continue;
            }
            "--seeds" => &mut seeds,
            "--seed" => &mut first,
            _ => {
                return Err(format!(
                    "`{flag}` is none of --seeds, --seed, --schedules, --forks, --families and --fleet"
                ));
            }
        };
        let number = rest.next().and_then(|text| text.parse::<u64>().ok());
        *value = Some(number.ok_or_else(|| format!("{flag} takes a number"))?);
    }
    let count = seeds.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let mut sim = project.cargo_with("run --release --quiet --package sortie-sim --");
    shell::run(sim.arg(about).args([first.unwrap_or(0), count].map(|number| number.to_string())))
}
