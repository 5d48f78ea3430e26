//! Admission: sequences of dispatches that look alike, against a model that knows nothing but the contract's sentences.
//!
//! Every sequence of three that can be told apart, and random ones of many, with removals between them. The log is a list here, and
//! what is known is found by looking through it.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_contract::Status;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, Parsed};
use sortie_contract::mistake::Mistake;
use sortie_contract::plugin::{PluginIdentity, PluginRef};
use sortie_contract::record::Accepted;
use sortie_mission::Denial;
use sortie_mission::admission::{Asked, Dispatch, Earlier, Examination, Known, Reply, Verdict, WayOut, decide};
use support::{at, envelope, envelope_text, moment, noon, rules, tools};

/// A dispatch, by what can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: u8,
    source: u8,
    key: u8,
    vp: u8,
    /// 0: none is named.
    session: u8,
    objective: u8,
    /// Whether the node has something against it.
    refused: bool,
}

impl Sent {
    fn text(self) -> String {
        let mut fields = json!({
            "mission_id": format!("m-{}", self.id),
            "source_instance_id": format!("source-{}", self.source),
            "idempotency_key": format!("key-{}", self.key),
            "vp_id": format!("vp-{}", self.vp),
            "objective": format!("objective {}", self.objective),
            "created_at": "2026-11-22T11:59:00Z",
        });
        if self.session > 0 {
            fields["vp_session_id"] = json!(format!("session-{}", self.session));
        }
        if self.refused {
            fields["vp_runtime_id"] = json!("nowhere");
        }
        envelope_text(fields)
    }
}

/// A mission that was taken, as a log keeps it.
struct Kept {
    no: u64,
    envelope: Envelope,
    digest: Digest,
    accepted: Accepted,
    status: Status,
}

/// A log that is a list, and the core's word on what comes into it.
#[derive(Default)]
struct Shell {
    kept: Vec<Kept>,
    given: u64,
}

/// What came of a dispatch.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Under this number, in this session.
    Taken(u64, String),
    /// The mission of this id, in this session, which stands so.
    Before(String, String, Status),
    /// The mission that was accepted under the key, and where the two differ.
    KeyConflict(String, Vec<String>),
    IdConflict,
    Mistakes(Vec<String>),
}

fn plugin() -> PluginIdentity {
    PluginIdentity { name: "automation".into(), version: "1.0.0".into(), digest: Digest::of(b"plugin") }
}

fn plugins_by() -> BTreeMap<String, PluginRef> {
    [("automation".to_owned(), "automation".parse().expect("a name"))].into()
}

/// What the node has against it.
fn examine(envelope: &Envelope) -> Result<Examination, Denial> {
    let (rules, plugins_by) = (rules(), plugins_by());
    let installed = |name: &str| if name == "automation" { vec![plugin()] } else { Vec::new() };
    let asked = Asked {
        rules: &rules,
        tools: &tools(),
        plugins_by: &plugins_by,
        installed: &installed,
        way_out: WayOut {
            guard: &|url| if url.host_str() == Some("10.0.0.1") { Err("a private address".to_owned()) } else { Ok(()) },
            may_send: &|_, _| Ok(()),
        },
        opens: &|_, window| window.end_at != Some(moment(1)),
        wall: noon(),
    };
    Examination::of(envelope, Vec::new(), &asked)
}

impl Shell {
    fn dispatch(&mut self, sent: Sent) -> Outcome {
        let text = sent.text();
        let Parsed { envelope, warnings, digest } = Envelope::parse(&text).expect("valid");
        let decided = {
            let scope = |envelope: &Envelope| (envelope.source_instance_id.clone(), envelope.idempotency_key.clone());
            let twin = self.kept.iter().find(|kept| scope(&kept.envelope) == scope(&envelope));
            let same_id = self.kept.iter().any(|kept| {
                kept.envelope.mission_id == envelope.mission_id && twin.is_none_or(|twin| twin.no != kept.no)
            });
            let newest = self.kept.iter().rev().find(|kept| kept.envelope.vp_id == envelope.vp_id);
            let known = Known {
                twin: twin.map(|kept| Earlier {
                    mission_id: &kept.envelope.mission_id,
                    vp: &kept.envelope.vp_id,
                    digest: kept.digest,
                    status: kept.status,
                    budget: kept.accepted.budget,
                    window: kept.envelope.window,
                    accepted: &kept.accepted,
                }),
                same_id,
                newest_session: newest.map(|kept| &kept.accepted.session),
            };
            let dispatch = Dispatch { envelope: &envelope, text: &text, digest, warnings: &warnings };
            // What is known speaks first; only who is new is examined.
            match decide(dispatch, &known, None) {
                Ok(None) => {
                    let examination = examine(&envelope).expect("this node's");
                    decide(dispatch, &known, Some(&examination))
                }
                decided => decided,
            }
        };
        match decided {
            Ok(Some(Verdict::Taken(accepted))) => {
                self.given += 1;
                let (no, session) = (self.given, accepted.session.to_string());
                self.kept.push(Kept { no, envelope, digest, accepted: *accepted, status: Status::Queued });
                Outcome::Taken(no, session)
            }
            Ok(Some(Verdict::Before(Reply { mission_id, session, status, .. }))) => {
                Outcome::Before(mission_id.to_string(), session.to_string(), status)
            }
            Ok(None) => panic!("it was examined"),
            Err(Denial::IdempotencyConflict { mission_id, fields }) => {
                Outcome::KeyConflict(mission_id.to_string(), fields.iter().map(ToString::to_string).collect())
            }
            Err(Denial::MissionIdConflict) => Outcome::IdConflict,
            Err(Denial::Mistakes(mistakes)) => {
                Outcome::Mistakes(mistakes.into_iter().map(|mistake| mistake.code).collect())
            }
            Err(denial) => panic!("{denial}"),
        }
    }

