//! What a mission did, call by call, and who decided what: a fold over its journal, read piece by piece and bounded.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use sortie_contract::id::CallNo;
use sortie_contract::limit::clip;
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::{MissionNo, Spend, Stamped};
use sortie_engine::{Engine, ReadError};

use super::text::{Clock, badge, block, dollars, length, plain};

/// Bytes of a journal that are read at once.
const PIECE: usize = 128 << 10;
/// Calls, and decisions, that are shown: the latest.
const SHOWN_MAX: usize = 60;
/// Most bytes of a text of a call.
const TEXT_MAX: usize = 240;
/// Bytes of a page that calls may take, and about those of one beside its texts: with more the page would have more than 50 kB.
const ROOM: usize = 30_000;
const ROW: usize = 440;

/// A call.
#[derive(Clone)]
struct Call {
    no: CallNo,
    tool: String,
    arguments: String,
    asked_at: Timestamp,
    /// Since when it is made, by what runs last: none while it waits for people or for money.
    made_at: Option<Timestamp>,
    /// How it stands, in a word that a badge knows.
    stands: &'static str,
    /// The result, the error, or what it waits for.
    said: String,
    /// How long it took, once it is over.
    took: Option<SignedDuration>,
    spent: Spend,
}

/// A request, with what was decided.
#[derive(Clone)]
struct Asked {
    no: RequestNo,
    question: String,
    decided: Option<(String, String, String, Timestamp)>,
}

/// What is shown of a journal.
#[derive(Clone, Default)]
pub(super) struct Timeline {
    /// Of so many records.
    records: u32,
    calls: VecDeque<Call>,
    calls_left_out: usize,
    requests: VecDeque<Asked>,
    milestones: VecDeque<(Timestamp, String)>,
}

impl Timeline {
    /// Of how many records it is.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    #[cfg(test)]
    pub(super) fn of_records(records: u32) -> Self {
        Self { records, ..Self::default() }
    }

