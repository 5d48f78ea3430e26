//! bash as a witness: what it would run of a command that is allowed. It has no commands to run: an empty `PATH`, and a handler that tells
//! what was looked for.

use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::json;

use crate::{Allowed, constraints, said};

/// The commands that bash looks for, where each of them ends with this status; each by its words.
fn looked_for(command: &str, status: u8) -> Vec<Vec<String>> {
    // Written in one go, and so without line ends: commands that run side by side do not write into each other.
    let script = format!(
        "exec 3>&1 >/dev/null 2>/dev/null\n\
         command_not_found_handle() {{ printf '%s\\0' \"$#\" \"${{@//$'\\n'/$'\\001'}}\" >&3; return {status}; }}\n{command}"
    );
    let output = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "-c", &script])
        .env_clear()
        .env("PATH", "/nowhere")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("this test asks /bin/bash, which is on every Debian: install bash ({error})"));
    let text = String::from_utf8(output.stdout).expect("what was given is text").replace('\u{1}', "\n");
    let mut parts = text.split('\0');
    let mut all = Vec::new();
    while let Some(count) = parts.next().and_then(|count| count.parse().ok()) {
        all.push(parts.by_ref().take(count).map(str::to_owned).collect());
    }
    all
}

/// Pieces of commands, honest and not.
fn command() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => Just("xx".to_owned()),
        4 => Just(" ".to_owned()),
        3 => Just("; ".to_owned()),
        2 => prop::sample::select(&["\n", "&&", "||", "|", "&", "|&", "\t", "#", "\\\n", "\r"]).prop_map(str::to_owned),
        2 => prop::sample::select(&["'", "\"", "\\", "''", "\"\"", "' '", "\" \"", "$", "`", "!", "~", "*", "{", "}", "(", ")", "^", "="])
            .prop_map(str::to_owned),
        2 => prop::sample::select(&["2>&1", ">/dev/null", "&>/dev/null", "</dev/null", "1>&2", "2", ">", "<", "$(xx)", "$'\\n'"])
            .prop_map(str::to_owned),
        2 => "[xyz]{1,3}",
        1 => prop::sample::select(&["xx yy", "if ", "then ", "do ", "time ", "\u{e9}", "\u{a0}", "yy=zz "]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    // Two starts of bash for each that is allowed: milliseconds.
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn bash_runs_nothing_but_what_is_allowed(command in command()) {
        let command = format!("xx{command}");
        if said(&constraints("Bash(xx *)", "", ""), "Bash", &json!({"command": command}).to_string()) == Allowed {
            for status in [0, 1] {
                for words in looked_for(&command, status) {
                    prop_assert_eq!(words.first().map(String::as_str), Some("xx"), "{:?} runs {:?}", command, words);
                }
            }
        }
    }
}

#[test]
fn the_witness_sees_what_is_run() {
    for (command, expected) in [
        ("xx 'a b' c; yy", &[&["xx", "a b", "c"][..], &["yy"]][..]),
        ("xx && yy", &[&["xx"], &["yy"]]),
        ("xx || yy", &[&["xx"]]),
        ("xx $(yy)", &[&["yy"], &["xx"]]),
        ("xx >/dev/null 2>&1", &[&["xx"]]),
    ] {
        assert_eq!(looked_for(command, 0), expected, "{command}");
    }
}
