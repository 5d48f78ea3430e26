//! What is dispatched, and the node that it is dispatched to.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::json;
use sortie_contract::envelope::Envelope;
use sortie_contract::tool::{EffectClass, ToolInfo, ToolName};
use sortie_contract::{InstanceId, LaneId, MicroUsd, Pointer, Timestamp};
use sortie_engine::NodeHours;
use sortie_mission::{Ceilings, NodeRules};
use sortie_schedule::{Calendars, Hours, Zone};

/// Tools that a mission is granted, unless it is said otherwise.
const ALLOWED: [&str; 8] = ["Read", "Write", "Edit", "Buy", "Mail", "shop__Look", "shop__Note", "shop__Order"];

/// What the node is called that is alone.
pub(crate) const ALONE: &str = "factory-1";

/// How long people may take to answer.
pub(crate) const EXPIRY: SignedDuration = SignedDuration::from_hours(24);

/// Missions that a lane runs at once, and all of them.
pub(crate) const CONCURRENCY: usize = 2;
pub(crate) const RUNNING_MAX: usize = 3;

/// Sessions of a history.
const SESSIONS: u64 = 3;

/// How long missions are kept.
pub(crate) const RETENTION: SignedDuration = SignedDuration::from_hours(2);

/// What a client of this history dispatches, parsed, for a node of that name, with no more than ten cents where it is thrifty; and what else comes of it: under the
/// same key but of other content, and under the same name but another key.
pub(crate) fn envelope(
    rng: &mut Rng,
    client: usize,
    wall: Timestamp,
    thrifty: bool,
    target: &str,
) -> ([String; 3], Arc<Envelope>) {
    let cadence = ["milestone", "interval", "hybrid"][rng.usize(..3)];
    let mut json = json!({
        "mission_id": format!("m{client}"),
        "vp_id": format!("vp.{}", rng.u64(..SESSIONS)),
        "vp_runtime_id": if rng.bool() { "runtime.general" } else { "runtime.other" },
        "source_instance_id": "simone",
        "target_instance_id": target,
        "mission_type": "automation",
        "objective": format!("Do what {client} wants."),
        "idempotency_key": format!("key-{client}"),
        "trace_id": format!("trace-{client}"),
        "created_at": "2026-11-22T11:59:00Z",
        "constraints": {"allowed_tools": ALLOWED, "forbidden_tools": ["Rm"], "approval_required": approvals(rng)},
        "budget": {"max_runtime_minutes": 600},
        "report_cadence": cadence,
        "heartbeat_interval_seconds": rng.u64(60..3_600),
        "inputs": {"steps": []},
    });
    if rng.u8(..4) == 0 {
        json["budget"]["max_cost_usd"] = json!(0.5);
    }
    if rng.u8(..5) == 0 {
        json["budget"]["max_runtime_minutes"] = json!(30);
    }
    if rng.u8(..4) == 0 {
        let opens = wall + std::time::Duration::from_secs(rng.u64(..7_200));
        json["autonomy_window"] = json!({"start_at": opens.to_string()});
        if rng.bool() {
            let closes = opens + std::time::Duration::from_secs(rng.u64(600..86_400));
            json["autonomy_window"]["end_at"] = json!(closes.to_string());
        }
    }
    if rng.u8(..4) > 0 {
        json["callback"] =
            json!({"status_url": format!("https://receiver-{}.example/status", rng.u8(..2)), "auth_mode": "bearer"});
        if rng.u8(..3) == 0 {
            json["artifact_policy"] = json!({"storage_scope": "pushback"});
        }
    }
    // By their numbers: what else the dice say of them stays what it was.
    if client.is_multiple_of(3) {
        json["on_window_end"] = json!("suspend");
    }
    if client.is_multiple_of(6) {
        json["carry_over_max"] = json!(1);
    }
    if client % 4 == 1 {
        json["budget"]["max_llm_calls"] = json!(5);
    }
    if thrifty {
        json["budget"]["max_cost_usd"] = json!(0.1);
    }
    if rng.u8(..5) == 0 {
        json["success_criteria"] = json!(["It is right."]);
    }
    let text = json.to_string();
    let parsed = Envelope::parse(&text).unwrap_or_else(|rejected| panic!("{:?}", rejected.mistakes));
    let (mut changed, mut renamed) = (json.clone(), json);
    changed["objective"] = json!(format!("Do something else than {client} wants."));
    renamed["idempotency_key"] = json!(format!("another-key-{client}"));
    ([text, changed.to_string(), renamed.to_string()], Arc::new(parsed.envelope))
}

fn approvals(rng: &mut Rng) -> Vec<&'static str> {
    let rules = ["Edit", "shop__Note", "money_movement", "outbound_email", "Mail", "no_such_class"];
    rules.into_iter().filter(|_| rng.u8(..5) == 0).collect()
}

/// The tools of the node.
pub(crate) fn tools() -> Vec<ToolInfo> {
    vec![
        tool("Read", &[], true, false),
        tool("Write", &["workspace_write"], false, true),
        tool("Edit", &["workspace_write"], false, false),
        ToolInfo { price: MicroUsd(50_000), ..tool("Buy", &["money_movement"], false, false) },
        // Of which nothing is declared.
        tool("Mail", &[], false, false),
        tool("Rm", &["destructive_file_actions"], false, false),
    ]
}

/// The tools that the shop can have.
pub(crate) fn shop_tools() -> Vec<ToolInfo> {
    vec![
        tool("shop__Look", &[], true, false),
        tool("shop__Note", &[], false, true),
        tool("shop__Order", &["money_movement"], false, false),
    ]
}

fn tool(name: &str, effects: &[&str], read_only: bool, idempotent: bool) -> ToolInfo {
    let effects = effects.iter().map(|&class| EffectClass(class.to_owned())).collect();
    ToolInfo { effects, read_only, idempotent, ..ToolInfo::undeclared(ToolName::new(name)) }
}

pub(crate) fn lanes() -> [LaneId; 2] {
    ["runtime.general", "runtime.other"].map(|name| LaneId::new(name).expect("a lane"))
}

/// When the second lane is open, in UTC; the first always is.
const OPEN: [&str; 3] = ["00:00-05:00", "06:30-13:00", "14:00-24:00"];

/// The hours of the node.
pub(crate) fn hours() -> NodeHours {
    let [_, other] = lanes();
    let hours = Hours::parse(&OPEN, &[], &Zone::utc(), &Calendars::none(), &Pointer::root()).expect("hours");
    NodeHours { lanes: BTreeMap::from([(other, hours)]), ..NodeHours::default() }
}

/// Whether a lane is closed at a time; said once more, and in another way.
pub(crate) fn is_closed(lane: &LaneId, at: Timestamp) -> bool {
    let minute = at.as_second().rem_euclid(86_400) / 60;
    *lane == lanes()[1] && ((300..390).contains(&minute) || (780..840).contains(&minute))
}

pub(crate) fn rules(node: &str) -> NodeRules {
    let [general, other] = lanes();
    NodeRules {
        instance_id: InstanceId::new(node).expect("an id"),
        lanes: vec![general.clone(), other],
        default_lane: general,
        ceilings: Ceilings { runtime_ms: 24 * 3_600_000, llm_calls: None, cost: None },
        shared_storage: false,
        classes: Vec::new(),
    }
}
