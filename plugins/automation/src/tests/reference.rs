//! `docs/AUTOMATION.md`: its examples do what stands below them, its tables are true, and nothing is left out.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value as Json, json};
use sortie_plugin::CallError;

use super::brief;
use super::world::{Answer, Simulated};
use crate::plan::KEYS;
use crate::template::FILTERS;

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/AUTOMATION.md");
    fs::read_to_string(file).expect("the reference")
}

/// The inputs that the page says its examples have.
fn inputs(steps: &Json) -> Json {
    json!({ "shop": "http://shop", "week": "W47", "list": [1, 2, 3], "pause": "90m", "steps": steps })
}

/// The code blocks of the page: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((language.to_owned(), text.join("\n")));
        }
    }
    blocks
}

/// Rows of two cells, each a piece of code, of the tables whose heading is this.
fn rows(page: &str, heading: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == heading) {
        for line in lines.by_ref().skip(1).take_while(|line| line.starts_with('|')) {
            // A `|` within a cell is escaped; what stands for it here is in no example.
            let line = line.replace("\\|", "\u{1}");
            let cell = |cell: &str| cell.trim().trim_matches('`').replace('\u{1}', "|");
            let cells: Vec<_> = line.trim_matches('|').split('|').map(cell).collect();
            let [left, right] = cells.as_slice() else { panic!("two cells: {line}") };
            rows.push((left.clone(), right.clone()));
        }
    }
    rows
}

/// What the node's tools take: an example that lacks an argument, or has one too many, would be no good to copy.
fn schemas() -> BTreeMap<&'static str, Json> {
    let closed = |names: &[&str], required: &[&str]| {
        let properties: BTreeMap<&str, Json> = names.iter().map(|name| (*name, json!({}))).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    };
    BTreeMap::from([
        ("HttpRequest", closed(&["method", "url", "headers", "body", "expect"], &["method", "url"])),
        ("Read", closed(&["path", "offset", "limit"], &["path"])),
        ("Write", closed(&["path", "content"], &["path", "content"])),
    ])
}

/// Runs the steps in a world that answers as the lines of a script say, and gives back what it did, in the script's form.
fn play(steps: &Json, script: &str) -> Vec<String> {
    let answer = |line: &str| -> Option<(String, Answer)> {
        let (call, answer) = line.split_once(" -> ")?;
        let answer = match answer.strip_prefix("! ") {
            Some(why) => Err(CallError::Failed(why.to_owned())),
            None => Ok(serde_json::from_str(answer).expect("an answer in JSON")),
        };
        Some((call.split_once(' ').expect("a time").1.to_owned(), (0, answer)))
    };
    let told: VecDeque<_> = script.lines().filter_map(answer).collect();
    let told = Rc::new(RefCell::new(told));
    let mut world = Simulated::new(&["HttpRequest", "Read", "Write"], move |tool, arguments| {
        let next = told.borrow_mut().pop_front();
        let (call, answer) = next.unwrap_or_else(|| panic!("no answer is left for {tool} {arguments}"));
        assert_eq!(format!("{tool} {arguments}"), call, "what is called next");
        answer
    });
    world.schemas = schemas();
    let brief = brief(&inputs(steps));
    assert_eq!(crate::check(&brief), [], "{steps:#}");
    let end = crate::run(&brief, &mut world);
    let end = end.map_or_else(|end| format!("failed: {}", end.summary), |end| format!("completed: {}", end.summary));
    let line = |line: &String| {
        let (ms, what) = line.split_once(' ').expect("a time");
        format!("{}s {what}", ms.parse::<u64>().expect("milliseconds") / 1_000)
    };
    world.log.iter().map(line).filter(|line| !line.contains("goes on: ")).chain([end]).collect()
}

#[test]
fn the_examples_do_what_stands_below_them() {
    let mut played = 0;
    let blocks = blocks(&page());
    for pair in blocks.windows(2) {
        let [(language, steps), (below, script)] = pair else { continue };
        if language != "json" {
            continue;
        }
        assert_eq!(below, "text", "what it does stands below:\n{steps}");
        let steps: Json = serde_json::from_str(steps).unwrap_or_else(|error| panic!("{error}:\n{steps}"));
        let expected: Vec<_> = script.lines().map(|line| line.split(" -> ").next().unwrap_or_default()).collect();
        assert_eq!(play(&steps, script), expected, "{steps:#}");
        played += 1;
    }
    assert!(played >= 7, "{played}");
}

#[test]
fn the_templates_of_the_tables_give_what_stands_beside_them() {
    let rows = rows(&page(), "| template | gives |");
    for (template, gives) in &rows {
        let mut world = Simulated::echo();
        let steps = json!([{ "id": "a", "tool": "Echo", "with": { "v": template } }]);
        crate::run(&brief(&inputs(&steps)), &mut world).unwrap_or_else(|failure| panic!("{template}: {failure:?}"));
        assert_eq!(world.log, [format!("0 Echo {{\"v\":{gives}}}")], "{template}");
    }
    assert!(rows.len() >= 20, "{}", rows.len());
}

#[test]
fn the_mistakes_of_the_table_are_found_where_it_says() {
    let rows = rows(&page(), "| step | mistake |");
    for (step, mistake) in &rows {
        let step: Json = serde_json::from_str(step).unwrap_or_else(|error| panic!("{error}: {step}"));
        let found = crate::check(&brief(&inputs(&json!([step]))));
        let found: Vec<_> = found
            .iter()
            .map(|found| format!("{} {}", found.pointer.trim_start_matches("/inputs/steps/0"), found.code))
            .collect();
        assert_eq!(found.iter().map(|found| found.trim()).collect::<Vec<_>>(), [mistake.trim()], "{step}");
    }
    assert!(rows.len() >= 10, "{}", rows.len());
}

#[test]
fn the_page_has_every_key_and_every_filter() {
    let page = page();
    for key in KEYS {
        let documented = page.lines().any(|line| {
            line.strip_prefix("| ")
                .and_then(|line| line.split(" | ").next())
                .is_some_and(|cell| cell.contains(&format!("`{key}`")))
        });
        assert!(documented, "{key} has no row");
    }
    let templates: String = rows(&page, "| template | gives |").into_iter().map(|(template, _)| template).collect();
    for filter in FILTERS {
        assert!(templates.contains(&format!("| {filter}")), "{filter} has no row");
    }
}
