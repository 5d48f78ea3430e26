//! What makes git run others: options, words with one of its commands, and its configuration.
//!
//! What a repository brings along (hooks, filters, what is configured already) is not in a command's words, and not looked for here.

use alloc::string::String;

use super::has_letter;

/// Options that do, or that write a file, with whatever command of git's; also abbreviated.
const OPTIONS: [&str; 11] = [
    "--config-env",
    "--exec-path",
    "--exec",
    "--extcmd",
    "--ext-diff",
    "--open-files-in-pager",
    "--output",
    "--receive-pack",
    "--template",
    "--textconv",
    "--upload-pack",
];

/// Words that do so with one of its commands, by how they begin.
const OF: [(&str, &str); 6] = [
    ("archive", "--r"),
    ("bisect", "run"),
    ("filter-branch", ""),
    ("maintenance", "register"),
    ("maintenance", "start"),
    ("submodule", "foreach"),
];

/// Commands of its that are for that, or that do nothing else.
const WHOLE: [&str; 13] = [
    "bisect--helper",
    "daemon",
    "difftool--helper",
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
const LETTERS: [(&str, &str); 7] = [
    ("archive", "o"),
    ("clone", "cu"),
    ("difftool", "x"),
    ("format-patch", "o"),
    ("grep", "O"),
    ("ls-remote", "u"),
    ("rebase", "x"),
];

/// Its commands that are told where another repository is: `ext::sh -c …` is an address.
const REMOTE: [&str; 10] =
    ["archive", "clone", "fetch", "fetch-pack", "ls-remote", "pull", "push", "remote", "send-pack", "submodule"];

/// Whether a word behind git's own command makes it run something else, or write a file.
pub(in super::super) fn is_runner(own: &str, word: &str) -> bool {
    is_option(word)
        || WHOLE.contains(&own)
        || REMOTE.contains(&own) && has_transport(word)
        || OF.iter().any(|(command, begin)| *command == own && word.starts_with(begin))
        || LETTERS.iter().any(|(command, letters)| *command == own && has_letter(word, letters))
}

/// Options may be cut to what no other begins with, which differs from command to command.
fn is_option(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or(word);
    name.len() > 2 && name.starts_with("--") && OPTIONS.iter().any(|option| option.starts_with(name))
}

/// Whether it is an address with a program of its own to reach it: `ext::…`, also behind an option.
fn has_transport(word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_.".contains(&b));
    let address = |word: &str| word.split_once("::").is_some_and(|(name, _)| is_name(name));
    address(word) || word.split_once('=').is_some_and(|(_, value)| address(value))
}

/// Whether it is a setting before git's own command: an alias, a pager, another folder of commands.
pub(in super::super) fn is_setting(word: &str) -> bool {
    word.starts_with("-c") || word.starts_with("--config-env") || word.starts_with("--exec-path")
}

/// Whether git, with these words in lower case behind it, may run anything.
pub(super) fn is_any(words: &[String]) -> bool {
    let is_there = |command: &str| words.iter().any(|word| word == command);
    let has = |letters: &str| words.iter().any(|word| has_letter(word, &letters.to_lowercase()));
    words.iter().any(|word| is_setting(word) || is_option(word))
        || ["config", "difftool", "filter-branch", "mergetool"].into_iter().any(is_there)
        || own(words).any(|own| WHOLE.contains(&own))
        || own(words).any(|own| REMOTE.contains(&own)) && words.iter().any(|word| has_transport(word))
        || OF.iter().any(|(command, begin)| is_there(command) && words.iter().any(|word| word.starts_with(begin)))
        || LETTERS.iter().any(|(command, letters)| is_there(command) && has(letters))
}

/// The words that may be git's own command: the first behind its options, each of which may have a value.
fn own(words: &[String]) -> impl Iterator<Item = &str> {
    let (mut may_be_value, mut is_over) = (false, false);
    words.iter().map(String::as_str).filter(move |word| {
        if is_over || word.starts_with('-') {
            may_be_value = true;
            return false;
        }
        is_over = !core::mem::take(&mut may_be_value);
        true
    })
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
