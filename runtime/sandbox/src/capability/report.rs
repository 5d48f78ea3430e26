//! `report`: what people see of a mission while it runs.

use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use sortie_contract::outcome;
use sortie_contract::plugin::LogLevel;

use crate::bindings::sortie::mission::report::{Host, Level, Verdict};
use crate::guest::Guest;

impl Host for Guest {
    fn milestone(&mut self, text: String) -> wasmtime::Result<()> {
        let answer = self.mission("report.milestone")?.host.milestone(clip(&text, NOTE_BYTES_MAX));
        self.answered(answer)
    }

    fn log(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        let text = clip(&text, NOTE_BYTES_MAX);
        if level == Level::Error {
            self.last_error = Some(text.clone());
        }
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        let answer = self.mission("report.log")?.host.log(level, text);
        self.answered(answer)
    }

    fn judge(&mut self, criterion: u32, verdict: Verdict, evidence: String) -> wasmtime::Result<()> {
        let verdict = match verdict {
            Verdict::Met => outcome::Verdict::Met,
            Verdict::Unmet => outcome::Verdict::Unmet,
            Verdict::NotJudged => outcome::Verdict::NotJudged,
        };
        let answer = self.mission("report.judge")?.host.judge(criterion, verdict, clip(&evidence, NOTE_BYTES_MAX));
        self.answered(answer)
    }
}
