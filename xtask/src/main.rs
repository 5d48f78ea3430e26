//! What the README's commands call: `cargo xtask demo`, `test`, `sim`, `plugins`, `soak`, `bench`, `polyglot`,
//! `dist`, `book`, `screenshots`.
//!
//! Two of them do everything on a fresh machine that has rustup's cargo: each sets up what it needs, and says plainly what
//! it cannot get. Small on purpose (standard library only): it is the first thing that is compiled.

mod authored;
mod bench;
mod book;
mod browser;
mod debian;
mod demo;
mod dist;
mod guests;
mod moto;
mod network;
mod npm;
mod polyglot;
mod postgres;
mod promtool;
mod readers;
mod redis;
mod registry;
mod servers;
mod setup;
mod shell;
mod sim;
mod soak;
mod tally;
mod test;

use std::process::ExitCode;

use crate::shell::Project;

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--fleet]       builds everything, starts a node and a receiver for its callbacks, dispatches the missions of
                       examples/demo/, shows their events live, and ends with a table of what became of them; with --fleet,
                       three nodes on one PostgreSQL and a control plane that holds them to the contract, while one is killed
  test [--quick]       what CI runs: formatting, lints, documentation, every test; the last line is `N passed, N failed`;
                       --quick leaves out the lints and the documentation
  sim [--schedules | --forks | --families | --fleet] [--seeds N] [--seed FIRST]
                       simulates a node through N histories (10,000) of crashes, faults and contradictions, each from a seed
                       of its own; of one in which something is wrong, prints everything that happened; with --schedules,
                       through months in which schedules make the missions; with --forks, with people who fork them
  soak --fleet [--rounds N] [--seed S] [--with BINARY]
                       lets three nodes on one PostgreSQL live through N rounds (200) of kills, frozen processes, partitions and
                       clocks that are off, drawn from a seed that is printed, while clients ask all of them at once; what they
                       heard and what was done outside is held against what one node alone would do (docs/FLEET.md); with the
                       binary of another revision, one of the three is that, and three of them are exchanged one by one
  plugins [--setup] [--languages]
                       builds the first-party plugins; with --setup, gets the wasm targets where they are missing, and ends; with
                       --languages, builds the examples in Python and JavaScript, into target/authored
  bench [--json] [--only SHAPE]…
                       measures a release build on this machine, each shape beside its small case; the figures go to
                       docs/BENCHMARKS.md
  polyglot DIR [--jest DIR] [--tasks N]
                       lets the plugin `coding` do N tasks (8) of each language of the Polyglot benchmark, of which DIR is a
                       checkout, once with a model that writes the solution and once with one that only says so; what is
                       completed must be right. JavaScript needs a folder with jest (docs/CODING.md)
  dist [--only tarball|deb|image]… [--binary FILE] [--out DIR] [--quick]
                       makes what a node is deployed from, in target/dist: a tarball, a Debian package, an image of the Open
                       Container Initiative; of a release build, static where musl-tools are installed, or of FILE; --quick packs for a test
  book                 builds the documents as a site into target/book, with an mdBook that is compiled once where there is none
  screenshots [--setup]
                       takes the pictures of docs/DASHBOARD.md, of a node that plays a night; with --setup, gets the browser, its
                       driver and axe, with which the dashboard is tested, and ends
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let done = match Options::of(command, rest) {
        Ok(options) => Project::find().and_then(|project| perform(&project, command, &options, rest)),
        Err(why) => {
            eprint!("{USAGE}");
            Err(why)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(project: &Project, command: &str, options: &Options, rest: &[String]) -> Result<(), String> {
    match command {
        "demo" => demo::run(project, options.has("--fleet")),
        "test" => test::run(project, options.has("--quick")),
        "sim" => sim::run(project, rest),
        "soak" => soak::run(project, rest),
        "plugins" if options.has("--setup") => {
            setup::toolchain(project).map(|_| ()).and_then(|()| setup::wasip2(project))
        }
        "plugins" if options.has("--languages") => authored::examples(project).map(|_| ()),
        "plugins" => setup::plugins(project),
        "bench" => bench::run(project, rest),
        "polyglot" => polyglot::run(project, rest),
        "dist" => dist::run(project, rest),
        "book" => book::run(project),
        "screenshots" if options.has("--setup") => browser::installed(project).map(|_| ()),
        "screenshots" => browser::screenshots(project),
        _ => unreachable!("its options are not known"),
    }
}

/// The options that a command was given, all of which it knows.
#[derive(Debug, PartialEq)]
struct Options(Vec<String>);

impl Options {
    /// The options of each command, and which of them have a value behind them.
    const KNOWN: [(&str, &[(&str, bool)]); 10] = [
        ("demo", &[("--fleet", false)]),
        ("test", &[("--quick", false)]),
        (
            "sim",
            &[
                ("--schedules", false),
                ("--forks", false),
                ("--families", false),
                ("--fleet", false),
                ("--seeds", true),
                ("--seed", true),
            ],
        ),
        ("soak", &[("--fleet", false), ("--rounds", true), ("--seed", true), ("--with", true)]),
        ("plugins", &[("--setup", false), ("--languages", false)]),
        ("bench", &[("--json", false), ("--smoke", false), ("--only", true)]),
        ("polyglot", &[("--jest", true), ("--tasks", true)]),
        ("dist", &[("--only", true), ("--binary", true), ("--out", true), ("--quick", false)]),
        ("book", &[]),
        ("screenshots", &[("--setup", false)]),
    ];

    /// Reads the options of `command`, or says what is wrong with them.
    fn of(command: &str, rest: &[String]) -> Result<Self, String> {
        let known = Self::KNOWN.iter().find(|(name, _)| *name == command);
        let (_, known) = known.ok_or_else(|| format!("there is no command `{command}`"))?;
        let mut given = Vec::new();
        let mut rest = rest.iter();
        while let Some(argument) = rest.next() {
            // A shape, of which the bench itself knows whether there is such a one; a folder.
            if ["bench", "polyglot"].contains(&command) && !argument.starts_with('-') {
                continue;
            }
            let found = known.iter().find(|(name, _)| name == argument);
            let (name, has_value) = found.ok_or_else(|| format!("`{command}` does not take `{argument}`"))?;
            if *has_value && rest.next().is_none_or(|value| value.starts_with("--")) {
                return Err(format!("{name} takes a value"));
            }
            given.push((*name).to_owned());
        }
        Ok(Self(given))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|given| given == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_does_not_know_is_refused() {
        let of = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Options::of(&words[0], &words[1..])
        };
        for line in [
            "demo",
            "demo --fleet",
            "test --quick",
            "sim --seeds 5 --seed 1",
            "sim --schedules --seed 1",
            "sim --forks --seeds 5",
            "sim --families --seeds 5",
            "sim --fleet --seed 7",
            "soak --fleet --rounds 20 --seed 7",
            "plugins --setup",
            "screenshots --setup",
            "bench --json --only a --only b",
            "bench a b",
            "polyglot dir --jest dir --tasks 2",
        ] {
            assert!(of(line).is_ok(), "{line}");
        }
        for (line, expected) in [
            ("bench --help", "`bench` does not take `--help`"),
            ("soak --round 2", "`soak` does not take `--round`"),
            ("demo intake", "does not take `intake`"),
            ("bench --only", "--only takes a value"),
            ("polyglot --jest", "--jest takes a value"),
            ("polyglot dir --task 2", "`polyglot` does not take `--task`"),
            ("bench --only --json", "--only takes a value"),
            ("test --quik", "`--quik`"),
            ("demo --help", "`--help`"),
            ("benhc", "there is no command `benhc`"),
            ("--help", "there is no command"),
        ] {
            let said = of(line).expect_err(line);
            assert!(said.contains(expected), "{line}: {said}");
        }
    }
}
