//! Schedules from outside: what is told of their fires, and what must hold of each of their times.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::Node;

/// Everything on these pages, in their order.
///
/// # Panics
/// If they cannot be read.
pub async fn pages(node: &Node, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    let sign = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = node.get(&format!("{path}{sign}limit=500{cursor}")).await.expect_status(200).json;
        all.extend(page["items"].as_array().expect("a list").iter().cloned());
        cursor = match &page["next_cursor"] {
            Value::Null => return all,
            Value::String(next) => format!("&cursor={next}"),
            next => format!("&cursor={next}"),
        };
    }
}

/// All that is told of a schedule's fires, the oldest first.
///
/// # Panics
/// If it cannot be read.
pub async fn fires(node: &Node, id: &str) -> Vec<Value> {
    let mut all = pages(node, &format!("/v1/schedules/{id}/fires")).await;
    all.reverse();
    all
}

/// What became of each of a schedule's own times, by the second: `fired`, or the reason for which it was left out; `waits`, where that
/// is not said yet.
///
/// `times` are those from one to another, both included.
///
/// # Panics
/// If a time is told of twice, or what is told of several is not of as many.
#[must_use]
pub fn told(fires: &[Value], times: impl Fn(i64, i64) -> Vec<i64>) -> BTreeMap<i64, String> {
    let mut told: BTreeMap<i64, String> = BTreeMap::new();
    for fire in fires.iter().filter(|fire| !["triggered", "backfilled"].contains(&text(&fire["origin"]))) {
        let what = text(&fire["what"]);
        if !["fired", "skipped", "missed", "waits"].contains(&what) {
            continue;
        }
        let (first, last) = (second(&fire["first"]), second(&fire["last"]));
        let all = if first == last { vec![first] } else { times(first, last) };
        assert_eq!(Some(all.len() as u64), fire["count"].as_u64(), "{fire:#}");
        for at in all {
            let what = if ["fired", "waits"].contains(&what) { what } else { text(&fire["reason"]) };
            let before = told.insert(at, what.to_owned());
            assert!(before.as_deref().is_none_or(|before| before == "waits"), "{at} was {before:?}, and is {what}");
        }
    }
    told
}

/// The missions that a schedule says it made, each once.
///
/// # Panics
/// If one was made twice.
#[must_use]
pub fn made(fires: &[Value]) -> BTreeSet<String> {
    let made = fires.iter().filter(|fire| fire["made"] == "made").map(|fire| text(&fire["mission_id"]).to_owned());
    let mut all = BTreeSet::new();
    made.for_each(|id| assert!(all.insert(id.clone()), "{id} was made twice"));
    all
}

/// A counter or gauge of a node.
///
/// # Panics
/// If there is none of that name.
pub async fn metric(node: &Node, name: &str) -> u64 {
    let metrics = node.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not among\n{metrics}"))
}

/// The whole second of a time.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn second(time: &Value) -> i64 {
    text(time).parse::<Timestamp>().unwrap_or_else(|_| panic!("a time: {time}")).as_second()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
