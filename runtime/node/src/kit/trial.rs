//! A case in all its runs: as it is; with the node lost behind each call; with each call failing in turn.

use std::path::PathBuf;

use sortie_sandbox::{Installed, Options, Sandbox};

use super::case::Case;
use super::life::{self, Ran, Stuck, Twist};
use super::seen::Seen;

/// Most runs of a kind: of more calls than that, some are chosen, spread over all of them.
const RUNS_MAX: usize = 100;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trials {
    /// The case as it is.
    Once,
    /// With crashes and errors, too.
    All,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// What is wrong, each a text of some lines.
    pub(crate) wrong: Vec<String>,
    /// How it ended.
    pub(crate) end: String,
    /// How many calls there were.
    pub(crate) calls: usize,
    /// How long it took in its own time, in milliseconds.
    pub(crate) took_ms: u128,
    /// Behind how many calls the node was lost, one after another.
    pub(crate) crashes: usize,
    /// What came of each call that was made to fail.
    pub(crate) errors: Vec<UntilWhen>,
    /// Calls and requests for which the case has no answer.
    pub(crate) unanswered: Vec<String>,
}

/// What came of a call that was made to fail.
#[derive(Debug, Clone)]
pub(crate) struct UntilWhen {
    /// The call.
    pub(crate) call: String,
    /// How the mission ended.
    pub(crate) end: String,
    /// Whether the plugin came to an end of its own.
    pub(crate) properly: bool,
}

/// How the sandbox is set up that cases are run in.
pub(crate) fn options(dir: PathBuf) -> Options {
    // One thread: the clock asks it whether somebody is about to go on.
    Options { instances_max: 8, threads: 1, ..Options::new(dir) }
}

/// Runs a case in all its runs. Blocks for as long as the plugin computes.
pub(crate) fn run(case: &Case, sandbox: &Sandbox, plugin: &Installed, trials: Trials) -> Trial {
    let run = |twist| life::run(case, sandbox, plugin, twist);
    let Ran { seen, answered, turns } = match run(Twist::None) {
        Ok(ran) => ran,
        Err(Stuck(why)) => return Trial::stuck(why),
    };
    let mut trial = Trial {
        wrong: seen.misses(&case.expect).into_iter().collect(),
        end: seen.end(),
        calls: seen.calls.len(),
        took_ms: seen.took.as_millis(),
        crashes: 0,
        errors: Vec::new(),
        unanswered: seen.unanswered.clone(),
    };
    // What is wrong without any of that is mended first.
    if trials == Trials::Once || !trial.wrong.is_empty() {
        return trial;
    }
    for after in chosen(answered) {
        trial.crashes += 1;
        let told = differs(&seen, run(Twist::CrashAfter(after + 1)));
        if let Some(told) = told {
            trial.wrong.push(format!(
                "a crash of the node after {} of {answered} calls changes what comes of it:\n{told}",
                after + 1
            ));
            break;
        }
    }
    for place in chosen(turns.len()) {
        let (end, properly) = match run(Twist::Fails(place)) {
            Ok(ran) => (ran.seen.end(), ran.seen.ended_properly() || ran.seen.ended_alike(&seen)),
            Err(Stuck(why)) => (why, false),
        };
        let call = turns[place].clone();
        if !properly {
            trial.wrong.push(format!("where `{call}` fails, the plugin comes to no end of its own: {end}"));
        }
        trial.errors.push(UntilWhen { call, end, properly });
    }
    trial
}

/// How a run differs that was to come to the same.
fn differs(seen: &Seen, ran: Result<Ran, Stuck>) -> Option<String> {
    match ran {
        Ok(ran) => seen.differs(&ran.seen),
        Err(Stuck(why)) => Some(why),
    }
}

impl Trial {
    fn stuck(why: String) -> Self {
        Self {
            wrong: vec![why],
            end: String::new(),
            calls: 0,
            took_ms: 0,
            crashes: 0,
            errors: Vec::new(),
            unanswered: Vec::new(),
        }
    }
}

/// Some of so many: all, or as many as are tried, the first and the last among them.
fn chosen(count: usize) -> Vec<usize> {
    if count <= RUNS_MAX {
        return (0..count).collect();
    }
    (0..RUNS_MAX).map(|place| place * (count - 1) / (RUNS_MAX - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_calls_some_are_chosen() {
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(1_000);
        assert_eq!((many.len(), many[0], many[RUNS_MAX - 1]), (RUNS_MAX, 0, 999));
        assert!(many.is_sorted_by(|one, other| one < other));
    }
}
