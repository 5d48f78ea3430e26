//! Drafts, and what of them stands.

use jiff::Timestamp;

use super::*;
use crate::address::Origin;
use crate::source::Unreached;
use crate::source::tests::source;

fn sources() -> Sources {
    Sources {
        fetched: vec![
            source("https://example.org/lamps", "# Lamps\n\nA lamp burns for **nine** hours. It is filled at dusk."),
            source(
                "https://example.org/lists",
                "# Lists \\<b>\n\nNobody compares the two lists before the morning comes.",
            ),
        ],
        unreached: vec![Unreached {
            url: "https://example.org/gone".to_owned(),
            origin: Origin::Search("lamps".to_owned()),
            why: "it answered with status 404".to_owned(),
        }],
    }
}

fn claim(text: &str, sources: &[i64], quotes: &[(i64, &str)]) -> Claim {
    let quotes = quotes.iter().map(|(source, text)| Quote { source: *source, text: (*text).to_owned() }).collect();
    Claim { text: text.to_owned(), sources: sources.to_vec(), quotes }
}

/// The figures and the line of a report that has this one claim.
fn checked(claim: Claim) -> (Check, String) {
    let draft = Draft { title: "T".to_owned(), summary: vec![claim], ..Draft::default() };
    let report = Report::check(&draft, &sources(), "");
    let page = report.markdown(&About { objective: "o", notes: &[] }, &sources());
    let from = page.find("## Summary").map_or("", |at| &page[at + 12..]);
    (report.check, from.split("\n## ").next().unwrap_or_default().trim().to_owned())
}

#[test]
fn each_claim_stands_as_its_sources_let_it() {
    const CITATION: &str = "*(a citation of something that was not fetched or not read is left out here)*";
    const QUOTATION: &str = "*(a quotation that its source does not have is left out here)*";
    // claims, without source, citations removed, quotations, quotations removed, sources cited
    let rows = [
        (claim("Lamps burn long.", &[1], &[]), [1, 0, 0, 0, 0, 1], "- Lamps burn long. [1]".to_owned()),
        (
            claim("Lamps burn long [1], lists wait [2].", &[1], &[]),
            [1, 0, 0, 0, 0, 2],
            "- Lamps burn long [1], lists wait [2].".to_owned(),
        ),
        (claim("Lamps burn long.", &[], &[]), [1, 1, 0, 0, 0, 0], "- Lamps burn long. *(no source)*".to_owned()),
        (
            claim("Lamps burn long.", &[9], &[]),
            [1, 1, 1, 0, 0, 0],
            format!("- Lamps burn long. {CITATION} *(no source)*"),
        ),
        (claim("Lamps burn long.", &[1, -3, 0], &[]), [1, 0, 2, 0, 0, 1], format!("- Lamps burn long. [1] {CITATION}")),
        (claim("See https://evil.example/?q=1.", &[1], &[]), [1, 0, 1, 0, 0, 1], format!("- See. [1] {CITATION}")),
        (
            claim("Lamps burn long.", &[], &[(1, "burns for nine hours […] filled at dusk")]),
            [1, 0, 0, 1, 0, 1],
            "- Lamps burn long. [1]\n\n  > “burns for nine hours \\[…\\] filled at dusk” [1]".to_owned(),
        ),
        (
            claim("Lamps burn long.", &[1], &[(1, "burns for ten hours")]),
            [1, 0, 0, 0, 1, 1],
            format!("- Lamps burn long. [1] {QUOTATION}"),
        ),
        (
            claim("Lamps burn long.", &[1], &[(2, "burns for nine hours")]),
            [1, 0, 0, 0, 1, 1],
            format!("- Lamps burn long. [1] {QUOTATION}"),
        ),
        (
            claim("Lamps burn long.", &[1], &[(7, "burns for nine hours")]),
            [1, 0, 1, 0, 0, 1],
            format!("- Lamps burn long. [1] {CITATION}"),
        ),
        (
            claim("It says “a lamp burns for nine hours”.", &[1], &[]),
            [1, 0, 0, 0, 1, 1],
            format!("- It says a lamp burns for nine hours. [1] {QUOTATION}"),
        ),
        (
            claim("It says “A lamp burns for nine hours”.", &[1], &[]),
            [1, 0, 0, 1, 0, 1],
            "- It says “A lamp burns for nine hours”. [1]".to_owned(),
        ),
        (
            claim("It says ‘a lamp burns for ten hours’.", &[1], &[]),
            [1, 0, 0, 0, 1, 1],
            format!("- It says a lamp burns for ten hours. [1] {QUOTATION}"),
        ),
        (
            claim("It says ‘we don’t know how long a lamp burns’.", &[1], &[]),
            [1, 0, 0, 0, 1, 1],
            format!("- It says we don’t know how long a lamp burns. [1] {QUOTATION}"),
        ),
        (
            claim("It says 'a lamp burns for ten hours'.", &[1], &[]),
            [1, 0, 0, 0, 1, 1],
            format!("- It says a lamp burns for ten hours. [1] {QUOTATION}"),
        ),
        (
            claim("It says »a lamp burns for ten hours«, »A lamp burns for nine hours«.", &[1], &[]),
            [1, 0, 0, 1, 1, 1],
            format!("- It says a lamp burns for ten hours, “A lamp burns for nine hours”. [1] {QUOTATION}"),
        ),
        (
            claim("It says ‹a lamp burns for ten hours› and „a lamp burns for two hours“.", &[1], &[]),
            [1, 0, 0, 0, 2, 1],
            format!("- It says a lamp burns for ten hours and a lamp burns for two hours. [1] {QUOTATION}"),
        ),
        (
            claim("The lamps' keeper doesn't, and the lists' keeper won't, wait for it.", &[1], &[]),
            [1, 0, 0, 0, 0, 1],
            "- The lamps' keeper doesn't, and the lists' keeper won't, wait for it. [1]".to_owned(),
        ),
        (
            claim("It says “1911. A lamp burns for nine hours”.", &[1], &[]),
            [1, 0, 0, 1, 0, 1],
            "- It says “A lamp burns for nine hours”. [1]".to_owned(),
        ),
        (
            claim("Lamps burn long.", &[], &[(1, "A lamp <!-- never --> burns for [nine](/x \"or ten\") hours")]),
            [1, 0, 0, 1, 0, 1],
            "- Lamps burn long. [1]\n\n  > “A lamp burns for nine hours” [1]".to_owned(),
        ),
        (
            claim("A so-called \"long night\".", &[1], &[]),
            [1, 0, 0, 0, 0, 1],
            "- A so-called \"long night\". [1]".to_owned(),
        ),
        (claim("  ", &[1], &[]), [0, 0, 0, 0, 0, 0], String::new()),
    ];
    for (claim, figures, line) in rows {
        let said = claim.text.clone();
        let (check, found) = checked(claim);
        let Check { claims, without_source, citations_removed, quotations, quotations_removed, sources_cited } = check;
        let found_figures = [claims, without_source, citations_removed, quotations, quotations_removed, sources_cited];
        assert_eq!((found_figures, found.as_str()), (figures, line.as_str()), "{said}");
    }
}

