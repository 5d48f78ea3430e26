//! `report`: what people see of a mission while it runs.
//!
//! Its state is what the guest [said last](Said): guest libraries log a panic's text before they trap, and the trap itself
//! says nothing.
//!
//! ```
//! use sortie_sandbox::capability::Side;
//! use sortie_sandbox::capability::report::{self, Report, ReportView, Said};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//!     said: Said,
//! }
//!
//! impl ReportView for Data {
//!     fn report(&mut self) -> Report<'_> {
//!         Report::new(&mut self.side, &mut self.said)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! report::add_to_linker(&mut linker)?;
//! assert_eq!(Said::default().error(), None);
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;

use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use sortie_contract::outcome;
use sortie_contract::plugin::LogLevel;
use wasmtime::component::{HasData, Linker};

use crate::bindings::v0_1::sortie::mission::report as world;
use crate::side::Side;

/// How many lines of standard error explain an end: a traceback's end, and what the runtime says below it.
const STDERR_LINES_KEPT: usize = 8;

/// What a guest said last.
#[derive(Debug, Default)]
pub struct Said {
    error: Option<String>,
    /// The last lines of its standard error, where it has one.
    stderr: VecDeque<String>,
}

impl Said {
    /// The last line that it logged as an error; else the last lines of its standard error, which is where languages with a
    /// standard library say why they end.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let stderr = || self.stderr.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        self.error.clone().or_else(|| (!self.stderr.is_empty()).then(stderr))
    }

    /// It wrote a line to its standard error.
    pub(crate) fn on_stderr(&mut self, line: &str) {
        if self.stderr.len() == STDERR_LINES_KEPT {
            self.stderr.pop_front();
        }
        self.stderr.push_back(line.to_owned());
    }
}

/// Reports, as one guest makes them.
pub struct Report<'a> {
    side: &'a mut Side,
    said: &'a mut Said,
}

impl<'a> Report<'a> {
    /// Of the guest with that side, which said that last.
    pub fn new(side: &'a mut Side, said: &'a mut Said) -> Self {
        Self { side, said }
    }
}

/// Data of a store whose guest reports.
pub trait ReportView: Send {
    /// What the interface stands on.
    fn report(&mut self) -> Report<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: ReportView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasReport>(linker, T::report)
}

struct HasReport;

impl HasData for HasReport {
    type Data<'a> = Report<'a>;
}

impl world::Host for Report<'_> {
    fn milestone(&mut self, text: String) -> wasmtime::Result<()> {
        let answer = self.side.host("report.milestone")?.milestone(clip(&text, NOTE_BYTES_MAX));
        self.side.answered(answer)
    }

    fn log(&mut self, level: world::Level, text: String) -> wasmtime::Result<()> {
        let text = clip(&text, NOTE_BYTES_MAX);
        if level == world::Level::Error {
            self.said.error = Some(text.clone());
        }
        let level = match level {
            world::Level::Debug => LogLevel::Debug,
            world::Level::Info => LogLevel::Info,
            world::Level::Warn => LogLevel::Warn,
            world::Level::Error => LogLevel::Error,
        };
        let answer = self.side.host("report.log")?.log(level, text);
        self.side.answered(answer)
    }

    fn judge(&mut self, criterion: u32, verdict: world::Verdict, evidence: String) -> wasmtime::Result<()> {
        let verdict = match verdict {
            world::Verdict::Met => outcome::Verdict::Met,
            world::Verdict::Unmet => outcome::Verdict::Unmet,
            world::Verdict::NotJudged => outcome::Verdict::NotJudged,
        };
        let answer = self.side.host("report.judge")?.judge(criterion, verdict, clip(&evidence, NOTE_BYTES_MAX));
        self.side.answered(answer)
    }
}
