//! How much of a mission is read for a receiver that takes nothing.

use sortie_contract::Stamped;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::{LaneId, RunNo, SessionId};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::record::{Accepted, Record};
use sortie_journal::{Append, Head, MemoryLog};
use sortie_mission::{Command, Conditions, Now};

use super::*;

const NO: MissionNo = MissionNo(1);

/// A mission that runs and has told of so many steps, of a kibibyte each.
fn of_steps(steps: usize) -> MemoryLog {
    let text = r#"{
        "mission_id": "m-1", "vp_id": "vp", "source_instance_id": "hq", "target_instance_id": "factory-1",
        "mission_type": "automation", "objective": "Count.", "inputs": {"steps": []}, "report_cadence": "milestone",
        "idempotency_key": "k", "trace_id": "t", "created_at": "2026-11-22T00:00:00Z",
        "callback": {"status_url": "https://hq.example/status", "auth_mode": "bearer"}
    }"#;
    let (session, lane) = (SessionId::new("s").expect("an id"), LaneId::new("lane").expect("an id"));
    let (name, version) = ("automation".to_owned(), "1.0.0".to_owned());
    let accepted = Record::Accepted(Box::new(Accepted {
        envelope: text.to_owned(),
        session: session.clone(),
        lane: lane.clone(),
        plugin: PluginIdentity { name, version, digest: Digest::of(b"p") },
        budget: EffectiveBudget { runtime_ms_max: 3_600_000, llm_calls_max: None, cost_max: None },
        warnings: Vec::new(),
        unknown_approvals: Vec::new(),
    }));
    let mut records = vec![Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: accepted }];
    let mut mission = begin(&records[0]).expect("it begins");
    let head = Head::accepted(mission.envelope(), Digest::of(text.as_bytes()), session, lane, Timestamp::UNIX_EPOCH);
    let start = Command::Start(Conditions {
        tools: &[],
        memory_bytes_max: 1 << 20,
        alone: false,
        crashes_alone_max: 3,
        open_until: None,
    });
    let milestone = |_| Command::Milestone { run: RunNo(1), text: "x".repeat(1 << 10) };
    for command in std::iter::once(start).chain((0..steps).map(milestone)) {
        let now = Now {
            wall: Timestamp::UNIX_EPOCH,
            ran_ms: 0,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at: Timestamp::MAX,
            on_expiry: sortie_contract::envelope::OnExpiry::End,
        };
        for record in mission.decide(now, command).expect("it may") {
            let stamped = Stamped { at: now.wall, ran_ms: 0, record };
            mission.apply(&stamped).expect("it follows");
            records.push(stamped);
        }
    }
    let log = MemoryLog::default();
    log.append(Append::new(NO, 0, &records).head(&head)).expect("room");
    log
}

#[test]
fn what_waits_for_a_receiver_is_read_in_pieces() {
    let steps = 1_000;
    let log = of_steps(steps);
    let mut seen = 0;
    let mut follower = Follower::begin(&log, NO, Cursor::default()).expect("it reads");
    while !follower.items.is_empty() {
        assert!(follower.items.len() <= ITEMS_MAX, "{} items are held at once", follower.items.len());
        let ahead = follower.mission.outgoing() - seen;
        assert!(ahead <= ITEMS_MAX as u64, "{ahead} items behind {seen} were made before anybody took one");
        assert_eq!(follower.first(), seen + 1, "none is left out");
        seen += follower.items.len() as u64;
        follower.cursor.acked = seen;
        follower.skip();
        follower.advance(&log, NO).expect("it reads");
    }
    assert!(seen >= steps as u64, "{seen}");
}

/// Where a mission stands after an item was delivered, as the log and the followers have it.
fn delivered(log: &MemoryLog, followers: &Followers, stride: Stride) {
    let append = Append::new(NO, 0, &[]).moved_from(Some(stride.before.clone())).cursor(&stride.after);
    log.append_durable(append).expect("room").wait().expect("it stands there");
    followers.stepped(NO, stride);
}

#[test]
fn what_was_read_for_one_item_is_good_for_the_next() {
    let (log, followers) = (of_steps(3), Followers::default());
    log.append(Append::new(NO, 0, &[]).cursor(&Cursor::default())).expect("room");
    assert!(followers.at_hand(NO).is_none(), "nothing was read");
    assert_eq!(followers.next(&log, NO).expect("it reads").map(|next| next.item), Some(1));
    for item in 1..=5 {
        assert_eq!(followers.at_hand(NO).map(|next| next.item), Some(item));
        let step = Step::Delivered { item, at: Timestamp::UNIX_EPOCH };
        let stride = followers.stride_at_hand(NO, &step).expect("it is at hand");
        assert!(!stride.over, "the mission goes on");
        delivered(&log, &followers, stride);
    }
    assert!(followers.at_hand(NO).is_none(), "there is no more, as far as was read");
    assert!(followers.next(&log, NO).expect("it reads").is_none());
}

#[test]
fn who_was_overtaken_looks_anew() {
    let (log, followers) = (of_steps(3), Followers::default());
    log.append(Append::new(NO, 0, &[]).cursor(&Cursor::default())).expect("room");
    followers.next(&log, NO).expect("it reads");
    let step = |item| Step::Delivered { item, at: Timestamp::UNIX_EPOCH };
    let stride = || followers.stride_at_hand(NO, &step(1)).expect("it is at hand");
    let (late, first) = (stride(), stride());
    delivered(&log, &followers, first);
    // Whose step was not made says nothing; one that says it was, of a cursor that has moved since, is not believed.
    assert!(followers.stride(&log, NO, &step(1)).expect("it reads").is_none(), "it is delivered already");
    assert_eq!(followers.at_hand(NO).map(|next| next.item), Some(2), "no step touches nothing");
    followers.stepped(NO, late);
    assert!(followers.at_hand(NO).is_none());
    assert_eq!(followers.next(&log, NO).expect("it reads").map(|next| next.item), Some(2));
}

#[test]
fn one_that_is_parked_or_done_with_is_not_kept_in_mind() {
    let (log, followers) = (of_steps(3), Followers::default());
    log.append(Append::new(NO, 0, &[]).cursor(&Cursor::default())).expect("room");
    followers.next(&log, NO).expect("it reads");
    let step = Step::Parked { item: 1, attempts: 3, why: "410".to_owned() };
    let stride = followers.stride_at_hand(NO, &step).expect("it is at hand");
    delivered(&log, &followers, stride);
    assert!(followers.at_hand(NO).is_none());
    assert!(followers.next(&log, NO).expect("it reads").is_none(), "an operator has to say so");
    assert!(followers.0.lock().is_empty());
    let again = followers.stride(&log, NO, &Step::Again { at: Timestamp::UNIX_EPOCH }).expect("it reads");
    delivered(&log, &followers, again.expect("it is parked"));
    assert_eq!(followers.next(&log, NO).expect("it reads").map(|next| next.item), Some(1));
}
