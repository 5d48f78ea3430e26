//! `/metrics`, read by Prometheus' own readers: each family says what it is, histograms are such, and what was done has moved them.

use std::collections::BTreeMap;

use serde_json::Value;
use sortie_tests::http;

use crate::night::{Night, TRACE, night};
use crate::read::{is_there, read};

/// Metrics as a scraper of that kind gets them: their media type and their text.
async fn scrape(night: &Night, accepts: &str) -> (String, String) {
    let request = night.node.request("GET", "/metrics").header("accept", accepts);
    let answer = http::send(request).await.expect("an answer").expect_status(200);
    assert_eq!(answer.header("vary"), "accept");
    (answer.header("content-type").to_owned(), answer.text)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value:#}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A histogram with one set of labels: bounds with their counts, and what is said of all.
#[derive(Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

/// Within each set of labels, bounds rise, so do counts, and the last of them is that of all. Of how many sets.
fn sound_histograms(family: &Value) -> usize {
    let name = text(family, "name");
    let mut sets: BTreeMap<String, Histogram> = BTreeMap::new();
    for sample in family["samples"].as_array().expect("a list") {
        let mut labels = sample["labels"].as_object().expect("labels").clone();
        let bound = labels.shift_remove("le");
        let set = sets.entry(Value::from(labels).to_string()).or_default();
        match text(sample, "name").strip_prefix(name) {
            Some("_bucket") => {
                let bound = bound.expect("a bucket has a bound");
                let bound = bound.as_str().and_then(|bound| bound.replace("+Inf", "inf").parse().ok());
                set.buckets.push((bound.expect("a number"), number(&sample["value"])));
            }
            Some("_sum") => set.sum = Some(number(&sample["value"])),
            Some("_count") => set.count = Some(number(&sample["value"])),
            other => panic!("{name} has {other:?}"),
        }
    }
    for (labels, Histogram { buckets, sum, count }) in &sets {
        let rises = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        assert!(buckets.len() > 10 && rises, "{name}{labels}: {buckets:?}");
        let last = buckets.last().expect("buckets");
        assert!(last.0.is_infinite() && Some(last.1) == *count, "{name}{labels}: {buckets:?}, {count:?}");
        assert!(sum.is_some_and(|sum| sum >= 0.0 && (*count > Some(0.0) || sum == 0.0)), "{name}{labels}: {sum:?}");
    }
    sets.len()
}

#[tokio::test]
async fn every_family_says_what_it_is_and_what_was_done_has_moved_it() {
    if !is_there() {
        return;
    }
    let night = night().await;
    let (media_type, openmetrics) = scrape(&night, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = read("openmetrics", &openmetrics);
    let (media_type, plain) = scrape(&night, "*/*").await;
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF") && !plain.contains("# UNIT"), "{plain}");
    let told = read("text", &plain);
    assert_eq!((open.len(), open.len()), (told.len(), openmetrics.matches("# TYPE ").count()));
    for families in [&open, &told] {
        let mut histograms = 0;
        for family in families {
            let (name, kind) = (text(family, "name"), text(family, "type"));
            assert!(!text(family, "help").is_empty() && kind != "unknown" && kind != "untyped", "{name} says nothing");
            assert!(name.starts_with("sortie_"), "{name}");
            match kind {
                "histogram" => {
                    assert!(name.ends_with("_seconds"), "{name}");
                    histograms += sound_histograms(family);
                }
                "counter" => {
                    let total = format!("{}_total", name.trim_end_matches("_total"));
                    let samples = family["samples"].as_array().expect("a list");
                    assert!(samples.iter().all(|sample| text(sample, "name") == total), "{family:#}");
                }
                kind => assert_eq!(kind, "gauge", "{name}"),
            }
        }
        assert!(histograms >= 10, "{histograms}");
    }
    // Of each row, what it begins with and the least that it comes to.
    for (row, least) in [
        ("sortie_dispatch_duration_seconds_count{how=\"single\",outcome=\"accepted\"}", 3.0),
        ("sortie_dispatch_duration_seconds_count{how=\"single\",outcome=\"replayed\"}", 1.0),
        ("sortie_dispatch_duration_seconds_count{how=\"single\",outcome=\"refused\"}", 1.0),
        ("sortie_journal_commit_duration_seconds_count", 3.0),
        ("sortie_mission_start_delay_seconds_count", 3.0),
        ("sortie_window_start_delay_seconds_count", 1.0),
        ("sortie_tool_call_duration_seconds_count{tool=\"Write\",outcome=\"ok\"}", 2.0),
        ("sortie_tool_call_duration_seconds_count{tool=\"Read\",outcome=\"failed\"}", 1.0),
        ("sortie_model_call_duration_seconds_count{model=\"brain\",outcome=\"ok\"}", 1.0),
        ("sortie_delivery_delay_seconds_count", 2.0),
        ("sortie_delivery_request_duration_seconds_count{method=\"POST\",outcome=\"ok\"}", 2.0),
        ("sortie_notify_sent_total{channel=\"well\"}", 1.0),
        ("sortie_notify_failures_total{channel=\"gone\"}", 1.0),
        ("sortie_notify_failed_attempts{channel=\"gone\"}", 1.0),
        ("sortie_notify_owed{channel=\"gone\"}", 1.0),
        ("sortie_notify_failed_attempts{channel=\"well\"}", 0.0),
        ("sortie_budget_limit_usd{scope=\"node\",per=\"day\"}", 5.0),
        ("sortie_missions_completed_total", 2.0),
        ("sortie_missions_blocked", 0.0),
        ("sortie_paused", 0.0),
        ("sortie_build_info", 1.0),
    ] {
        let figure = |line: &str| line.starts_with(row).then(|| line.rsplit_once(' ')?.1.parse::<f64>().ok()).flatten();
        let found = plain.lines().find_map(figure);
        assert!(found >= Some(least), "{row} is {found:?} in\n{plain}");
    }
    // What leads from a figure to its trace.
    for family in
        ["dispatch_duration", "mission_start_delay", "tool_call_duration", "model_call_duration", "delivery_delay"]
    {
        let name = format!("sortie_{family}_seconds");
        let samples =
            open.iter().filter(|family| family["name"] == *name).filter_map(|family| family["samples"].as_array());
        let has_example = samples.flatten().any(|sample| sample["example"]["trace_id"] == TRACE);
        assert!(has_example, "no example of {family} in\n{openmetrics}");
    }
}

#[tokio::test]
async fn a_node_that_is_held_back_says_so() {
    let night = night().await;
    night.node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    let (_, metrics) = scrape(&night, "").await;
    assert!(metrics.lines().any(|line| line == "sortie_paused 1"), "{metrics}");
    assert!(!night.receiver.received().is_empty());
}
