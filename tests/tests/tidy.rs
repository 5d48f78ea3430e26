//! House rules that a compiler does not know. Each failure names the file and says what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sortie_tests::project;

/// Longest file, in lines: split by concept, early. A longer one says `tidy: long file because …` near its top.
const LINES_MAX: usize = 600;

/// Every file of the project with this extension, without what is built or fetched.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![project().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign = ["target", ".git", "node_modules", "corpus"].contains(&name.as_str());
                if !foreign {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "there are .{extension} files");
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(project()).unwrap_or(path).display().to_string()
}

/// The files in which something is wrong.
fn wrong(extension: &str, is_wrong: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    files(extension).iter().filter(|path| is_wrong(path, &read(path))).map(|path| shown(path)).collect()
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let bare = wrong("rs", |_, text| !text.starts_with("//! "));
    assert_eq!(bare, [""; 0], "open with `//!`: what it is for, what it owns, what it never does");
}

#[test]
fn long_files_have_a_reason() {
    let long = wrong("rs", |_, text| {
        let has_reason = text.lines().take(20).any(|line| line.contains("tidy: long file because"));
        text.lines().count() > LINES_MAX && !has_reason
    });
    assert_eq!(long, [""; 0], "split by concept, or say `tidy: long file because …` near the top");
}

#[test]
fn nothing_is_left_open() {
    // Put together here, so that this file is not one that it finds.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["to", "do!("], ["unimple", "mented!("]].map(|parts| parts.concat());
    let open = wrong("rs", |_, text| marks.iter().any(|mark| text.contains(mark.as_str())));
    assert_eq!(open, [""; 0], "do it, or write an issue");
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let attribute = ["#[al", "low("].concat();
    let silenced = wrong("rs", |_, text| {
        let silences = |line: &&str| line.trim_start().starts_with(&attribute);
        text.lines().filter(silences).any(|line| !line.contains("reason = "))
    });
    assert_eq!(silenced, [""; 0], "`#[expect(…, reason = \"…\")]`: it also tells when it is no longer needed");
}

#[test]
fn every_parser_of_json_reads_doubles_exactly() {
    // A crate that inherits the dependency gets what its workspace says.
    let inexact = wrong("toml", |path, text| {
        let is_manifest = path.file_name().is_some_and(|name| name == "Cargo.toml");
        let names = |line: &&str| line.starts_with("serde_json = ") && !line.contains("workspace = true");
        let inexact = |line: &str| !line.contains("float_roundtrip");
        is_manifest && text.lines().filter(names).any(inexact)
    });
    assert_eq!(inexact, [""; 0], "add the feature `float_roundtrip`: a double must not change on its way");
}

/// The texts that constants of a file are made of, of those that are meant.
fn constants(file: &str, is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = read(&project().join(file));
    let named = text.split("const ").skip(1).filter_map(|rest| rest.split_once(": "));
    let meant = named.filter(|(name, _)| is_meant(name)).filter_map(|(_, rest)| rest.split_once(" = "));
    let values = meant.filter(|(kind, _)| kind.contains("&str")).filter_map(|(_, rest)| rest.split(';').next());
    values.flat_map(|value| value.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn what_is_left_to_an_automation_is_what_its_templates_name() {
    let left = constants("runtime/contract/src/plugin.rs", |name| name == "AUTOMATION_NAMES");
    let named = constants("plugins/automation/src/template.rs", |name| name != "FUNCTIONS");
    assert!(left.contains("steps"), "the names are read: {left:?}");
    assert_eq!(left, named, "a text that is filled in before a run escapes the names that templates have in it");
}

#[test]
fn what_a_plugin_may_say_of_a_child_is_what_its_node_reads() {
    let read_by = |file| constants(file, |name| name == "ORDER");
    let node = read_by("runtime/contract/src/envelope/child.rs");
    assert!(node.contains("objective"), "the fields are read: {node:?}");
    assert_eq!(
        node,
        read_by("plugins/automation/src/plan/read/action.rs"),
        "a step `mission` has other fields than a child"
    );
}

#[test]
fn an_example_is_built_as_a_new_project_is() {
    let built_by = |folder: &str| read(&project().join(folder).join("build.mjs"));
    assert_eq!(built_by("examples/plugins/javascript"), built_by("plugins/templates/javascript"));
}

#[test]
fn texts_name_no_machine() {
    let homes = [["/ro", "ot/"], ["/wo", "rk/"]].map(|parts| parts.concat());
    for extension in ["rs", "md", "toml", "json"] {
        let found = wrong(extension, |_, text| homes.iter().any(|home| text.contains(home.as_str())));
        assert_eq!(found, [""; 0], "a path of somebody's machine");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in files("md") {
        let text = read(&path);
        let folder = path.parent().expect("a file lies in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{}: {link} leads nowhere", shown(&path));
        }
    }
}

#[test]
fn documents_and_changelog_are_there() {
    for name in ["ARCHITECTURE", "SECURITY", "PLUGINS", "OPERATIONS", "ERRORS", "BENCHMARKS", "JOURNAL"] {
        assert!(project().join("docs").join(name).with_extension("md").exists(), "docs/{name}.md");
    }
    assert!(read(&project().join("CHANGELOG.md")).contains("## "));
}

/// The keys of a TOML text: those of tables and of what is in them.
fn keys(table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        keys.insert(key.clone());
        let tables = match value {
            toml::Value::Table(table) => vec![table],
            toml::Value::Array(all) => all.iter().filter_map(toml::Value::as_table).collect(),
            _ => vec![],
        };
        tables.into_iter().for_each(|table| self::keys(table, keys));
    }
}

#[test]
fn the_example_configuration_has_every_key_of_the_code() {
    let example: toml::Table = read(&project().join("docs/sortie.example.toml")).parse().expect("TOML");
    let mut documented = BTreeSet::new();
    keys(&example, &mut documented);
    for file in [
        "runtime/node/src/config.rs",
        "runtime/node/src/config/workspace.rs",
        "runtime/tools/src/config.rs",
        "runtime/models/src/config.rs",
        "runtime/tools/src/secrets.rs",
        "runtime/callback/src/config.rs",
        "runtime/notify/src/config.rs",
        "runtime/objects/src/config.rs",
    ] {
        for field in configured_fields(&read(&project().join(file))) {
            assert!(documented.contains(&field), "{file}: `{field}` is not in docs/sortie.example.toml");
        }
    }
}

/// The keys of the structs that are read from the configuration: those that refuse unknown ones.
fn configured_fields(source: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for after in source.split("deny_unknown_fields").skip(1) {
        let body = after.split("\n}").next().unwrap_or_default();
        let mut renamed = None;
        for line in body.lines().map(str::trim_start) {
            if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
                renamed = rest.split('"').next().map(str::to_owned);
            } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|line| line.split_once(':')) {
                fields.push(renamed.take().unwrap_or_else(|| name.trim_start_matches("r#").to_owned()));
            }
        }
    }
    fields
}