    fn remove(&mut self, pick: usize) {
        if !self.kept.is_empty() {
            self.kept.remove(pick % self.kept.len());
        }
    }

    fn end(&mut self, pick: usize) {
        let kept = self.kept.len();
        if let Some(mission) = self.kept.get_mut(pick % kept.max(1)) {
            mission.status = Status::Completed;
        }
    }
}

/// What the contract says in so many words, of what was sent and taken.
#[derive(Default)]
struct Model {
    /// Number, what was sent, its session, how it stands.
    taken: Vec<(u64, Sent, String, Status)>,
    given: u64,
}

impl Model {
    fn dispatch(&mut self, sent: Sent) -> Outcome {
        let under_the_key =
            |(_, before, ..): &&(u64, Sent, String, Status)| (before.source, before.key) == (sent.source, sent.key);
        if let Some((_, before, session, status)) = self.taken.iter().find(under_the_key) {
            let id = format!("m-{}", before.id);
            let differs = differing(*before, sent);
            return if differs.is_empty() {
                Outcome::Before(id, session.clone(), *status)
            } else {
                Outcome::KeyConflict(id, differs)
            };
        }
        if self.taken.iter().any(|(_, before, ..)| before.id == sent.id) {
            return Outcome::IdConflict;
        }
        if sent.refused {
            return Outcome::Mistakes(vec!["unknown_lane".to_owned()]);
        }
        let newest = self.taken.iter().filter(|(_, before, ..)| before.vp == sent.vp).max_by_key(|(no, ..)| *no);
        let session = match (sent.session, newest) {
            (0, Some((_, _, session, _))) => session.clone(),
            (0, None) => format!("vp-{}.session", sent.vp),
            (named, _) => format!("session-{named}"),
        };
        self.given += 1;
        self.taken.push((self.given, sent, session.clone(), Status::Queued));
        Outcome::Taken(self.given, session)
    }
}

fn differing(a: Sent, b: Sent) -> Vec<String> {
    let places = [
        ("/mission_id", a.id != b.id),
        ("/objective", a.objective != b.objective),
        ("/vp_id", a.vp != b.vp),
        ("/vp_runtime_id", a.refused != b.refused),
        ("/vp_session_id", a.session != b.session),
    ];
    places.into_iter().filter(|(_, differs)| *differs).map(|(place, _)| place.to_owned()).collect()
}

fn agree(shell: &mut Shell, model: &mut Model, sent: Sent) {
    let (mut outcome, expected) = (shell.dispatch(sent), model.dispatch(sent));
    if let Outcome::KeyConflict(_, fields) = &mut outcome {
        fields.sort();
    }
    assert_eq!(outcome, expected, "{sent:?}");
}