    /// Takes up what is behind it, up to so many records. Says whether there are no more. Blocks.
    pub(super) fn advance(&mut self, engine: &Engine, no: MissionNo, until: u32) -> Result<bool, ReadError> {
        while self.records < until {
            let records = engine.log().read(no, self.records, PIECE)?;
            if records.is_empty() {
                return Ok(true);
            }
            for stamped in &records {
                self.take(stamped);
                self.records = stamped.next_no(self.records);
                if self.records >= until {
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn take(&mut self, Stamped { at, record, .. }: &Stamped) {
        match record {
            Record::CallStarted { call, tool, arguments, .. } => {
                self.call(*call, tool.as_str(), arguments, *at, "running", "");
                self.begin(*call, *at);
            }
            Record::CallHeld { call, tool, arguments, .. } => {
                self.call(*call, tool.as_str(), arguments, *at, "waiting", "held");
            }
            Record::CallRefused { call, tool, error, .. } => {
                self.call(*call, tool.as_str(), "", *at, "failed", &format!("refused ({}): {error}", error.code()));
            }
            Record::CallResumed { call } | Record::CallAgain { call } => {
                self.change(*call, "running", "");
                self.begin(*call, *at);
            }
            Record::Postponed { call, why, .. } | Record::PaymentAwaited { call, why, .. } => {
                self.change(*call, "waiting", why);
            }
            Record::CallFinished { call, outcome, spent } => {
                match outcome {
                    Ok(answer) => self.change(*call, "done", &answer.result),
                    Err(error) => self.change(*call, "failed", &format!("{}: {error}", error.code())),
                }
                if let Some(call) = self.find(*call) {
                    (call.spent, call.took) = (*spent, call.made_at.map(|made| at.duration_since(made)));
                }
            }
            Record::Requested { request, question, .. } | Record::Elicited { request, question, .. } => {
                let asked = Asked { no: *request, question: clip(question, TEXT_MAX), decided: None };
                push(&mut self.requests, asked);
            }
            Record::Decided { request, decision, by, note } => {
                self.settle(*request, (in_words(decision), by.clone(), clip(note, TEXT_MAX), *at));
            }
            Record::Withdrawn { request, why } => {
                self.settle(*request, ("withdrawn".to_owned(), String::new(), clip(why, TEXT_MAX), *at));
            }
            Record::Milestone { text, .. } => {
                push(&mut self.milestones, (*at, clip(text, TEXT_MAX)));
            }
            _ => {}
        }
    }

    fn call(&mut self, no: CallNo, tool: &str, arguments: &str, at: Timestamp, stands: &'static str, said: &str) {
        let call = Call {
            no,
            tool: tool.to_owned(),
            arguments: clip(arguments, TEXT_MAX),
            asked_at: at,
            made_at: None,
            stands,
            said: clip(said, TEXT_MAX),
            took: None,
            spent: Spend::NOTHING,
        };
        self.calls_left_out += usize::from(push(&mut self.calls, call));
    }

    /// One that is not shown any more is not changed.
    fn find(&mut self, no: CallNo) -> Option<&mut Call> {
        self.calls.iter_mut().rev().find(|call| call.no == no)
    }

    fn change(&mut self, no: CallNo, stands: &'static str, said: &str) {
        if let Some(call) = self.find(no) {
            (call.stands, call.said) = (stands, clip(said, TEXT_MAX));
        }
    }

    fn begin(&mut self, no: CallNo, at: Timestamp) {
        if let Some(call) = self.find(no) {
            call.made_at = Some(at);
        }
    }

    fn settle(&mut self, no: RequestNo, decided: (String, String, String, Timestamp)) {
        if let Some(asked) = self.requests.iter_mut().rev().find(|asked| asked.no == no) {
            asked.decided = Some(decided);
        }
    }

    pub(super) fn shown(&self, clock: &Clock, is_over: bool) -> Markup {
        html! {
            @if !self.milestones.is_empty() {
                section aria-labelledby="milestones" {
                    h2 id="milestones" { "Milestones" }
                    ul { @for (at, text) in &self.milestones { li { time datetime=(at) { (clock.local(*at)) } " " (plain(text)) } } }
                }
            }
            section aria-labelledby="calls" {
                h2 id="calls" { "Calls" }
                @if self.calls.is_empty() { p class="dim" { "None so far." } } @else { (self.call_table(clock)) }
            }
            @if !self.requests.is_empty() {
                section aria-labelledby="decisions" {
                    h2 id="decisions" { "Who decided what" }
                    ul { @for asked in &self.requests { (decided(asked, clock, is_over)) } }
                }
            }
        }
    }

    fn call_table(&self, clock: &Clock) -> Markup {
        let first = self.first_that_fits();
        let left_out = self.calls_left_out + first;
        html! {
            @if left_out > 0 { p class="dim" { (left_out) " earlier ones are in the journal, and at earlier places of its record." } }
            div class="wide" tabindex="0" role="region" aria-label="Calls of the mission" {
                table {
                    thead { tr { th scope="col" class="num" { "No" } th scope="col" { "Tool" } th scope="col" { "Stands" } th scope="col" { "Asked" } th scope="col" class="num" { "Took" } th scope="col" class="num" { "Cost" } th scope="col" { "Arguments and result" } } }
                    tbody {
                        @for call in self.calls.range(first..) {
                            tr {
                                td class="num" data-label="No" { (call.no) }
                                th scope="row" { (plain(&call.tool)) }
                                td data-label="Stands" { (badge(call.stands)) }
                                td data-label="Asked" { time datetime=(call.asked_at) { (clock.local(call.asked_at)) } }
                                td class="num" data-label="Took" { (call.took.map(length).unwrap_or_default()) }
                                td class="num" data-label="Cost" { @if !call.spent.is_nothing() { (dollars(call.spent.cost.as_usd())) } }
                                td {
                                    @if !call.arguments.is_empty() { code { (block(&call.arguments)) } }
                                    @if !call.said.is_empty() { div class="dim" { "→ " code { (block(&call.said)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Timeline {
    /// From which call on the latest of them fit on the page: one at least.
    fn first_that_fits(&self) -> usize {
        let mut room = ROOM;
        let fits = self.calls.iter().rev().take_while(|call| {
            // A mark of JSON is six letters on a page.
            let written = |text: &str| text.len() + 5 * text.matches(['"', '&', '<', '>']).count();
            let takes = ROW + written(&call.arguments) + written(&call.said);
            let has_room = room >= takes;
            room = room.saturating_sub(takes);
            has_room
        });
        self.calls.len() - fits.count().max(1).min(self.calls.len())
    }
}

fn decided(asked: &Asked, clock: &Clock, is_over: bool) -> Markup {
    html! {
        li {
            b { (asked.no) } " " (plain(&asked.question)) ": "
            @match &asked.decided {
                None if is_over => { "nobody decided; the mission has ended." }
                None => { "open." }
                Some((what, by, note, at)) => {
                    (what)
                    @if !by.is_empty() { " by " b { (plain(by)) } }
                    ", " (clock.local(*at)) "."
                    @if !note.is_empty() { " “" (plain(note)) "”" }
                }
            }
        }
    }
}

/// Adds to what is shown; whether something else had to make room.
fn push<T>(list: &mut VecDeque<T>, item: T) -> bool {
    list.push_back(item);
    list.len() > SHOWN_MAX && list.pop_front().is_some()
}

fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Approve { .. } => "approved".to_owned(),
        Decision::Amend { .. } => "approved with other arguments".to_owned(),
        Decision::Deny => "denied".to_owned(),
        Decision::Answer { .. } => "answered".to_owned(),
        Decision::Grant { llm_calls, cost } => {
            format!("granted {} and {llm_calls} model calls", dollars(cost.as_usd()))
        }
        Decision::Repeat => "made again".to_owned(),
        Decision::Record { .. } => "recorded".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::digest::Digest;
    use sortie_contract::request::RequestKind;
    use sortie_contract::tool::{Repeat, ToolAnswer, ToolName};
    use sortie_schedule::Zone;

    use super::*;

    #[test]
    fn of_many_calls_with_long_texts_the_latest_are_shown_as_far_as_a_page_goes() {
        let clock = Clock { zone: Zone::utc(), now: Timestamp::UNIX_EPOCH };
        let long = format!("{{{}}}", r#""a":"b","#.repeat(60));
        for (calls, arguments, bytes_max, at_least) in [
            (3, long.as_str(), 8_000, 3),
            (500, long.as_str(), 36_000, 12),
            (500, "{}", 36_000, SHOWN_MAX),
            (1, &"&".repeat(10_000), 5_000, 1),
        ] {
            let mut timeline = Timeline::default();
            for no in 1..=calls {
                timeline.call(CallNo(no), "Read", arguments, Timestamp::UNIX_EPOCH, "running", "");
                timeline.change(CallNo(no), "done", arguments);
            }
            let page = timeline.shown(&clock, true).into_string();
            let shown = page.matches("<tr>").count() - 1;
            assert!(page.len() <= bytes_max && shown >= at_least, "{shown} of {calls} in {} bytes", page.len());
            let left_out = calls as usize - shown;
            assert_eq!(page.contains(&format!("{left_out} earlier ones")), left_out > 0, "{page}");
        }
    }

    #[test]
    fn a_call_took_as_long_as_it_was_made_and_what_nobody_decided_is_not_open_for_ever() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let (call, request) = (CallNo(1), RequestNo(1));
        let held = Record::CallHeld {
            call,
            tool: ToolName::new("Write"),
            arguments: "{}".to_owned(),
            digest: Digest::of(b"{}"),
            repeat: Repeat::Idempotent,
            reserved: Spend::NOTHING,
        };
        let outcome = Ok(ToolAnswer { result: "null".to_owned(), wrote: Vec::new() });
        let asked = |request| Record::Requested {
            request,
            call,
            kind: RequestKind::Input,
            question: "Which?".to_owned(),
            expires_at: at(9_000),
        };
        let mut timeline = Timeline::default();
        for (second, record) in [
            (0, held),
            (1, asked(request)),
            (3_600, Record::CallResumed { call }),
            (3_605, Record::CallFinished { call, outcome, spent: Spend::NOTHING }),
        ] {
            timeline.take(&Stamped { at: at(second), ran_ms: 0, record });
        }
        assert_eq!(timeline.calls[0].took.map(length).as_deref(), Some("5 s"), "people's time is not the call's");
        let clock = Clock { zone: Zone::utc(), now: at(9_001) };
        for (is_over, expected) in [(false, "open."), (true, "nobody decided")] {
            assert!(timeline.shown(&clock, is_over).into_string().contains(expected), "{is_over}");
        }
    }
}