#[test]
fn the_page_tells_its_sources_what_was_not_reached_and_what_was_checked() {
    let draft = Draft {
        title: "The [night](https://evil.example)".to_owned(),
        summary: vec![claim("Lamps burn long.", &[1], &[])],
        sections: vec![
            Section { heading: "Lists".to_owned(), claims: vec![claim("Nobody compares.", &[], &[])] },
            Section { heading: "Empty".to_owned(), claims: Vec::new() },
        ],
        open: vec!["Who fills it?".to_owned()],
        criteria: Vec::new(),
    };
    let mut sources = sources();
    sources.fetched[1].fetched_at = Timestamp::from_second(1_764_000_000).expect("a time");
    let report = Report::check(&draft, &sources, "");
    let page =
        report.markdown(&About { objective: "What happens?", notes: &["It was cut short.".to_owned()] }, &sources);
    let zeros = "0".repeat(64);
    let expected = format!(
        "# The night *(a citation of something that was not fetched or not read is left out here)*\n\nWhat happens?\n\n**It was cut short.**\n\n## Summary\n\n- Lamps burn long. [1]\n\n## Lists\n\n- Nobody compares. *(no source)*\n\
         \n## Not answered\n\n- Who fills it?\n\n## Sources\n\n1. Lamps, <https://example.org/lamps>, fetched 1970-01-01T00:00:00Z, SHA-256 `{zeros}`, given\n\
         2. Lists &lt;b>, <https://example.org/lists>, fetched 2025-11-24T16:00:00Z, SHA-256 `{zeros}`, given; not cited\n\
         \n## Not reached\n\n- `https://example.org/gone` (found by a search for “lamps”): it answered with status 404\n\
         \n## Checked\n\nBy the plugin, not by the model: 2 claims, 1 without a source; 1 source cited; 0 quotations found in their sources; 1 citation of what was not fetched or not read taken out.\n\
         \n[1]: <https://example.org/lamps>\n[2]: <https://example.org/lists>\n"
    );
    assert_eq!(page, expected);
    let json = report.sources_json(&sources);
    assert_eq!(json["sources"][0]["used_for"], json!(["Lamps burn long."]));
    assert_eq!(json["sources"][1]["used_for"], json!([]));
    assert_eq!(json["not_reached"][0]["from"], json!({ "search": "lamps" }));
    assert_eq!((&json["checked"]["claims"], &json["checked"]["sound"]), (&json!(2), &json!(false)));
}

