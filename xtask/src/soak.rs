//! `cargo xtask soak --fleet`: what happens to several nodes on one PostgreSQL, for as many rounds as one likes.

use std::path::Path;

use crate::shell::{self, Project};
use crate::{network, postgres, setup};

/// Rounds, where nobody says how many.
const ROUNDS: u64 = 200;

/// The test that makes them.
const TEST: &str = "faults::whatever_happens_each_mission_ends_once_and_each_effect_is_there_once";

/// The test that exchanges another revision's nodes, one by one.
const UPGRADE: &str = "upgrade::nodes_are_drained_exchanged_and_go_on_one_by_one";

/// Makes them; with a seed that is printed, where none is given.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let (mut rounds, mut seed, mut old) = (None, None, None);
    let mut rest = arguments.iter();
    let mut is_of_fleet = false;
    while let Some(flag) = rest.next() {
        let value = match flag.as_str() {
            "--fleet" => {
                is_of_fleet = true;
                continue;
            }
            "--with" => {
                let path = Path::new(rest.next().ok_or("--with takes the binary of another revision")?);
                // Seen from where the tests run.
                old = Some(path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?);
                continue;
            }
            "--rounds" => &mut rounds,
            "--seed" => &mut seed,
            _ => return Err(format!("`{flag}` is none of --fleet, --rounds, --seed and --with")),
        };
        let number = rest.next().and_then(|text| text.parse::<u64>().ok());
        *value = Some(number.ok_or_else(|| format!("{flag} takes a number"))?);
    }
    if !is_of_fleet {
        return Err("say what: `soak --fleet` is all that there is".to_owned());
    }
    setup::plugins(project)?;
    let node = project.build_node(false)?;
    let postgres = postgres::installed(project)?;
    network::installed();
    // What sets a node's clock.
    shell::run(&mut project.cargo_with("build --quiet --package sortie-faults --examples"))?;
    // By cargo's own runner, which lets a test take as long as it takes.
    let mut soak = project.cargo_with("test --package sortie-tests --test fleet -- --nocapture --exact");
    soak.arg(TEST).env("SORTIE_BIN", node).env(postgres::POSTGRES, postgres);
    soak.env("FLEET_ROUNDS", rounds.unwrap_or(ROUNDS).to_string());
    if let Some(old) = old {
        soak.arg(UPGRADE).env("SORTIE_BIN_OLD", old);
    }
    if let Some(seed) = seed {
        soak.env("FLEET_SEED", seed.to_string());
    }
    shell::run(&mut soak)
}
