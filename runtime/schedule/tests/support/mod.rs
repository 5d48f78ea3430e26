//! A schedule that is driven by hand: a clock, missions that end when a test says so, and what has happened, as a list.

#![allow(dead_code, reason = "each test binary uses its own part of it")]

use sortie_contract::Timestamp;
use sortie_schedule::{Action, Calendars, Form, Origin, Position, Schedule, decide};

/// An instant; a time without a date is one of 1 June 2022, in UTC.
pub(crate) fn at(text: &str) -> Timestamp {
    let text = match text.len() {
        5 => format!("2022-06-01T{text}:00Z"),
        8 => format!("2022-06-01T{text}Z"),
        _ => text.to_owned(),
    };
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A schedule in UTC of these lines, which say when.
pub(crate) fn schedule(lines: &str) -> Schedule {
    let zone = if lines.contains("zone =") { "" } else { "zone = \"UTC\"\n" };
    let text = format!("id = \"s\"\n{zone}{lines}\n[mission]\nobjective = \"x\"\n");
    Schedule::parse(&text, Form::Toml, &Calendars::none()).unwrap_or_else(|mistakes| panic!("{lines}: {mistakes:?}"))
}

/// What became of fires, in the words of the tests.
pub(crate) fn told(action: &Action) -> Vec<String> {
    let time = |at: Timestamp| at.strftime("%H:%M").to_string();
    let span = |fires: &sortie_schedule::Span| match fires.count {
        1 => time(fires.first),
        count => format!("{}..{} ({count})", time(fires.first), time(fires.last)),
    };
    match action {
        Action::Fired { fire, waited: true, .. } => vec![format!("fired {} from the queue", time(fire.at))],
        Action::Fired { fire, origin: Origin::Scheduled, .. } => vec![format!("fired {}", time(fire.at))],
        Action::Fired { fire, origin, .. } => vec![format!("fired {} {origin:?}", time(fire.at))],
        Action::CancelledOthers => vec!["cancelled".to_owned()],
        Action::Buffered { waiting } => vec![format!("waits {}", time(waiting.fire.at))],
        Action::Skipped { fires, reason, .. } => vec![format!("skipped {}: {reason:?}", span(fires))],
        Action::Missed { fires, reason } => vec![format!("missed {}: {reason:?}", span(fires))],
        Action::Paused { .. } => vec!["paused".to_owned()],
        Action::Resumed => vec!["resumed".to_owned()],
        _ => vec![],
    }
}

/// A schedule, how far it has come, and the missions that run.
pub(crate) struct Driven {
    pub(crate) schedule: Schedule,
    pub(crate) position: Position,
    pub(crate) running: Vec<Timestamp>,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<String>,
}

impl Driven {
    pub(crate) fn new(schedule: Schedule, made: &str) -> Self {
        let now = at(made);
        Self { schedule, position: Position::new(now), running: vec![], now, log: vec![] }
    }

    /// Takes what was decided.
    pub(crate) fn take(&mut self, actions: &[Action]) {
        for action in actions {
            self.position.apply(action);
            match action {
                Action::Fired { fire, .. } => self.running.push(fire.at),
                Action::CancelledOthers => self.running.clear(),
                _ => {}
            }
            self.log.extend(told(action));
        }
    }

    /// Decides until there is nothing more.
    pub(crate) fn settle(&mut self) {
        loop {
            let actions = decide(&self.schedule, &self.position, self.running.len(), self.now);
            if actions.is_empty() {
                return;
            }
            self.take(&actions);
        }
    }

    /// Nobody looks before that time.
    pub(crate) fn jump(&mut self, to: &str) -> &mut Self {
        self.now = at(to);
        self.settle();
        self
    }

    /// Looks at each minute until that time.
    pub(crate) fn run(&mut self, to: &str) -> &mut Self {
        while self.now < at(to) {
            self.now = self.now.checked_add(jiff::SignedDuration::from_mins(1)).expect("in range");
            self.settle();
        }
        self
    }

    /// The oldest mission ends.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.running.remove(0);
        self.settle();
        self
    }

    /// What has happened since the last time that this was asked.
    pub(crate) fn happened(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
