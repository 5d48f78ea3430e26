//! Projects in Python and JavaScript, as `sortie plugin new` writes them: they build, their cases pass, the guide's plugins build, and a mended
//! build is told from the one that failed.
//!
//! `cargo xtask test` installs what makes components of them and says where (`SORTIE_AUTHORED`); without that there is nothing to test, and it
//! is said.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sortie_tests::envelope::{with, without};
use sortie_tests::{Node, automation, http};

use super::{blocks, done};

/// A language that is neither the node's nor the kit's own.
struct Language {
    name: &'static str,
    /// The module that is made a component.
    module: &'static str,
    /// Where xtask has installed its tools, and where a project looks for them.
    tools: (&'static str, &'static str),
    /// Its chapter of the guide, and the one behind it.
    chapter: (&'static str, &'static str),
    /// A plugin that fails behind its first call, and what in it is wrong and right.
    broken: &'static str,
    mending: (&'static str, &'static str),
    /// How it fails.
    reason: &'static str,
    /// What its end says of that.
    says: &'static str,
}

const PYTHON: Language = Language {
    name: "python",
    module: "plugin.py",
    tools: ("venv", ".venv"),
    chapter: ("## Python", "## JavaScript"),
    broken: r#"from sortie_plugin import Brief, Manifest, Outcome, Plugin, Tools, export


class Mine(Plugin):
    def describe(self) -> Manifest:
        return Manifest("mine", "0.1.0", "Looks, and says what it was asked for.")

    def run(self, brief: Brief, tools: Tools) -> Outcome:
        tools.require("Glob")(pattern="*")
        return Outcome(brief.inputs["gone"])


WitWorld = export(Mine)
"#,
    mending: (r#"brief.inputs["gone"]"#, r#""well""#),
    reason: "plugin_trapped",
    says: "KeyError: 'gone', at run (plugin.py:10)",
};

const JAVASCRIPT: Language = Language {
    name: "javascript",
    module: "plugin.js",
    tools: ("node_modules", "node_modules"),
    chapter: ("## JavaScript", "## Other languages"),
    broken: r#"import { plugin } from "./vendor/sortie-plugin.js";

export const { describe, profile, check, run } = plugin({
  manifest: { name: "mine", version: "0.1.0", description: "Looks, and says what it was asked for." },
  async run(brief, tools) {
    await tools.require("Glob").call({ pattern: "*" });
    return { summary: brief.gone.too };
  },
});
"#,
    mending: ("brief.gone.too", r#""well""#),
    reason: "plugin_failed",
    says: "brief.gone is undefined, at run (plugin.js:7)",
};

/// Waits for a page, but no longer than five seconds, and counts the time meanwhile.
const RACER: &str = r#"import { plugin } from "./vendor/sortie-plugin.js";

export const { describe, profile, check, run } = plugin({
  manifest: { name: "racer", version: "0.1.0", description: "Gives a page five seconds." },
  async run(brief, tools) {
    const page = tools.require("WebFetch").call({ url: "https://example.org/" });
    let ticks = 0;
    const ticking = setInterval((by) => (ticks += by), 2_000, 1);
    clearTimeout(setTimeout(() => (ticks += 100), 1_000));
    const late = new Promise((_, no) => setTimeout(() => no(new Error("late")), 5_000));
    const how = await Promise.race([page.then(() => "in time"), late]).catch((error) => error.message);
    clearInterval(ticking);
    return { summary: `${how}, ${ticks} ticks` };
  },
});
"#;

/// A page that takes so long, what comes of it, and within what time.
fn race(takes: &str, summary: &str, within: &str) -> String {
    format!(
        "[mission]\nobjective = \"Fetch a page.\"\n[[tool]]\nname = \"WebFetch\"\ntakes = \"{takes}\"\nanswer = {{ status = 200 }}\n\
         [expect]\nstatus = \"completed\"\nsummary = \"{summary}\"\nwithin = \"{within}\"\n"
    )
}

/// A new project in that language, with its tools; none where nobody installed them.
fn begun_in(folder: &Path, name: &str, language: &Language) -> Option<PathBuf> {
    let Some(examples) = std::env::var_os("SORTIE_AUTHORED").map(PathBuf::from) else {
        eprintln!("skipped: SORTIE_AUTHORED is not set; `cargo xtask test` installs the tools and sets it");
        return None;
    };
    done(folder, &["plugin", "new", name, "--lang", language.name]);
    let place = folder.join(name);
    let tools = examples.parent().expect("it lies in the target folder").join("tools/authoring");
    symlink(tools.join(language.tools.0), place.join(language.tools.1)).expect("a link");
    Some(place)
}

/// The component of a project whose plugin is this text.
fn built(place: &Path, language: &Language, plugin: &str) -> PathBuf {
    fs::write(place.join(language.module), plugin).expect("writable");
    done(place, &["plugin", "build"]);
    place.join("mine.wasm")
}

async fn is_a_language_for_authors(language: &Language) {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(place) = begun_in(folder.path(), "mine", language) else { return };
    let told = done(&place, &["plugin", "check"]);
    assert!(told.contains("2 of 2 cases pass"), "{told}");
    fs::write(place.join("cases/not-markdown.toml"), "mission = {}\n[expect]\nstatus = \"failed\"\n")
        .expect("writable");
    assert!(done(&place, &["plugin", "build"]).contains("nothing changed"), "only a case did");

    let guide = blocks(language.chapter.0, language.chapter.1);
    let (_, plugin) = guide.iter().find(|(kind, _)| kind == language.name).expect("the guide has a plugin");
    built(&place, language, plugin);

    let node = Node::start().await;
    let component = fs::read(built(&place, language, language.broken)).expect("a component");
    // It is compiled meanwhile: a minute on a busy machine.
    let install = node.request("POST", "/v1/plugins").timeout(Duration::from_secs(200)).body(component);
    http::send(install).await.expect("an answer").expect_status(201);
    let mission = without(automation("last-night", &json!([])), "inputs");
    let mission = with(with(mission, "/mission_type", json!("custom")), "/plugin", json!("mine"));
    let end = node.run(&with(mission, "/constraints/allowed_tools", json!(["Glob"]))).await;
    assert_eq!(end["detail"]["reason"], language.reason, "{end:#}");
    assert!(end["summary"].as_str().is_some_and(|summary| summary.contains(language.says)), "{end:#}");
    let logged = node.cli(&["journal", "last-night", "--log"]).await;
    assert!(String::from_utf8_lossy(&logged.stdout).contains("error  "), "{logged:?}");
    let mended = language.broken.replace(language.mending.0, language.mending.1);
    // The same once more is other bytes, and built in another folder.
    for (plugin, code) in [(None, 0), (Some(mended.as_str()), 7), (Some(language.broken), 0)] {
        let build = plugin.map(|plugin| built(&place, language, plugin));
        let more = build.as_ref().map_or(Vec::new(), |file| vec!["--plugin", file.to_str().expect("a path")]);
        let replayed = node.cli(&[&["replay", "last-night"][..], &more].concat()).await;
        let said = String::from_utf8_lossy(&replayed.stdout);
        assert_eq!(replayed.status.code(), Some(code), "{plugin:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_is_a_language_for_authors() {
    is_a_language_for_authors(&PYTHON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_is_a_language_for_authors() {
    is_a_language_for_authors(&JAVASCRIPT).await;
}

#[test]
fn timers_of_javascript_are_raced_against_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(place) = begun_in(folder.path(), "racer", &JAVASCRIPT) else { return };
    fs::write(place.join(JAVASCRIPT.module), RACER).expect("writable");
    let cases = [("late", race("20s", "late, 2 ticks", "6s")), ("soon", race("3s", "in time, 1 ticks", "4s"))];
    for (name, case) in &cases {
        fs::write(place.join("cases").join(name).with_extension("toml"), case).expect("writable");
    }
    let told = done(&place, &["plugin", "check", "cases/late.toml", "cases/soon.toml"]);
    assert!(told.contains("2 of 2 cases pass"), "{told}");
}
