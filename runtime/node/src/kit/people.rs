//! People: who answers what a mission asks, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sortie_contract::MicroUsd;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_mission::{Mission, OpenRequest};

use super::case::{Case, Person, Word, read_time};
use super::stage::{Stage, unanswered};

/// The people of a case, over all lives of a node.
pub(super) struct People {
    people: Vec<Person>,
    used: BTreeMap<usize, u32>,
    /// What somebody is about to say, by request; nothing where nobody does.
    plans: BTreeMap<RequestNo, Option<Plan>>,
    unanswered: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Plan {
    pub(super) due: Duration,
    pub(super) decision: Decision,
    /// Who decides, and why.
    pub(super) by: String,
    pub(super) note: String,
}

/// Who decides where a case does not say.
const SOMEBODY: &str = "case";

impl Plan {
    fn at(due: Duration, decision: Decision) -> Self {
        Self { due, decision, by: SOMEBODY.to_owned(), note: String::new() }
    }
}

impl People {
    pub(super) fn new(case: &Case) -> Self {
        let people = case.people.clone();
        Self { people, used: BTreeMap::new(), plans: BTreeMap::new(), unanswered: Vec::new() }
    }

    /// What is asked now is seen.
    pub(super) fn look(&mut self, mission: &Mission, now: Duration, stage: &Stage) {
        for open in mission.open_requests() {
            if !self.plans.contains_key(&open.no) {
                let plan = self.plan(open, now, stage);
                if plan.is_none() {
                    self.unanswered.push(unanswered(&asked(open), "person"));
                }
                self.plans.insert(open.no, plan);
            }
        }
    }

    /// The next thing that somebody says, among what is still asked.
    pub(super) fn next(&self, mission: &Mission) -> Option<(RequestNo, Plan)> {
        let open =
            mission.open_requests().iter().filter_map(|open| Some((open.no, self.plans.get(&open.no)?.clone()?)));
        open.min_by_key(|(no, plan)| (plan.due, *no))
    }

    /// It was said; whatever came of it, it is not said again.
    pub(super) fn said(&mut self, request: RequestNo) {
        self.plans.insert(request, None);
    }

    /// What nobody answers.
    pub(super) fn unanswered(&self) -> &[String] {
        &self.unanswered
    }

    fn plan(&mut self, open: &OpenRequest, now: Duration, stage: &Stage) -> Option<Plan> {
        // What a crash leaves open is nothing that a plugin can do anything about: the call is made again.
        if open.kind == RequestKind::Uncertain {
            return Some(Plan::at(now, Decision::Repeat));
        }
        if open.kind == RequestKind::Input && stage.turn(&open.no.to_string(), || format!("ask {}", open.question)) {
            return Some(Plan::at(now, Decision::Deny));
        }
        let used = &self.used;
        let fits = |(index, person): &(usize, &Person)| {
            person.asked.as_ref().is_none_or(|asked| open.question.contains(asked.as_str()))
                && person.times.is_none_or(|times| used.get(index).is_none_or(|used| *used < times))
                && word(&person.says).is_some_and(|(_, kind)| kind.is_none_or(|kind| kind == open.kind))
        };
        let (index, person) = self.people.iter().enumerate().find(fits)?;
        let after = person.after.as_deref().and_then(|after| read_time("after", after).ok()).unwrap_or_default();
        let (decision, _) = word(&person.says)?;
        *self.used.entry(index).or_default() += 1;
        let by = person.by.clone().unwrap_or_else(|| SOMEBODY.to_owned());
        let note = person.note.clone().unwrap_or_default();
        Some(Plan { due: now.saturating_add(after), decision, by, note })
    }
}

/// What is asked, as a table of calls names it: a question of the plugin, or what somebody must decide about.
fn asked(open: &OpenRequest) -> String {
    match open.kind {
        RequestKind::Input => format!("ask {}", open.question),
        kind => format!("the request ({kind}) {}", open.question),
    }
}

/// The decision that a word is, and the kind of request that it is one about; none where it is about any.
fn word(word: &Word) -> Option<(Decision, Option<RequestKind>)> {
    Some(match word {
        Word::Deny => (Decision::Deny, None),
        Word::Approve => (Decision::Approve { reach: Reach::Call }, Some(RequestKind::Approval)),
        Word::ApproveFor(reach) => (Decision::Approve { reach: *reach }, Some(RequestKind::Approval)),
        Word::Amend(arguments) => {
            let arguments = Value::Object(arguments.clone()).to_string();
            (Decision::Amend { arguments }, Some(RequestKind::Approval))
        }
        // The file of a case says it so; a case that was read does not.
        Word::AmendJson(_) => return None,
        Word::Answer(text) => (Decision::Answer { text: text.clone() }, Some(RequestKind::Input)),
        Word::Grant { llm_calls, cost_usd } => {
            let cost = MicroUsd::from_usd(*cost_usd)?;
            (Decision::Grant { llm_calls: *llm_calls, cost }, Some(RequestKind::Budget))
        }
    })
}
