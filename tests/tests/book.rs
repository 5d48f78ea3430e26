//! The documents as a book: its summary names all of them, its links and places are there, and what stands in its blocks is so.
//!
//! The site itself is built by `cargo xtask book`, which is not run here: its builder is compiled first. Blocks that are commands to be run, the
//! README's and those of backups, are run by `readme.rs`; the steps of `docs/AUTOMATION.md` by the tests of that plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sortie_tests::{Node, Options, automation, binary, project};

/// Documents that are read in their folder and nowhere else.
const NOT_OF_THE_BOOK: [&str; 3] =
    ["examples/control-plane/README.md", "runtime/sandbox/tests/fixtures/README.md", "runtime/sandbox/wasi/README.md"];

const SUMMARY: &str = "docs/SUMMARY.md";

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of the project.
fn documents() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![project().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_foreign = name.starts_with('.') || ["target", "node_modules", "corpus"].contains(&name.as_str());
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.insert(path.strip_prefix(project()).expect("within").display().to_string());
            }
        }
    }
    found
}

/// Those of the book.
fn chapters() -> BTreeSet<String> {
    let mut chapters = documents();
    // Projects that are written for authors have documents of their own.
    let of_a_project = |path: &str| path.starts_with("plugins/templates/");
    chapters.retain(|path| path != SUMMARY && !NOT_OF_THE_BOOK.contains(&path.as_str()) && !of_a_project(path));
    chapters
}

/// Where a link leads to that stands in this document, as a path of the project.
fn target(document: &str, link: &str) -> String {
    let mut path = PathBuf::from(document);
    path.pop();
    for part in link.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            assert!(path.pop(), "{document}: {link} leads out of the project");
        } else {
            path.push(part);
        }
    }
    path.display().to_string()
}

/// The links of a document within the project: file (none: itself) and place.
fn links(text: &str) -> Vec<(&str, &str)> {
    let prose = text.split("```").step_by(2).collect::<Vec<_>>();
    let targets = prose.iter().flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    let own = targets.filter(|target| !target.contains("://"));
    own.map(|target| target.split_once('#').unwrap_or((target, ""))).collect()
}

/// The places of a document, as both the site and the forge name them after its headings.
fn places(text: &str) -> BTreeSet<String> {
    let mut places = BTreeMap::<String, usize>::new();
    let mut all = BTreeSet::new();
    let prose = text.split("\n```").step_by(2);
    for heading in prose.flat_map(str::lines).filter(|line| line.starts_with('#')) {
        let name = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = places.entry(name.clone()).or_default();
        all.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    all
}

/// The blocks of a document: what follows the fence, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let text = read(document);
    let fenced = text.split("```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap_or((block, "")))
        .map(|(kind, body)| (kind.trim().to_owned(), body.to_owned()))
        .collect()
}

#[test]
fn the_summary_names_every_document_and_nothing_else() {
    let summary = read(SUMMARY);
    let named: Vec<String> = links(&summary).iter().map(|(file, _)| target(SUMMARY, file)).collect();
    let once: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(once.len(), named.len(), "each once: {named:?}");
    assert_eq!(once, chapters(), "a line in {SUMMARY} for each document, or a row in NOT_OF_THE_BOOK");
}

#[test]
fn every_link_leads_to_a_file_and_to_a_place_in_it() {
    let mut with_place = 0;
    for document in documents() {
        let text = read(&document);
        for (file, place) in links(&text) {
            let there = if file.is_empty() { document.clone() } else { target(&document, file) };
            assert!(project().join(&there).is_file(), "{document}: {file} is no file, and a site has no folders");
            if !place.is_empty() {
                with_place += 1;
                let places = places(&read(&there));
                assert!(places.contains(place), "{document}: there is no `#{place}` in {there}, but {places:?}");
            }
        }
    }
    assert!(with_place > 20, "{with_place}");
}

/// The words of a command as a shell would split them, up to what the shell does with it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | '&' | ';' | ')') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether the command line takes this: asked for help behind it, it reads all of it and does nothing.
fn is_taken(words: &[String]) -> Result<(), String> {
    let mut command = Command::new(binary());
    let helped = command.args(words.iter().skip(1)).arg("--help").output().expect("the binary starts");
    if helped.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&helped.stderr).into_owned()) }
}

#[test]
fn every_command_line_of_the_documents_is_one_that_is_taken() {
    let mut tried = 0;
    for document in chapters() {
        for line in blocks(&document).iter().flat_map(|(_, body)| body.lines()) {
            let line = line.trim_start().trim_start_matches("$ ");
            // `[--option value]` may be there, `one|other` is one of them.
            let plain: String = line.split(['[', ']']).collect();
            let words = words(&plain.replace("tool|mission", "tool"));
            if words.first().is_some_and(|word| word == "sortie") && words.len() > 1 {
                tried += 1;
                if let Err(why) = is_taken(&words) {
                    panic!("{document}: {line}\n{why}");
                }
            }
        }
    }
    assert!(tried > 40, "{tried}");
    // What is not taken is told from what is.
    for line in ["sortie shwo m", "sortie show m --ful", "sortie ls --limit many", "sortie approve m r1 --for ever"] {
        assert!(is_taken(&words(line)).is_err(), "{line}");
    }
}

