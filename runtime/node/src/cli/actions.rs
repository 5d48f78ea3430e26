//! `sortie actions`: what operators did on a node, newest first.

use serde_json::Value;

use super::client::Client;
use super::look::{PageArgs, items, say_more};
use super::text::{self, Cell, Column, Screen};
use super::{Exit, Failure};

const COLUMNS: [Column<'static>; 6] = [
    Column::whole("WHEN"),
    Column::whole("WHO"),
    Column::whole("WHAT"),
    Column::whole("TO WHAT"),
    Column::cut("SAID", 16),
    Column::whole("FROM").spare(),
];

pub(super) async fn actions(which: &PageArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = which.get(client, &["v1", "actions"]).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let screen = Screen::of_output();
    text::table(
        &COLUMNS,
        &items(&page).map(|action| row(action, &screen).map(Cell::from).to_vec()).collect::<Vec<_>>(),
        &screen,
    )?;
    say_more(&page);
    Ok(Exit::Completed)
}

fn row(action: &Value, screen: &Screen) -> [String; 6] {
    let [by, what, subject, request, via] =
        ["by", "what", "subject", "request", "via"].map(|key| text::cell(&action[key]));
    let subject = match (subject.is_empty(), request.is_empty()) {
        (true, _) => "the node".to_owned(),
        (false, true) => subject,
        (false, false) => format!("{subject} {request}"),
    };
    let said = action["said"].as_object().into_iter().flatten();
    let said: Vec<String> = said.map(|(key, value)| format!("{}: {}", text::plain(key), text::cell(value))).collect();
    let when = screen.age(&action["at"]);
    [when, by, what.replace('_', " "), subject, said.join(", "), via]
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_done_to_whom_and_what_was_said() {
        let action = json!({
            "no": 7, "at": "2026-11-26T02:00:00Z", "by": "ops", "via": "cli", "what": "decide", "subject": "m-1", "request": "r1",
            "said": {"decision": "approve", "note": "fine\u{7}"},
        });
        let screen = Screen::fixed(None, false, TimeZone::UTC, "2026-11-26T21:00:00Z");
        let expected =
            ["2026-11-26T02:00:00+00:00", "ops", "decide", "m-1 r1", "decision: approve, note: fine\\u{7}", "cli"];
        assert_eq!(row(&action, &screen), expected);
    }
}