#[test]
fn every_three_dispatches_are_answered_as_the_contract_says() {
    let bits = |n: u8, at: u8| (n >> at) & 1;
    let all: Vec<Sent> = (0..64)
        .map(|n| Sent {
            id: bits(n, 0),
            source: 0,
            key: bits(n, 1),
            vp: bits(n, 2),
            session: bits(n, 3),
            objective: bits(n, 4),
            refused: bits(n, 5) == 1,
        })
        .collect();
    for first in &all {
        for second in &all {
            for third in all.iter().filter(|third| third.vp == 0 && !third.refused) {
                let (mut shell, mut model) = (Shell::default(), Model::default());
                [first, second, third].into_iter().for_each(|sent| agree(&mut shell, &mut model, *sent));
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Send(Sent),
    Remove(usize),
    End(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let sent = (0..6_u8, 0..2_u8, 0..6_u8, 0..3_u8, 0..3_u8, prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let sent = sent.prop_map(|(id, source, key, vp, session, objective, refused)| {
        Act::Send(Sent { id, source, key, vp, session, objective: u8::from(objective), refused })
    });
    prop_oneof![8 => sent, 1 => (0..9_usize).prop_map(Act::Remove), 1 => (0..9_usize).prop_map(Act::End)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_of_dispatches_is_answered_as_the_contract_says(acts in prop::collection::vec(act(), 1..60)) {
        let (mut shell, mut model) = (Shell::default(), Model::default());
        for act in acts {
            match act {
                Act::Send(sent) => agree(&mut shell, &mut model, sent),
                Act::Remove(pick) => {
                    shell.remove(pick);
                    if !model.taken.is_empty() {
                        let pick = pick % model.taken.len();
                        model.taken.remove(pick);
                    }
                }
                Act::End(pick) => {
                    shell.end(pick);
                    let taken = model.taken.len();
                    if let Some((.., status)) = model.taken.get_mut(pick % taken.max(1)) {
                        *status = Status::Completed;
                    }
                }
            }
        }
    }
}

/// The codes and places of what is wrong with an envelope.
fn told(fields: Value, further: &[&str]) -> Vec<String> {
    let envelope = envelope(fields);
    let mut examination = match examine(&envelope) {
        Ok(examination) => examination,
        Err(denial) => return vec![denial.to_string()],
    };
    if examination.to_be_asked().is_some() {
        examination.add(
            further.iter().map(|place| {
                Mistake::new(sortie_contract::Pointer::raw(*place), "plugin_says_no", "the plugin says no")
            }),
        );
    }
    match examination.passed() {
        Ok(_) => Vec::new(),
        Err(Denial::Mistakes(mistakes)) => {
            mistakes.into_iter().map(|mistake| format!("{} {}", mistake.code, mistake.pointer)).collect()
        }
        Err(denial) => vec![denial.to_string()],
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_what_follows_from_it_is_not() {
    let closed = json!({"end_at": moment(-1).to_string()});
    for (fields, further, expected) in [
        (json!({}), &[][..], &[][..]),
        (json!({"callback": {"status_url": "https://10.0.0.2/"}}), &[], &[]),
        (
            json!({"callback": {"status_url": "https://10.0.0.1/"}}),
            &["/inputs/steps"][..],
            &["private_address /callback/status_url", "plugin_says_no /inputs/steps"][..],
        ),
        (
            json!({"vp_runtime_id": "nowhere", "autonomy_window": closed, "plugin": "other"}),
            &["/inputs"],
            &["unknown_lane /vp_runtime_id", "window_closed /autonomy_window/end_at", "plugin_not_installed /plugin"],
        ),
        (json!({"mission_type": "research"}), &["/inputs"], &["plugin_not_installed /plugin"]),
        (
            json!({"target_instance_id": "factory-2", "plugin": "other"}),
            &[],
            &["the mission is for `factory-2`; this node is `factory-1`"],
        ),
    ] {
        assert_eq!(told(fields.clone(), further), expected, "{fields}");
    }
}

#[test]
fn who_was_accepted_before_is_answered_as_before_whatever_the_node_has_against_it_by_now() {
    let (mut shell, sent) =
        (Shell::default(), Sent { id: 1, source: 0, key: 1, vp: 0, session: 0, objective: 0, refused: false });
    assert_eq!(shell.dispatch(sent), Outcome::Taken(1, "vp-0.session".to_owned()));
    let text = sent.text();
    let Parsed { envelope, warnings, digest } = Envelope::parse(&text).expect("valid");
    let kept = &shell.kept[0];
    let mut examination = examine(&envelope).expect("this node's");
    examination.add([Mistake::new(sortie_contract::Pointer::raw("/plugin"), "gone", "the plugin is gone")]);
    let dispatch = Dispatch { envelope: &envelope, text: &text, digest, warnings: &warnings };
    let twin = Earlier {
        mission_id: &envelope.mission_id,
        vp: &envelope.vp_id,
        digest,
        status: Status::Failed,
        budget: kept.accepted.budget,
        window: envelope.window,
        accepted: &kept.accepted,
    };
    // The same id under another key is no reason either.
    let known = Known { twin: Some(twin), same_id: true, newest_session: None };
    let decided = decide(dispatch, &known, Some(&examination)).expect("not denied");
    let Some(Verdict::Before(reply)) = decided else { panic!("{decided:?}") };
    assert_eq!((reply.status, reply.session), (Status::Failed, kept.accepted.session.clone()));
    assert!(matches!(decide(dispatch, &Known::default(), Some(&examination)), Err(Denial::Mistakes(_))));
}

#[test]
fn a_window_of_which_the_hours_leave_nothing_is_refused_but_where_it_goes_on_in_the_next() {
    let told = |more: Value| {
        let mut fields = json!({"autonomy_window": {"end_at": at(1)}});
        fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        match examine(&envelope(fields)).expect("this node's").passed() {
            Ok(_) => None,
            Err(Denial::Mistakes(mistakes)) => {
                Some((mistakes[0].code.clone(), mistakes[0].pointer.as_str().to_owned()))
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    let refused = Some(("outside_hours".to_owned(), "/autonomy_window".to_owned()));
    assert_eq!(told(json!({})), refused);
    assert_eq!(told(json!({"on_window_end": "end"})), refused);
    assert_eq!(told(json!({"on_window_end": "suspend"})), None);
    assert_eq!(told(json!({"autonomy_window": {"end_at": at(2)}})), None);
}