/// The names of the environment that a configuration refers to.
fn references(config: &str) -> impl Iterator<Item = String> {
    config
        .split("env://")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_piece_of_configuration_is_one_that_a_node_starts_with() {
    let mut started = 0;
    for document in chapters() {
        for (kind, body) in blocks(&document) {
            if kind != "toml" {
                continue;
            }
            let table: toml::Table = body.parse().unwrap_or_else(|error| panic!("{document}: {error}\n{body}"));
            if table.contains_key("expect") {
                // A case of a plugin: `authoring.rs` runs it.
                continue;
            }
            if table.get("node").is_some_and(|node| node.get("store").is_some()) {
                // It wants a database: `store` starts one.
                continue;
            }
            let options = references(&body).fold(Options::new(), |options, name| options.env(&name, "secret"));
            options.config(&body).start().await;
            started += 1;
        }
    }
    assert!(started >= 5, "{started}");
}

/// A block of JSON, by what it is.
enum Kind {
    /// Steps of an automation.
    Steps,
    /// An envelope, or as much of one as matters.
    Envelope,
    /// What a model answers.
    Answer,
    /// What a model says whom a script plays.
    Script,
    /// As much of an event as matters: of a mission whose child asks.
    Event,
}

impl Kind {
    fn of(block: &Value) -> Option<Self> {
        let has = |key: &str| block.get(key).is_some();
        match block {
            Value::Array(_) => Some(Self::Steps),
            _ if has("mission_type") => Some(Self::Envelope),
            _ if has("stop_reason") => Some(Self::Answer),
            _ if has("answers") => Some(Self::Script),
            _ if has("event_type") => Some(Self::Event),
            _ => None,
        }
    }
}

/// The event by which a mission tells that its child asks people.
async fn asked_below(node: &Node, id: &str) -> Value {
    let asks = json!({ "steps": [{ "id": "q", "tool": "ask", "with": { "question": "Which one?" } }] });
    let child = json!({ "objective": "Ask.", "mission_type": "automation", "inputs": asks });
    node.accept(&automation(id, &json!([{ "id": "c", "mission": child }]))).await;
    node.until_status(id, "blocked").await;
    let events = node.events(id).await;
    events.into_iter().find(|event| event["event_type"] == "mission.blocked").expect("it is told")
}

/// Where a piece of a document has something that the real one has not.
fn unknown(piece: &Value, real: &Value, place: &str) -> Vec<String> {
    let Some(fields) = piece.as_object() else { return Vec::new() };
    let beyond = fields.iter().flat_map(|(key, value)| match real.get(key) {
        None => vec![format!("{place}/{key}")],
        Some(real) => unknown(value, real, &format!("{place}/{key}")),
    });
    beyond.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_piece_of_json_is_taken_for_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script.json");
    let told = fs::write(&script, json!({"answers": [{"text": "…"}]}).to_string());
    told.expect("writable");
    let config = |script: &Path| {
        let file = script.display().to_string();
        format!(
            "[model]\ndefault = \"deep\"\n[model.deep]\nprotocol = \"scripted\"\nfile = {file:?}\nfree = true\n[tool.Bash]\nenabled = true\n"
        )
    };
    let node = Options::new().config(&config(&script)).start().await;
    let mut taken = 0;
    for document in chapters() {
        for (no, (kind, body)) in blocks(&document).into_iter().enumerate() {
            // Those of one are run, and their outcome is compared, by `plugins/automation/src/tests/reference.rs`; that of the other is held
            // against what is sent by `runtime/notify/src/shape.rs`.
            if kind != "json" || ["docs/AUTOMATION.md", "docs/NOTIFICATIONS.md"].contains(&document.as_str()) {
                continue;
            }
            let block: Value =
                serde_json::from_str(&body).unwrap_or_else(|error| panic!("{document}: {error}\n{body}"));
            let id = format!("block-{no}-of-{}", document.replace('/', "-"));
            let dispatch = async |envelope: Value| {
                let answer = node.dispatch(&envelope).await;
                assert_eq!(answer.status, 202, "{document}: {body}\n{answer:#?}");
            };
            match Kind::of(&block).unwrap_or_else(|| panic!("{document}: nobody knows what this is: {body}")) {
                Kind::Steps => {
                    let mut envelope = automation(&id, &block);
                    envelope["constraints"] = json!({"allowed_tools": ["*"]});
                    dispatch(envelope).await;
                }
                Kind::Envelope => {
                    let mut envelope = automation(&id, &json!([]));
                    let fields = block.as_object().expect("an envelope is an object");
                    envelope.as_object_mut().expect("an object").extend(fields.clone());
                    dispatch(envelope).await;
                }
                Kind::Answer => {
                    let schema = node.get("/schemas/model-answer.json").await.expect_status(200).json;
                    let validator = jsonschema::validator_for(&schema).expect("a schema");
                    let errors: Vec<String> = validator.iter_errors(&block).map(|error| error.to_string()).collect();
                    assert!(errors.is_empty(), "{document}: {errors:#?}\n{body}");
                }
                Kind::Event => {
                    let real = asked_below(&node, &id).await;
                    assert_eq!(unknown(&block, &real, ""), Vec::<String>::new(), "{document}: {real:#}");
                    assert_eq!(
                        (&block["status"], &block["detail"]["kind"]),
                        (&real["status"], &real["detail"]["kind"])
                    );
                }
                Kind::Script => {
                    let script = folder.path().join(format!("{id}.json"));
                    fs::write(&script, &body).expect("writable");
                    Options::new().config(&config(&script)).start().await;
                }
            }
            taken += 1;
        }
    }
    assert!(taken >= 6, "{taken}");
}
