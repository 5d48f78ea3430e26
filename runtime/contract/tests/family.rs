//! What an envelope says of missions that others dispatch: their names, which nodes give, and how many there may be.

#[allow(dead_code, reason = "each test program uses its own part of it")]
mod common;

use common::{check, taken, with};
use serde_json::{Value, json};

#[test]
fn names_of_what_is_of_a_child_are_the_nodes_to_give() {
    for (place, name) in [
        ("/mission_id", "night.child-7"),
        ("/mission_id", "child.child-1.child-22"),
        ("/vp_session_id", "child:night.child-7"),
        ("/idempotency_key", "child:night/7"),
        ("/idempotency_key", "child:anything/007"),
    ] {
        let envelope = with(place, json!(name));
        check(&envelope, &[(place, "reserved")]);
        // Whatever was accepted is read, and a child has its own.
        assert!(sortie_contract::Envelope::parse_accepted(&envelope.to_string()).is_ok(), "{place} {name}");
        assert!(sortie_contract::Envelope::parse_of_child(&envelope.to_string()).is_ok(), "{place} {name}");
    }
    for (place, name) in [
        ("/mission_id", "report-2026.11.22"),
        ("/mission_id", "night.7"),
        ("/mission_id", "child:night.7"),
        ("/mission_id", "child-7"),
        ("/vp_session_id", "children"),
        ("/vp_session_id", "vp.child:7"),
        ("/vp_session_id", "child:"),
        ("/vp_session_id", "child:anna"),
        ("/idempotency_key", "Child:night/7"),
        ("/idempotency_key", "child:20261126T080000Z"),
    ] {
        taken(&with(place, json!(name)));
    }
}

#[test]
fn a_mission_may_say_how_many_others_come_of_it() {
    let missions = |said: Value| {
        let text = with("/budget/max_missions", said).to_string();
        sortie_contract::Envelope::parse(&text).expect("an envelope").envelope.budget.missions_max
    };
    for (said, counted) in [
        (json!(7), Some(7)),
        (json!(7.0), Some(7)),
        (json!(0), None),
        (json!(null), None),
        (json!(5_000_000_000_u64), Some(u32::MAX)),
    ] {
        assert_eq!(missions(said.clone()), counted, "{said}");
    }
}
