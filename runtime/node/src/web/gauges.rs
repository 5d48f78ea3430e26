//! What a mission has of each limit: spent, set aside, free, and from where on it has to land.

use maud::{Markup, html};
use serde_json::Value;

use super::text::dollars;

/// A limit, and what is gone of it.
struct Gauge<'a> {
    name: &'static str,
    spent: f64,
    reserved: f64,
    most: Option<f64>,
    /// From which amount on its plugin is to land; none where no share is kept for that.
    lands_at: Option<f64>,
    form: &'a dyn Fn(f64) -> String,
}

/// What of its limits is spent, set aside, and free.
pub(super) fn gauges(mission: &Value) -> Markup {
    let (usage, budget, landing) = (&mission["usage"], &mission["effective_budget"], &mission["landing"]);
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let minutes = |minutes: f64| format!("{minutes:.1} min");
    let calls = |calls: f64| format!("{calls:.0}");
    let reserved = &usage["reserved"];
    let from = &landing["from"];
    let gauge = |name, spent: &Value, reserved: f64, most: &str, lands_at: &Value, form| Gauge {
        name,
        spent: number(spent),
        reserved,
        most: budget[most].as_f64(),
        lands_at: lands_at.as_f64(),
        form,
    };
    html! {
        section aria-labelledby="gauges" {
            h2 id="gauges" { "Budget" }
            div class="gauges" {
                (gauge("Run time", &usage["runtime_minutes"], 0.0, "max_runtime_minutes", &landing["from_runtime_minutes"], &minutes).shown())
                (gauge("Model calls", &usage["llm_calls"], number(&reserved["llm_calls"]), "max_llm_calls", &from["llm_calls"], &calls).shown())
                (gauge("Money", &usage["estimated_cost_usd"], number(&reserved["cost_usd"]), "max_cost_usd", &from["cost_usd"], &dollars).shown())
            }
            (landing_in_words(landing))
        }
    }
}

fn landing_in_words(landing: &Value) -> Markup {
    let came_near = match landing["closing"].as_str() {
        Some("window") => "its window is nearly over",
        Some("run_time") => "its run time is nearly over",
        Some("llm_calls") => "its model calls are nearly used up",
        Some("cost") => "its money is nearly spent",
        _ => "",
    };
    html! {
        @if landing.is_null() {}
        @else if landing["lands"] == true { p { "It lands" @if !came_near.is_empty() { ": " (came_near) } "." } }
        @else if !came_near.is_empty() { p { "It was told to land: " (came_near) "." } }
    }
}

impl Gauge<'_> {
    /// In three parts; a limit that there is not is only told.
    fn shown(&self) -> Markup {
        let Self { name, spent, reserved, most, lands_at, form } = self;
        let free = most.map(|most| (most - spent - reserved).max(0.0));
        // What was spent over the limit makes it no wider.
        let whole = most.unwrap_or(0.0).max(spent + reserved).max(f64::MIN_POSITIVE);
        let width = |part: f64| format!("{:.1}", 200.0 * part / whole);
        html! {
            div class="gauge" {
                h3 { (name) }
                @if most.is_some() {
                    svg viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true" {
                        rect class="free" width="200" height="12" rx="3" {}
                        rect class="reserved" x=(width(*spent)) width=(width(*reserved)) height="12" {}
                        rect class="spent" width=(width(*spent)) height="12" rx="3" {}
                        @if let Some(at) = lands_at {
                            line class="landing" x1=(width(*at)) x2=(width(*at)) y1="0" y2="12" {}
                        }
                    }
                }
                p {
                    b { (form(*spent)) } " spent, " (form(*reserved)) " set aside, "
                    @match free { Some(free) => { (form(free)) " free" } None => { "no limit" } }
                    @if let Some(at) = lands_at { "; lands at " (form(*at)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_is_in_three_parts_with_the_mark_where_it_lands() {
        let mission = json!({
            "usage": {"runtime_minutes": 3.0, "llm_calls": 2, "estimated_cost_usd": 0.5, "reserved": {"llm_calls": 1, "cost_usd": 0.25}},
            "effective_budget": {"max_runtime_minutes": 10.0, "max_llm_calls": null, "max_cost_usd": 1.0},
            "landing": {"from_runtime_minutes": 9.5, "from": {"llm_calls": null, "cost_usd": 0.95}, "closing": "cost", "lands": false},
        });
        let shown = gauges(&mission).into_string();
        for expected in [
            "<b>3.0 min</b> spent, 0.0 min set aside, 7.0 min free; lands at 9.5 min",
            "<b>2</b> spent, 1 set aside, no limit</p>",
            "<b>$0.50</b> spent, $0.25 set aside, $0.25 free; lands at $0.95",
            "<rect class=\"reserved\" x=\"100.0\" width=\"50.0\"",
            "<line class=\"landing\" x1=\"190.0\" x2=\"190.0\"",
            "It was told to land: its money is nearly spent.",
        ] {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        let bare =
            gauges(&json!({"usage": {}, "effective_budget": {"max_cost_usd": 0.0}, "landing": null})).into_string();
        assert!(!bare.contains("landing") && !bare.contains("NaN") && !bare.contains("land"), "{bare}");
    }
}
