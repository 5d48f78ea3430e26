//! Counts tests while their runner prints: every runner has its own closing line, and ours adds them up.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::shell::{self, tell};

/// Tests by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
}

impl Tally {
    /// Runs a command that runs tests, shows what it prints, and counts. Its failure without a failed test counts as one:
    /// tests that do not compile must not look like none.
    pub(crate) fn run(&self, command: &mut Command) {
        tell(&format!("$ {}", shell::shown(command)));
        let failed_before = self.failed.load(Ordering::Relaxed);
        let succeeded = self.follow(command);
        if !succeeded && self.failed.load(Ordering::Relaxed) == failed_before {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a check that is no test: formatting, lints, documentation.
    pub(crate) fn check(&self, command: &mut Command) {
        match shell::run(command) {
            Ok(()) => self.passed.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tell(&format!("FAILED {error}"));
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    /// Counts what has to be done before something can be checked, if it fails.
    pub(crate) fn step<T>(&self, done: Result<T, String>) -> Option<T> {
        done.inspect_err(|error| {
            tell(&format!("FAILED {error}"));
            self.failed.fetch_add(1, Ordering::Relaxed);
        })
        .ok()
    }

    /// Whether nothing failed.
    pub(crate) fn is_green(&self) -> bool {
        self.failed.load(Ordering::Relaxed) == 0
    }

    fn follow(&self, command: &mut Command) -> bool {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = started else { return false };
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
        thread::scope(|scope| {
            for output in outputs.into_iter().flatten() {
                scope.spawn(|| {
                    for line in BufReader::new(output).lines().map_while(Result::ok) {
                        tell(&line);
                        self.count(&line);
                    }
                });
            }
        });
        child.wait().is_ok_and(|status| status.success())
    }

    /// Reads a runner's closing line, of nextest (`Summary [ 1.2s] 5 tests run: 4 passed, 1 failed, 2 skipped`) or of
    /// cargo's own (`test result: ok. 3 passed; 0 failed; 1 ignored; …`), which nextest shows of each test that failed, indented.
    fn count(&self, line: &str) {
        let results = match line.strip_prefix("test result: ").or_else(|| line.trim_start().strip_prefix("Summary [")) {
            Some(rest) => rest.rsplit_once(": ").map_or(rest, |(_, results)| results),
            None => return,
        };
        let words: Vec<&str> = results.split([' ', ',', ';', '(', ')']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            let counter = match pair[1] {
                "passed" => &self.passed,
                "failed" | "timed" => &self.failed,
                "skipped" | "ignored" => &self.skipped,
                _ => continue,
            };
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed, skipped] = [&self.passed, &self.failed, &self.skipped].map(|n| n.load(Ordering::Relaxed));
        write!(f, "{passed} passed, {failed} failed")?;
        if skipped > 0 { write!(f, ", {skipped} skipped") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_add_up() {
        let tally = Tally::default();
        for line in [
            "     Summary [   0.123s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped",
            "     Summary [   0.1s] 3 tests run: 2 passed, 1 timed out, 0 skipped",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 246 filtered out; finished in 1.72s",
            "something else: 9 passed",
        ] {
            tally.count(line);
        }
        assert_eq!(tally.to_string(), "9 passed, 2 failed, 3 skipped");
    }

    #[test]
    fn a_runner_that_does_not_start_is_a_failure() {
        let tally = Tally::default();
        tally.run(&mut Command::new("/nonexistent/runner"));
        assert_eq!(tally.to_string(), "0 passed, 1 failed");
        assert!(!tally.is_green());
    }
}
