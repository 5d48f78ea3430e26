//! Patches, held against git itself: what it makes of them is what was meant.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sortie_patch::diff;

use super::Message;

/// More than are compared with one another, one by one.
const LINES_MANY: usize = 20_000;

fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let identity = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "-c",
        "core.autocrlf=false",
        "-c",
        "commit.gpgsign=false",
    ];
    let mut command = Command::new("git");
    command
        .args(identity)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().expect("this test asks git, which whoever builds this has");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// Makes a repository with the files before, applies the patch of all of them with `git am`, and looks at the files after.
fn applies(case: &str, files: &[(&str, Option<&str>, &str)]) {
    let folder = std::env::temp_dir().join(format!("sortie-diff-{}-{case}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("writable");
    git(&folder, &["init", "-q"]);
    for (path, before, _) in files {
        if let Some(before) = before {
            let at = folder.join(path);
            fs::create_dir_all(at.parent().expect("a folder")).expect("writable");
            fs::write(at, before).expect("writable");
        }
    }
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-q", "--allow-empty", "-m", "base"]);
    let diff: String = files.iter().map(|(path, before, after)| diff(path, *before, after)).collect();
    fs::write(folder.join(".git/p"), Message::new("vp", "m", "Mend ü").with(&diff)).expect("writable");
    let (applied, said) = git(&folder, &["am", ".git/p"]);
    assert!(applied, "{case}: {said}\n{diff}");
    for (path, _, after) in files {
        assert_eq!(fs::read_to_string(folder.join(path)).expect("it is there"), *after, "{case}: {path}");
    }
    let (_, subject) = git(&folder, &["log", "-1", "--format=%an: %s"]);
    assert_eq!(subject.trim(), "vp: Mend ü");
    fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn git_makes_of_a_patch_what_was_meant() {
    let long: String = (0..200).map(|n| format!("line {n}\n")).collect();
    let other = long.replace("line 3\n", "line three\n").replace("line 100\n", "").replace("line 199\n", "last");
    applies("change", &[("a", Some("1\n2\n3\n"), "1\nzwei\n3\n")]);
    applies("long", &[("src/long.txt", Some(&long), &other)]);
    applies("new", &[("new/deep/a.txt", None, "a\nb\n"), ("empty", None, ""), ("x", Some("x"), "x\n")]);
    applies(
        "no-newline",
        &[("a", Some("a\nb"), "a\nc"), ("b", Some("a\n"), "a"), ("c", Some(""), "now"), ("d", None, "d")],
    );
    let rewritten: String = (0..LINES_MANY).map(|n| format!("{}\n", n * 7)).collect();
    applies("rewritten", &[("a", Some(&rewritten), &format!("head\n{}tail\n", rewritten.replace('1', "x")))]);
    applies("emptied", &[("a", Some("a\nb\n"), "")]);
    applies(
        "crlf",
        &[("a", Some("a\r\nb\r\nc\r\n"), "a\r\nB\r\nc\r\n"), ("b", None, "x\r\n"), ("c", Some("1\n"), "2\n")],
    );
    applies("lone-cr", &[("a", Some("a\rb\nc\n"), "a\rB\nc\n")]);
    applies(
        "names",
        &[("ü d/ä \u{1f600}.txt", Some("1\n"), "2\n"), ("q\"\\ \t.txt", Some("1\n"), "2\n"), ("tab\tnew", None, "n\n")],
    );
    applies(
        "looks-like",
        &[("a", Some("-- \n--- a\n+++ b\nFrom x\n"), "-- \n--- b\nFrom y Mon Sep 17 00:00:00 2001\ndiff --git\n")],
    );
}