#[test]
fn what_is_no_claim_stands_as_its_sources_let_it_too() {
    let draft = Draft {
        title: "“The lamps will never burn again”".to_owned(),
        sections: vec![Section {
            heading: "See https://evil.example/".to_owned(),
            claims: vec![claim("Lamps burn long.", &[1], &[])],
        }],
        open: ["The ministry says “we will never publish this” [1]", "How long is “nine hours” [9]?", "Why? [2]"]
            .map(str::to_owned)
            .to_vec(),
        ..Draft::default()
    };
    let report = Report::check(&draft, &sources(), "");
    let page = report.markdown(&About { objective: "o", notes: &[] }, &sources());
    let (citation, quotation) = (
        "*(a citation of something that was not fetched or not read is left out here)*",
        "*(a quotation that its source does not have is left out here)*",
    );
    for line in [
        format!("# The lamps will never burn again {quotation}\n"),
        format!("## See {citation}\n"),
        format!("- The ministry says we will never publish this [1] {quotation}\n"),
        format!("- How long is “nine hours”? {citation}\n"),
        "- Why? [2]\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
    assert_eq!(
        (report.check.citations_removed, report.check.quotations_removed, report.check.sources_cited),
        (2, 2, 2)
    );
    assert!(!report.check.is_sound() && report.faults.len() == 4, "{:?}", report.faults);
}

#[test]
fn what_was_asked_may_be_repeated() {
    let asked = "Who says “the lamps will never burn again”, and where is https://example.org/burnt?";
    let claims = vec![claim("It is said: “the lamps will never burn again”.", &[1], &[])];
    let draft =
        Draft {
            title: "Who says ‘the lamps will never burn again’?".to_owned(), summary: claims, ..Draft::default()
        };
    let report = Report::check(&draft, &sources(), asked);
    assert_eq!(report.title, draft.title);
    assert_eq!(report.check.quotations_removed, 1, "a claim is none of the question");
    let section = |claims| Section { heading: asked.to_owned(), claims };
    let notes = [section(vec![claim("Lamps burn long.", &[1], &[])]), section(Vec::new())];
    let report = Report::of_notes(&notes, &sources());
    assert!(report.check.is_sound(), "{:?}", report.faults);
    let heading = "Who says “the lamps will never burn again”, and where is `https://example.org/burnt?`";
    assert_eq!((report.sections[0].0.as_str(), report.open), (heading, vec![heading.to_owned()]));
}

#[test]
fn what_nobody_read_is_not_cited() {
    let mut sources = sources();
    sources.fetched[1].is_noted = false;
    let cite = |claim: Claim| {
        let draft = Draft { summary: vec![claim], ..Draft::default() };
        let Report { check, faults, .. } = Report::check(&draft, &sources, "");
        (check.sources_cited, check.citations_removed, faults.join("; "))
    };
    for claim in [
        claim("Nobody compares.", &[2], &[]),
        claim("Nobody compares. [2]", &[], &[]),
        claim("See https://example.org/lists", &[], &[]),
    ] {
        let (cited, removed, faults) = cite(claim);
        assert!(
            cited == 0 && removed == 1 && faults.contains("of which there are no notes"),
            "{cited} {removed} {faults}"
        );
    }
    let quoted = claim("Nobody compares. [2]", &[2], &[(2, "Nobody compares the two lists")]);
    assert_eq!(cite(quoted), (1, 0, String::new()));
}

#[test]
fn what_a_model_should_mend_is_told_in_sentences() {
    let draft = Draft { summary: vec![claim("Lamps.", &[4], &[(1, "ten hours")])], ..Draft::default() };
    let faults = Report::check(&draft, &sources(), "").faults;
    assert_eq!(
        faults,
        [
            "“Lamps.” cites source 4, which was not fetched in this mission",
            "“Lamps.” quotes “ten hours”: the text does not say this",
            "“Lamps.” has no source: name one that says so, or leave it out",
        ]
    );
}

#[test]
fn a_draft_fits_its_schema_and_its_type() {
    let draft = json!({
        "title": "T", "summary": [{ "text": "a", "sources": [1], "quotes": [{ "source": 1, "text": "b" }] }],
        "sections": [{ "heading": "h", "claims": [] }], "open": ["?"],
        "criteria": [{ "criterion": 1, "met": true, "because": "so" }],
    });
    let read: Draft = serde_json::from_value(draft.clone()).expect("a draft");
    assert_eq!((read.summary.len(), read.criteria[0].met), (1, true));
    // Every key that the type reads is required by the schema, so that a provider's strict mode takes it.
    let schema = schema();
    let keys: BTreeSet<&str> =
        draft.as_object().into_iter().flat_map(|draft| draft.keys()).map(String::as_str).collect();
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(keys, required);
}
