//! The schedules of a history: all policies, zones whose clock changes, and times that are near enough for something to happen.

use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use sortie_contract::Timestamp;
use sortie_schedule::{Calendars, Form, Overlap, Schedule};

/// A schedule of that name, made at this time.
pub(crate) fn plan(rng: &mut Rng, id: &str, wall: Timestamp) -> Schedule {
    let mut plan = times(rng, wall);
    let overlap = Overlap::ALL[rng.usize(..Overlap::ALL.len())];
    let mut put = |key: &str, of: &[Value]| {
        let value = of[rng.usize(..of.len())].clone();
        if !value.is_null() {
            plan.insert(key.to_owned(), value);
        }
    };
    put("id", &[json!(id)]);
    put("overlap", &[json!(overlap.as_str())]);
    put("catch_up", &[json!(null), json!("0s"), json!("3h"), json!("5d")]);
    put("catch_up_policy", &[json!(null), json!("all"), json!("last"), json!("none")]);
    put("jitter", &[json!(null), json!(null), json!("4m")]);
    put("runs", &[json!(null), json!(null), json!(null), json!(30)]);
    put("pause_after_failures", &[json!(null), json!(null), json!(3)]);
    if overlap != Overlap::BufferAll {
        // A window that is longer than the time to the next fire has no place where all wait.
        put("opens_for", &[json!(null), json!(null), json!("10m"), json!("4h")]);
    }
    if plan.contains_key("opens_for") && matches!(overlap, Overlap::Skip | Overlap::BufferOne) {
        plan.insert("on_window_end".to_owned(), json!("suspend"));
    }
    let before = [json!("nothing"), json!("{{ previous.status }}")];
    let mission = json!({
        "vp_id": format!("vp.{id}"),
        "mission_type": "automation",
        "objective": "Do what {{ schedule.id }} wants on {{ date }}.",
        "inputs": {"steps": [], "before": before[rng.usize(..before.len())]},
    });
    plan.insert("mission".to_owned(), mission);
    let text = Value::Object(plan).to_string();
    Schedule::parse(&text, Form::Json, &Calendars::none()).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
}

fn times(rng: &mut Rng, wall: Timestamp) -> Map<String, Value> {
    let later = |days: i64| (wall + SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%d").to_string();
    let hours = |hours: i64| (wall + SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let times = match rng.u8(..9) {
        0 => json!({"zone": "America/Chicago", "at": "30 1,2 * * *"}),
        1 => json!({"zone": "America/Chicago", "at": "30 1,2 * * *", "on_fold": "both", "on_gap": "skip"}),
        2 => json!({"zone": "Australia/Lord_Howe", "at": ["*/40 1-3 * * *", "0 2 * * *"]}),
        3 => json!({"every": "3h", "offset": "7m"}),
        4 => json!({"every": "7h", "zone": "Europe/London", "except": format!("{}..{}", later(3), later(9))}),
        5 => json!({"zone": "Europe/London", "at": "0 22 * * 1-5", "once": [hours(5), hours(31)]}),
        6 => json!({"zone": "UTC", "at": "*/20 * * * *", "start_at": hours(1), "end_at": hours(49)}),
        7 => json!({"zone": "America/Chicago", "at": "0 */4 * * *"}),
        _ => json!({"zone": "Pacific/Auckland", "at": ["15 2 * * 0", "0 6 1 * *"]}),
    };
    let Value::Object(times) = times else { unreachable!("each is an object") };
    times
}
