//! What makes git run others: options, words with one of its commands, and its configuration.
//!
//! What a repository brings along (hooks, filters, what is configured already) is not in a command's words, and not looked for here.

use alloc::string::String;

use super::{before_own, has_letter, is_given, own};

/// Options that do, or that write a file, with whatever command of git's; also abbreviated.
const OPTIONS: [&str; 9] = [
    "--exec",
    "--ext-diff",
    "--extcmd",
    "--open-files-in-pager",
    "--output",
    "--output-directory",
    "--receive-pack",
    "--textconv",
    "--upload-pack",
];

/// The same of one of its commands, where others have an option that begins like it.
const OPTIONS_OF: [(&str, &[&str]); 10] = [
    ("apply", &["--unsafe-paths"]),
    ("archive", &["--remote"]),
    ("checkout-index", &["--prefix"]),
    ("clone", &["--config", "--template"]),
    ("credential-store", &["--file"]),
    ("fast-export", &["--export-marks"]),
    ("fast-import", &["--allow-unsafe-features", "--export-marks", "--export-pack-edges"]),
    ("init", &["--template"]),
    ("read-tree", &["--index-output"]),
    ("svn", &["--authors-prog", "--config-dir"]),
];

/// Words that do so with one of its commands.
const WORDS: [(&str, &str); 5] = [
    ("bisect", "run"),
    ("bundle", "create"),
    ("maintenance", "register"),
    ("maintenance", "start"),
    ("submodule", "foreach"),
];

/// Commands of its that are for that, or that do nothing else.
const WHOLE: [&str; 14] = [
    "bisect--helper",
    "daemon",
    "difftool--helper",
    "filter-branch",
    "filter-repo",
    "for-each-repo",
    "instaweb",
    "merge-index",
    "remote-ext",
    "remote-fd",
    "send-email",
    "shell",
    "submodule--helper",
    "web--browse",
];

/// Letters that do so with one of its commands, in whatever word with one dash: several may stand in one.
const LETTERS: [(&str, &str); 11] = [
    ("archive", "o"),
    ("bugreport", "o"),
    ("clone", "cu"),
    ("diagnose", "o"),
    ("difftool", "x"),
    ("format-patch", "o"),
    ("grep", "O"),
    ("index-pack", "o"),
    ("ls-remote", "u"),
    ("mailsplit", "o"),
    ("rebase", "x"),
];

/// Its commands that are told where another repository is: `ext::sh -c …` is an address.
const REMOTE: [&str; 10] =
    ["archive", "clone", "fetch", "fetch-pack", "ls-remote", "pull", "push", "remote", "send-pack", "submodule"];

/// Whether a word behind git's own command makes it run something else, or write a file.
pub(in super::super) fn is_runner(own: &str, word: &str) -> bool {
    let of = |options: &(&str, &[&str])| options.0 == own && is_given(options.1, word);
    is_given(&OPTIONS, word)
        || OPTIONS_OF.iter().any(of)
        || WHOLE.contains(&own)
        || WORDS.contains(&(own, word))
        || REMOTE.contains(&own) && has_transport(word)
        || LETTERS.iter().any(|(command, letters)| *command == own && has_letter(word, letters))
}

/// Whether it is an address with a program of its own to reach it: `ext::…`, also behind an option.
fn has_transport(word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_.".contains(&b));
    let address = |word: &str| word.split_once("::").is_some_and(|(name, _)| is_name(name));
    address(word) || word.split_once('=').is_some_and(|(_, value)| address(value))
}

/// Whether git, with these words behind it, may run anything: as they are written, and in lower case.
pub(super) fn is_any(words: &[String], folded: &[String]) -> bool {
    // Settings count before its own command alone: `git switch -c x` is none.
    words.iter().take(before_own(folded)).any(|word| is_setting(word))
        || own(folded).any(|own| {
            ["config", "difftool", "mergetool"].contains(&own)
                || WHOLE.contains(&own)
                || words.iter().any(|word| is_runner(own, word))
        })
}

/// Whether it is a setting before git's own command: an alias, a pager, another folder of commands.
fn is_setting(word: &str) -> bool {
    ["-c", "--config-env", "--exec-path"].iter().any(|setting| word.starts_with(setting))
}

/// Options of `git config` that only say where, or of which form a value is.
const ABOUT_SETTINGS: [&str; 20] = [
    "--add",
    "--all",
    "--bool",
    "--bool-or-int",
    "--fixed-value",
    "--global",
    "--includes",
    "--int",
    "--local",
    "--name-only",
    "--no-includes",
    "--null",
    "--replace-all",
    "--show-origin",
    "--show-scope",
    "--system",
    "--unset",
    "--unset-all",
    "--worktree",
    "-z",
];

/// Settings that make git run nothing, whatever their value is, and open no door for others. All that is not here may.
const TAME_SETTINGS: [&str; 31] = [
    "branch.autosetuprebase",
    "branch.sort",
    "commit.gpgsign",
    "core.abbrev",
    "core.autocrlf",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.longpaths",
    "core.precomposeunicode",
    "core.quotepath",
    "core.safecrlf",
    "core.whitespace",
    "diff.algorithm",
    "diff.colormoved",
    "diff.renames",
    "fetch.prune",
    "gc.auto",
    "init.defaultbranch",
    "log.date",
    "merge.conflictstyle",
    "merge.ff",
    "pull.ff",
    "pull.rebase",
    "push.autosetupremote",
    "push.default",
    "push.followtags",
    "rebase.autosquash",
    "rebase.autostash",
    "user.email",
    "user.name",
];

/// Whether `git config`, with these words behind it, changes a setting that may make git run something: most can.
pub(in super::super) fn sets(words: &[String]) -> bool {
    let is_option = |word: &&String| word.starts_with('-');
    let known = |option: &String| ABOUT_SETTINGS.contains(&option.as_str()) || option.starts_with("--type=");
    let reads = |word: &String| word.starts_with("--get") || word == "--list" || word == "-l";
    let mut options = words.iter().take_while(|word| *word != "--").filter(is_option);
    let changes = |word: &&str| matches!(*word, "--add" | "--replace-all" | "--unset" | "--unset-all");
    if words.iter().any(reads) && !words.iter().any(|word| changes(&word.as_str()) || is_edit(word)) {
        return false;
    }
    let operands = || words.iter().filter(|word| !is_option(word)).map(String::as_str);
    match operands().next() {
        Some("get" | "list") => return false,
        Some("edit" | "remove-section" | "rename-section") => return true,
        _ => {}
    }
    // What stands behind another option may be its value, and not the key.
    if !options.all(known) {
        return true;
    }
    let is_verb = |word: &str| matches!(word, "set" | "unset");
    let mut behind = operands().skip_while(|word| is_verb(word));
    let Some(key) = behind.next().map(str::to_lowercase) else { return false };
    let shows =
        behind.next().is_none() && !operands().any(is_verb) && !words.iter().any(|word| changes(&word.as_str()));
    !shows && !is_tame(&key)
}

/// Whether it opens an editor, or renames, or what git abbreviates to that.
fn is_edit(word: &str) -> bool {
    word == "-e"
        || word.len() > 2 && ["--edit", "--rename-section", "--remove-section"].iter().any(|o| o.starts_with(word))
}

/// Whether a setting is one of those that make git run nothing.
fn is_tame(key: &str) -> bool {
    TAME_SETTINGS.contains(&key) || ["advice.", "color.", "column."].iter().any(|section| key.starts_with(section))
}
