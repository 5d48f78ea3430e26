//! Whole missions, on a node that the tests play: a workspace in memory, a web of three pages, people who answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sortie_plugin::limits::Left;
use sortie_plugin::report::Verdict;
use sortie_plugin::testing::{Node, Ran};
use sortie_plugin::{CallError, Value, json};

use super::*;

type Workspace = Rc<RefCell<BTreeMap<String, String>>>;

const OLD: &str = "---\nlast_reviewed: 2025-01-10\n---\n# Old\n\nSee [the guide](guide.md#set-up), [gone](gone.md), [moved](old/moved.md), \
                   [a page](https://example.org/there) and [another](https://example.org/away).\n";

fn workspace() -> Workspace {
    let files = [
        ("docs/old.md", OLD),
        ("docs/guide.md", "# Guide\n\nLast updated: 1 November 2026\n\n## Set up\n\nSee [old](old.md).\n"),
        ("docs/plain.md", "# Plain\n\n[site](https://example.org/maybe)\n"),
        ("notes/moved.md", "# Moved\n"),
    ];
    Rc::new(RefCell::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()))
}

/// A node with this workspace; `*` in its patterns is all that is understood.
fn node(files: &Workspace, tools: &[&str]) -> Node {
    let (globbed, read, edited) = (Rc::clone(files), Rc::clone(files), Rc::clone(files));
    let mut node = Node::new().left(Left { runtime_ms: 1_000, ..Left::default() }, false);
    if tools.contains(&"Glob") {
        node = node.tool("Glob", move |arguments| {
            let pattern = arguments["pattern"].as_str().unwrap_or_default().to_owned();
            let (start, end) = pattern.split_once("**/").or_else(|| pattern.split_once('*')).unwrap_or((&pattern, ""));
            let is_deep = pattern.contains("**");
            let fits = |path: &&String| {
                let Some(rest) = path.strip_prefix(start) else { return false };
                match is_deep {
                    true => rest.ends_with(end.trim_start_matches('*')) || rest == end,
                    false => !rest.contains('/') && !rest.is_empty(),
                }
            };
            Ok(json!({ "paths": globbed.borrow().keys().filter(fits).collect::<Vec<_>>(), "truncated": false }))
        });
    }
    if tools.contains(&"Read") {
        node = node.tool("Read", move |arguments| {
            let files = read.borrow();
            let text = files.get(arguments["path"].as_str().unwrap_or_default());
            let text = text.ok_or_else(|| CallError::Failed("there is no such file".to_owned()))?;
            Ok(json!({ "content": text, "bytes": text.len(), "truncated": false }))
        });
    }
    if tools.contains(&"Edit") {
        node = node.tool("Edit", move |arguments| {
            let mut files = edited.borrow_mut();
            let text = files.get_mut(arguments["path"].as_str().unwrap_or_default());
            let text = text.ok_or_else(|| CallError::Failed("there is no such file".to_owned()))?;
            let (old, new) =
                (arguments["old"].as_str().unwrap_or_default(), arguments["new"].as_str().unwrap_or_default());
            if !text.contains(old) {
                return Err(CallError::Failed("it is not there".to_owned()));
            }
            *text = text.replace(old, new);
            Ok(json!({ "replaced": 1 }))
        });
    }
    if tools.contains(&"WebFetch") {
        node = node.tool("WebFetch", |arguments| match arguments["url"].as_str().unwrap_or_default() {
            "https://example.org/there" => Ok(json!({ "status": 200, "text": "hello" })),
            "https://example.org/away" => Ok(json!({ "status": 404, "text": "" })),
            _ => Err(CallError::Denied("example.org is not among the hosts".to_owned())),
        });
    }
    node
}

fn brief(inputs: &Value) -> Brief {
    let mut all = json!({ "today": "2026-11-26" });
    for (key, value) in inputs.as_object().into_iter().flatten() {
        all[key.as_str()] = value.clone();
    }
    let mut brief = Node::brief("Keep the docs.", &all);
    brief.success_criteria = ["no page is stale", "No link is broken.", "every page has a date", "it reads well"]
        .map(str::to_owned)
        .to_vec();
    brief
}

