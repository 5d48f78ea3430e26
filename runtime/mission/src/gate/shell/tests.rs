//! The reader against bash itself: for any command that it calls plain, bash runs the very words that it says.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The commands that bash looks for in an empty folder, where each of them ends with this status; how often each.
fn looked_for(command: &str, status: u8) -> BTreeMap<Vec<String>, usize> {
    // Written in one go, and so without line ends: commands that run side by side do not write into each other.
    let script = std::format!(
        "exec 3>&1 >/dev/null 2>/dev/null\n\
         command_not_found_handle() {{ printf '%s\\0' \"$#\" \"${{@//$'\\n'/$'\\001'}}\" >&3; return {status}; }}\n{command}"
    );
    let output = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "-c", &script])
        .env_clear()
        .env("PATH", "/nowhere")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("this test asks /bin/bash, which is on every Debian: install bash ({error})"));
    let text = String::from_utf8(output.stdout).unwrap().replace('\u{1}', "\n");
    let mut parts = text.split('\0');
    let mut all = BTreeMap::new();
    while let Some(count) = parts.next().and_then(|count| count.parse().ok()) {
        let words: Vec<String> = parts.by_ref().take(count).map(Into::into).collect();
        *all.entry(words).or_default() += 1;
    }
    all
}

/// What is plain or nearly: words of `x`, `y`, `z`, which no shell has a builtin of, with quotes, escapes, separators, comments.
fn command() -> impl Strategy<Value = String> {
    let inside = "[xyz $;|&#*()\\\\ \u{e9}\n-]{0,4}";
    let word = prop_oneof![
        8 => "[xyz]{1,2}",
        3 => inside.prop_map(|text| std::format!("'{text}'")),
        3 => "[xyz ;|&#*()\u{e9}\n-]{0,4}".prop_map(|text| std::format!("\"{text}\"")),
        2 => "\"(\\\\[xyz$`\"\\\\]|[xyz]){0,4}\"",
        2 => "\\\\[xyz;|&#*$() ~{}<>'\"\\\\-]",
        2 => "[-./:,+@%=#][xyz]",
        2 => "[xyz]{1,2}[~#^=:]{1,2}[xyz12]",
    ];
    let first = prop_oneof![12 => "[xyz]{1,2}", 1 => "'[xyz]'\"[xyz]\"", 1 => "\\\\[xyz]", 1 => "[xyz]#[xyz]?", 1 => "[xyz]=", 1 => ""];
    let blank = prop_oneof![8 => Just(" "), 2 => Just("  \t"), 1 => Just("")];
    let end = prop::sample::select(&[
        ";",
        "; ",
        "\n",
        " && ",
        "&&",
        "||",
        " | ",
        " & ",
        "|&",
        " #x;y\n",
        "\n\n# 'x\n",
        " 2>&1 ;",
        " >/dev/null\n",
        " &>/dev/null|",
        " </dev/null ||",
        " 1>&2&&",
    ]);
    let one = (first, prop::collection::vec((blank, word), 0..4), end);
    prop::collection::vec(one, 1..5).prop_map(|all| {
        let mut text = String::new();
        let last = all.len() - 1;
        for (at, (first, words, end)) in all.into_iter().enumerate() {
            text += &first;
            words.into_iter().for_each(|(blank, word)| text += &std::format!("{blank}{word}"));
            text += if at < last { end } else { "" };
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    #[test]
    fn bash_runs_the_very_words(command in command()) {
        if let Ok(plain) = plain(&command) {
            // A path is not looked for.
            prop_assume!(!plain.commands().iter().any(|words| words[0].contains('/')));
            let mut expected: BTreeMap<Vec<String>, usize> = BTreeMap::new();
            for words in plain.commands() {
                *expected.entry(words.clone()).or_default() += 1;
            }
            // What follows `&&` is run where all succeed, what follows `||` where all fail; the rest in both.
            let (good, bad) = (looked_for(&command, 0), looked_for(&command, 1));
            for (words, times) in good.iter().chain(&bad) {
                prop_assert!(expected.get(words).is_some_and(|expected| times <= expected), "{:?} runs {:?}", command, words);
            }
            for (words, times) in &expected {
                let seen = good.get(words).unwrap_or(&0) + bad.get(words).unwrap_or(&0);
                prop_assert!(seen >= *times, "{:?} does not run {:?}", command, words);
            }
        }
    }

    #[test]
    fn of_bare_words_both_readers_say_the_same(command in "[a-z][a-zA-Z0-9 ~.:,+@%=/_-]{0,24}") {
        if let Ok(plain) = plain(&command) {
            prop_assert!(is_one_of_bare_words(&command));
            let words = plain.commands().iter().map(|words| words.iter().map(String::as_str));
            prop_assert!(agrees(&command, words), "{:?}", command);
        }
    }

    #[test]
    fn any_text_is_plain_or_is_not(command in "(\\PC|[\\s\0(){}<>$`'\"\\\\;&|!*0-9]|if |case |done|\\$\\(\\(|<<x\n){0,60}") {
        let _ = plain(&command);
    }
}

#[test]
fn nothing_is_too_deep_or_too_long() {
    for piece in [
        "(",
        "{ ",
        "if ",
        "$(",
        "${",
        "`",
        "! ",
        "while ",
        "case x in ",
        "((",
        "[[ ",
        "<(",
        "a|",
        "\\",
        "'",
        "\"",
        "1>",
        "x=",
        "[",
        "{a,",
    ] {
        let _ = plain(&piece.repeat(COMMAND_BYTES_MAX / piece.len()));
    }
    assert!(plain(&"x ".repeat(COMMAND_BYTES_MAX / 2)).is_ok());
    assert!(plain(&"x".repeat(COMMAND_BYTES_MAX + 1)).is_err());
}

#[test]
fn enough_of_what_is_generated_is_plain() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let commands = (0..500).map(|_| command().new_tree(&mut runner).unwrap().current());
    let plain = commands.filter(|command| plain(command).is_ok()).count();
    assert!(plain > 150, "a witness of {plain} in 500");
}
