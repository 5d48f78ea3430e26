//! What would hold of a mission, before it is dispatched, for people.

use maud::{Markup, html};
use serde_json::Value;

use super::text::{Clock, cell, money, plain, str};

/// What the interface says of an envelope (`POST /v1/explain`).
pub(super) fn shown(explained: &Value, clock: &Clock) -> Markup {
    let texts = |key: &str| explained[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    html! {
        section aria-labelledby="explained" {
            h2 id="explained" { "What would hold" }
            p class="line" role="status" {
                @if explained["accepted"] == true { b class="s-done" { "✓ The node would take it." } " Nothing is dispatched yet." }
                @else { b class="s-failed" { "✗ The node would not take it." } }
            }
            @for warning in texts("warnings") { p class="notice" { (plain(warning)) } }
            (facts(explained, clock))
            (models(explained["models"].as_array().map_or(&[], Vec::as_slice)))
            (tools(explained["tools"].as_array().map_or(&[], Vec::as_slice)))
            @for (title, key) in [("Criteria", "success_criteria"), ("Outputs that it has to leave", "required_outputs")] {
                @if texts(key).next().is_some() { h3 { (title) } ul { @for text in texts(key) { li { (plain(text)) } } } }
            }
        }
    }
}

fn facts(explained: &Value, clock: &Clock) -> Markup {
    let (plugin, budget) = (&explained["plugin"], &explained["effective_budget"]);
    let (own, left) = (&explained["autonomy_window"], &explained["effective_window"]);
    let span = |window: &Value| {
        html! {
            @if window["start_at"].is_null() { "at once" } @else { (clock.time(&window["start_at"])) }
            " to "
            @if window["end_at"].is_null() { "no end" } @else { (clock.time(&window["end_at"])) }
        }
    };
    html! {
        dl {
            dt { "Plugin" } dd { @if plugin.is_null() { "open" } @else { (cell(&plugin["name"])) " " (cell(&plugin["version"])) } }
            dt { "Lane" } dd { @if explained["vp_runtime_id"].is_null() { "open" } @else { (cell(&explained["vp_runtime_id"])) } }
            dt { "Budget, after the node's ceilings" }
            dd {
                @if budget.is_null() { "open" } @else {
                    (budget["max_runtime_minutes"].as_f64().map(|minutes| format!("{minutes:.1} min")).unwrap_or_default()) ", "
                    @match budget["max_llm_calls"].as_u64() { Some(calls) => { (calls) " model calls, " } None => "model calls without a limit, " }
                    @if budget["max_cost_usd"].is_null() { "money without a limit" } @else { (money(&budget["max_cost_usd"])) }
                }
            }
            dt { "Its window" } dd { (span(own)) }
            dt { "What hours leave of it" }
            dd {
                @if left.is_null() { "nothing" } @else {
                    (span(left)) span class="dim" { " (opens by " (cell(&left["opens_by"])) ", closes by " (cell(&left["closes_by"])) ")" }
                }
            }
        }
    }
}

/// Each model, with what becomes of its calls, what it costs, and for how many answers the budget has room.
fn models(models: &[Value]) -> Markup {
    html! {
        h3 { "Models" }
        @if models.is_empty() { p { "The node has none: no answer of a model is to be had." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="What models cost" {
                table {
                    thead { tr {
                        th scope="col" { "Model" } th scope="col" { "Its calls" } th scope="col" { "A million tokens" }
                        th scope="col" { "Longest answer" } th scope="col" { "Room for such" }
                    } }
                    tbody {
                        @for model in models {
                            tr {
                                th scope="row" { (cell(&model["name"])) @if model["is_default"] == true { " " span class="dim" { "(default)" } } }
                                td data-label="Its calls" {
                                    (verdict(model))
                                    @if !model["by"].is_null() { div class="dim" { code { (cell(&model["by"]["entry"])) } " in " (cell(&model["by"]["list"])) } }
                                }
                                td data-label="A million tokens" { (money(&model["input_usd_per_mtok"])) " read, " (money(&model["output_usd_per_mtok"])) " written" }
                                td data-label="Longest answer" { (money(&model["longest_answer_usd"])) }
                                td data-label="Room for such" {
                                    @match model["longest_answers"].as_u64() { Some(count) => { (count) } None => "without a limit" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Each tool, with what becomes of its calls and which entries say so; those that are denied because nothing names them last, in one line.
fn tools(tools: &[Value]) -> Markup {
    let is_named = |tool: &&Value| tool["by"].as_array().is_some_and(|by| !by.is_empty());
    let named: Vec<&Value> = tools.iter().filter(is_named).collect();
    let others: Vec<String> =
        tools.iter().filter(|tool| !is_named(tool)).map(|tool| plain(str(tool, "tool"))).collect();
    html! {
        h3 { "Tools" }
        @if named.is_empty() { p { "None is allowed." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="What becomes of calls" {
                table {
                    thead { tr { th scope="col" { "Tool" } th scope="col" { "Its calls" } th scope="col" { "Because of" } } }
                    tbody {
                        @for tool in named {
                            tr {
                                th scope="row" { (cell(&tool["tool"])) }
                                td data-label="Its calls" { (verdict(tool)) }
                                td data-label="Because of" {
                                    @for entry in tool["by"].as_array().into_iter().flatten() {
                                        div { code { (cell(&entry["entry"])) } " " span class="dim" { "in " (cell(&entry["list"])) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if !others.is_empty() { p class="dim" { "Denied, because no entry allows them: " (others.join(", ")) "." } }
    }
}

fn verdict(tool: &Value) -> Markup {
    let (class, mark, words) = match str(tool, "verdict") {
        "allowed" => ("s-done", "✓", "allowed"),
        "asks" => ("s-blocked", "?", "asks first"),
        _ => ("s-failed", "✗", "denied"),
    };
    html! {
        b class=(class) { (mark) " " (words) }
        @if tool["only_some"] == true { div class="dim" { "some calls only: entries have scopes" } }
    }
}