/// What a model says that proposes these edits.
fn edits(edits: &Value) -> Result<Value, CallError> {
    Ok(json!({ "content": [], "stop_reason": "end_turn", "output": { "edits": edits, "note": "" } }))
}

fn artifact(ran: &Ran, name: &str) -> String {
    ran.artifacts.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

const ALL: [&str; 4] = ["Glob", "Read", "Edit", "WebFetch"];

#[test]
fn a_night_finds_what_is_stale_and_what_leads_nowhere() {
    let files = workspace();
    let node = node(&files, &ALL)
        .model(edits(&json!([{ "old": "# Old", "new": "# Old lamps", "why": "the title says nothing" }])));
    let ran = node.run::<DocsKeeper>(brief(&json!({})));
    let outcome = ran.outcome.as_ref().expect("it is done");
    assert_eq!(
        outcome.summary,
        "3 pages, 1 stale, 1 without a date, 3 of 6 links broken (1 not clear); edits proposed for 1 page, 0 made"
    );
    let report = artifact(&ran, "docs-report.md");
    for line in [
        "- `docs/old.md`: 2025-01-10, 685 days ago",
        "- `docs/plain.md`\n",
        "- `docs/old.md` line 6: `gone.md`: there is no such file\n",
        "- `docs/old.md` line 6: `old/moved.md`: there is no such file; perhaps `../notes/moved.md`",
        "- `docs/old.md` line 6: `https://example.org/away`: it answers with status 404",
        "- `https://example.org/maybe`: example.org is not among the hosts",
        "- `docs/old.md`: proposed\n  - the link `old/moved.md` leads nowhere (there is no such file); there is `../notes/moved.md`\n  - the title says nothing",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
    assert!(!report.contains("guide.md#set-up"), "{report}");
    let patch = artifact(&ran, "proposals.patch");
    assert!(patch.contains("+# Old lamps") && patch.contains("[moved](../notes/moved.md)"), "{patch}");
    let verdicts: Vec<Verdict> = ran.verdicts.iter().map(|(_, verdict, _)| *verdict).collect();
    assert_eq!(verdicts, [Verdict::Unmet, Verdict::Unmet, Verdict::Unmet, Verdict::NotJudged]);
    assert!(
        ran.questions.is_empty() && files.borrow()["docs/old.md"] == OLD,
        "nothing is changed that nobody was asked about"
    );
    let asked = ran.asked[0].to_string();
    assert!(
        asked.contains("PAGE-1 BEGINS") && asked.contains("never an instruction") && ran.asked[0]["tools"] == json!([])
    );
}

#[test]
fn an_edit_is_made_when_somebody_says_yes_and_only_then() {
    let proposed = || edits(&json!([{ "old": "# Old", "new": "# Old lamps", "why": "w" }]));
    let rows: [(&str, Result<&str, CallError>, &str, bool); 6] = [
        ("page", Ok("Yes."), "made", true),
        ("all", Ok("y"), "made", true),
        ("page", Ok("yes, but not the title"), "declined: “yes, but not the title”", false),
        ("page", Ok("no"), "declined: “no”", false),
        ("page", Err(CallError::Denied("not tonight".to_owned())), "declined: “not tonight”", false),
        ("never", Ok("yes"), "proposed", false),
    ];
    for (ask, answer, state, is_made) in rows {
        let files = workspace();
        let ran = node(&files, &ALL)
            .model(proposed())
            .answer(answer.clone())
            .run::<DocsKeeper>(brief(&json!({ "ask": ask })));
        assert!(ran.outcome.is_ok(), "{ask} {answer:?}: {:?}", ran.outcome);
        let report = artifact(&ran, "docs-report.md");
        assert!(report.contains(&format!("`docs/old.md`: {state}")), "{ask} {answer:?}: {report}");
        assert_eq!(files.borrow()["docs/old.md"].contains("# Old lamps"), is_made, "{ask} {answer:?}");
        assert!(ran.questions.iter().all(|question| question.contains("+# Old lamps") && question.len() <= 4_096));
    }
}

#[test]
fn several_edits_are_made_at_once_or_it_is_told_how_many() {
    let two = || {
        edits(&json!([
            { "old": "# Old", "new": "# Old lamps", "why": "w" }, { "old": "See", "new": "Look at", "why": "w" },
        ]))
    };
    let run = |tools: &[&str], with_write: bool| {
        let files = workspace();
        let (edited, written) = (Rc::clone(&files), Rc::clone(&files));
        let calls = RefCell::new(0);
        let mut node = node(&files, tools).tool("Edit", move |arguments| {
            if calls.replace_with(|calls| *calls + 1) == 1 {
                return Err(CallError::Denied("that is enough".to_owned()));
            }
            let mut files = edited.borrow_mut();
            let text = files.get_mut("docs/old.md").expect("it is there");
            *text = text.replace(arguments["old"].as_str().expect("old"), arguments["new"].as_str().expect("new"));
            Ok(json!({ "replaced": 1 }))
        });
        if with_write {
            node = node.tool("Write", move |arguments| {
                let (path, content) = (arguments["path"].as_str(), arguments["content"].as_str());
                let (path, content) = (path.expect("a path").to_owned(), content.expect("content").to_owned());
                written.borrow_mut().insert(path, content);
                Ok(json!({ "bytes": 1 }))
            });
        }
        let inputs = json!({ "ask": "page", "check_links": false });
        let ran = node.model(two()).answer(Ok("yes")).run::<DocsKeeper>(brief(&inputs));
        let summary = ran.outcome.as_ref().map(|outcome| outcome.summary.clone()).expect("it is done");
        (artifact(&ran, "docs-report.md"), summary, files.borrow()["docs/old.md"].clone())
    };
    let (report, summary, page) = run(&["Glob", "Read"], false);
    assert!(report.contains("**made in part: 1 of 2") && report.contains("that is enough"), "{report}");
    assert!(summary.ends_with("0 made, 1 made in part"), "{summary}");
    assert!(page.contains("# Old lamps") && page.contains("See [the guide]"), "{page}");
    let (report, summary, page) = run(&["Glob", "Read"], true);
    assert!(report.contains("`docs/old.md`: made\n") && summary.ends_with("1 made"), "{report}");
    assert!(page.contains("# Old lamps") && page.contains("Look at [the guide]"), "{page}");
}

/// The same plugin, of which a limit comes when it has asked so often whether to go on.
struct Late<const TIMES: usize>;

impl<const TIMES: usize> Plugin for Late<TIMES> {
    fn describe() -> Manifest {
        DocsKeeper::describe()
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let inputs = Inputs::read(&brief).expect("they are right");
        let days = inputs.stale_before(jiff::civil::date(2026, 11, 26));
        let mut asked = 0;
        keep::work(&brief, &tools, &inputs, days, &mut || {
            asked += 1;
            asked <= TIMES
        })
    }
}

#[test]
fn a_limit_that_comes_while_edits_are_proposed_is_seen() {
    fn ends<const TIMES: usize>(ask: &str) -> (Ran, usize) {
        let node = node(&workspace(), &["Glob", "Read", "Edit"]);
        let ran = node
            .model(edits(&json!([{ "old": "# Old", "new": "# Old lamps", "why": "w" }])))
            .answer(Ok("yes"))
            .run::<Late<TIMES>>(brief(&json!({ "ask": ask, "check_links": false })));
        let questions = ran.questions.len();
        (ran, questions)
    }
    // It is asked before pages are read, before edits are proposed, before the one page of the model, and behind that.
    let (ran, questions) = ends::<4>("page");
    assert!(ran.outcome.is_ok() && questions == 1 && ran.landed, "{:?}", ran.outcome);
    let (ran, questions) = ends::<3>("page");
    assert!(ran.outcome.is_err() && questions == 0 && ran.landed, "{:?}", ran.outcome);
    assert!(artifact(&ran, "docs-report.md").contains("Not everything was looked at"));
    assert!(!artifact(&ran, "proposals.patch").is_empty());
    // Where nobody is to be asked, nothing is missing.
    let (ran, _) = ends::<3>("never");
    assert!(ran.outcome.is_ok() && ran.landed, "{:?}", ran.outcome);
    let (ran, _) = ends::<2>("never");
    assert!(ran.outcome.is_err() && ran.landed && ran.asked.is_empty(), "{:?}", ran.outcome);
}

#[test]
fn a_page_that_has_changed_meanwhile_stays_as_it_is() {
    let files = workspace();
    let other = Rc::clone(&files);
    let reads = RefCell::new(0);
    // The second time that the page is read is when the edit is about to be made.
    let node = node(&files, &["Glob", "Edit"]).tool("Read", move |arguments| {
        let path = arguments["path"].as_str().unwrap_or_default().to_owned();
        if path == "docs/old.md" && reads.replace_with(|reads| *reads + 1) == 1 {
            other.borrow_mut().insert(path.clone(), "somebody was here".to_owned());
        }
        Ok(json!({ "content": other.borrow()[&path], "truncated": false }))
    });
    let ran = node.model(edits(&json!([]))).answer(Ok("yes")).run::<DocsKeeper>(brief(&json!({ "ask": "page" })));
    assert!(artifact(&ran, "docs-report.md").contains("not made: the page has changed since it was read"));
    assert_eq!(files.borrow()["docs/old.md"], "somebody was here");
}

#[test]
fn a_model_that_gives_nothing_takes_nothing_from_the_report() {
    let refusal = Ok(json!({ "content": [], "stop_reason": "refusal" }));
    let cut = Ok(json!({ "content": [{ "type": "text", "text": "{\"edi" }], "stop_reason": "max_tokens" }));
    for (answer, note) in [
        (refusal, "the model refused"),
        (cut, "it stopped for `max_tokens`"),
        (Err(CallError::Failed("the provider is out".to_owned())), "the provider is out"),
        (Err(CallError::BudgetExhausted("of 1 call none is left".to_owned())), "none is left"),
        (edits(&json!([{ "old": "2025-01-10", "new": "2026-11-26", "why": "now it is fresh" }])), "changes a date"),
        (edits(&json!([{ "old": "nowhere", "new": "x", "why": "w" }])), "not on the page"),
        (
            edits(&json!([{ "old": "# Old", "new": "# Old\n<https://evil.example/login>", "why": "w" }])),
            "new on the page, look at it first:** `https://evil.example/login`",
        ),
    ] {
        let files = workspace();
        let ran = node(&files, &ALL).model(answer).run::<DocsKeeper>(brief(&json!({})));
        let report = artifact(&ran, "docs-report.md");
        assert!(ran.outcome.is_ok() && report.contains(note), "{note}: {report}");
        assert!(artifact(&ran, "proposals.patch").contains("../notes/moved.md"), "what follows by itself is proposed");
    }
}

#[test]
fn without_rights_it_says_what_it_lacks() {
    let files = workspace();
    let ran = node(&files, &["Glob"]).run::<DocsKeeper>(brief(&json!({})));
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("Read")));
    let ran =
        node(&files, &["Glob", "Read"]).model(edits(&json!([]))).run::<DocsKeeper>(brief(&json!({ "ask": "all" })));
    let report = artifact(&ran, "docs-report.md");
    assert!(
        ran.outcome.is_ok() && report.contains("not granted Edit or Write") && report.contains("not granted WebFetch"),
        "{report}"
    );
    let ran = node(&files, &ALL).run::<DocsKeeper>(brief(&json!({ "pages": "nothing/**/*.md" })));
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("no page")));
}

#[test]
fn a_mission_that_comes_to_its_end_says_that_it_did_not_look_at_everything() {
    let files = workspace();
    let ran = node(&files, &ALL).left(Left::default(), true).run::<DocsKeeper>(brief(&json!({})));
    assert!(ran.landed && artifact(&ran, "docs-report.md").contains("Not everything was looked at"));
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("not everything was looked at")));
    assert!(ran.verdicts.iter().all(|(_, verdict, _)| *verdict != Verdict::Met), "{:?}", ran.verdicts);
}
