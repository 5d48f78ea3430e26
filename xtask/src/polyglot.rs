//! `cargo xtask polyglot DIR`: the Polyglot benchmark with the plugin `coding`, on a node that is built here: whether a mission is `completed` says
//! whether the work is good.
//!
//! The benchmark and jest are other people's, and are not got here: they are named.

use std::path::{Path, PathBuf};

use crate::setup;
use crate::shell::{self, Project};

/// The test that does it, which needs what this command gives it.
const TEST: &str = "polyglot::a_mission_is_completed_if_and_only_if_the_solution_is_right";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    benchmark: &'a str,
    jest: Option<&'a str>,
    tasks: Option<&'a str>,
}

/// Builds what it needs, and runs it.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let asked = Asked::of(arguments)?;
    let benchmark =
        folder(asked.benchmark, "rust/exercises/practice", "clone github.com/Aider-AI/polyglot-benchmark there")?;
    let jest = match asked.jest {
        None => {
            eprintln!("without --jest the tasks of JavaScript are left out");
            None
        }
        Some(named) => Some(folder(
            named,
            "node_modules/jest/bin/jest.js",
            "run there `npm install --no-save jest@29 babel-jest@29 @babel/core @exercism/babel-preset-javascript core-js`",
        )?),
    };
    setup::plugins(project)?;
    // With the whole workspace, as the test is: its dependencies are compiled once.
    shell::run(&mut project.cargo_with("build --workspace --bin sortie"))?;
    let mut test = project.cargo_with("test --workspace --quiet --test coding -- --ignored --nocapture --exact");
    test.arg(TEST).env("SORTIE_BIN", project.target().join("debug").join("sortie")).env("SORTIE_POLYGLOT", benchmark);
    if let Some(jest) = jest {
        test.env("SORTIE_JEST", jest);
    }
    if let Some(tasks) = asked.tasks {
        test.env("TASKS", tasks);
    }
    shell::run(&mut test)
}

impl<'a> Asked<'a> {
    fn of(arguments: &'a [String]) -> Result<Self, String> {
        let (mut benchmark, mut jest, mut tasks) = (None, None, None);
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(word) = rest.next() {
            let (place, value) = match word {
                "--jest" => (&mut jest, rest.next()),
                "--tasks" => (&mut tasks, rest.next()),
                folder => (&mut benchmark, Some(folder)),
            };
            if place.is_some() {
                return Err(format!("`{word}` is too much: one checkout of the benchmark, and each option once"));
            }
            *place = value;
        }
        let benchmark = benchmark.ok_or("name a checkout of the benchmark: `cargo xtask polyglot DIR`")?;
        match tasks.map(str::parse::<u32>) {
            None | Some(Ok(1..)) => Ok(Self { benchmark, jest, tasks }),
            Some(_) => Err("--tasks takes a number from 1 on".to_owned()),
        }
    }
}

/// A folder that holds what it is to hold, by its whole name.
fn folder(named: &str, holds: &str, remedy: &str) -> Result<PathBuf, String> {
    if !Path::new(named).join(holds).exists() {
        return Err(format!("{named} has no {holds}: {remedy}"));
    }
    std::fs::canonicalize(named).map_err(|error| format!("{named}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checkout_is_named_and_each_option_once() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let all = words("b --jest j --tasks 3");
        assert_eq!(Asked::of(&all), Ok(Asked { benchmark: "b", jest: Some("j"), tasks: Some("3") }));
        let plain = words("b");
        assert_eq!(Asked::of(&plain), Ok(Asked { benchmark: "b", jest: None, tasks: None }));
        for (line, told) in [
            ("", "name a checkout"),
            ("--tasks 3", "name a checkout"),
            ("a b", "`b` is too much"),
            ("a --tasks 1 --tasks 2", "`--tasks` is too much"),
            ("a --tasks none", "--tasks takes a number"),
            ("a --tasks 0", "--tasks takes a number"),
        ] {
            let words = words(line);
            let said = Asked::of(&words).expect_err(line);
            assert!(said.contains(told), "{line}: {said}");
        }
        let said = folder("nowhere", "node_modules/jest", "install it").expect_err("there is none");
        assert_eq!(said, "nowhere has no node_modules/jest: install it");
    }
}
