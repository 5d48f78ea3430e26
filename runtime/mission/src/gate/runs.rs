//! Commands that run others: what is known of them.
//!
//! Owned here: the tables (the names are in `table`, what a program's own language may say in `language`, and git in `git`). An allowance that leaves open what such a command runs does not hold; a prohibition looks behind them. No table
//! is complete, and what a program does is not in its name: a command scope is a fence and not a wall, which is the sandbox's part.

pub(super) mod git;
mod language;
mod table;

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use super::command::base;
pub(super) use language::Language;

/// What a command runs, by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Nothing that is known of.
    Nothing,
    /// The command that begins with its first operand.
    Next,
    /// The same, behind a duration.
    Duration,
    /// The command behind its first operand, which is a lock, a folder, a number.
    AfterOne,
    /// The same, with further words from its input.
    Fed,
    /// The script that its first operand names; its input, without one.
    Shell,
    /// Text as a shell would.
    Text,
    /// The command that follows one of these options.
    ByOption(Options),
    /// Commands of its own, and others by its options and settings.
    Git,
    /// What a language of its own says.
    Speaks(Language),
    /// Nothing; but with one of these options it writes a file, or changes what it does from then on.
    Tame(Writes),
}

/// Options that a command follows, or that do what the command is not known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options(&'static [&'static str]);

impl Options {
    /// Whether a word is one of them: also with a value behind it, or among other letters.
    pub(super) fn is_one(self, word: &str) -> bool {
        let is = |option: &str| option.len() == 2 && has_letter(word, &option[1..]);
        self.is_itself(word.split('=').next().unwrap_or(word)) || self.0.iter().any(|option| is(option))
    }

    fn is_itself(self, word: &str) -> bool {
        self.0.contains(&word)
    }

    /// Whether a word is one of them with the command in it.
    fn is_attached(self, word: &str) -> bool {
        self.is_one(word) && !self.is_itself(word)
    }
}

/// Options by which a command writes a file that they name, or changes what it is from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writes {
    /// With the file as their value.
    options: Options,
    /// Without a value; and words that are no option.
    flags: Options,
    /// With a text as their value, that may name a file, or stand in one.
    texts: Options,
    /// The letters of all that have a value.
    values: &'static str,
}

impl Writes {
    /// Whether a word is one of them, with the word behind it. To its output and to nowhere is no file.
    pub(super) fn is_one(self, word: &str, next: Option<&String>) -> bool {
        let value = |attached: &'_ str| match attached {
            "" => next.map_or("", String::as_str).to_owned(),
            value => value.to_owned(),
        };
        let is_file = |attached: &str| !matches!(value(attached).as_str(), "-" | "/dev/null");
        let says_file = |attached: &str| value(attached).starts_with('@') || value(attached).contains("%output{");
        if !word.starts_with('-') || word.starts_with("--") {
            let attached = word.split_once('=').map_or("", |(_, value)| value);
            return is_given(self.flags.0, word)
                || is_given(self.options.0, word) && is_file(attached)
                || is_given(self.texts.0, word) && says_file(attached);
        }
        let letters = language::letters(word, self.values);
        let attached = &word[(1 + letters.len()).min(word.len())..];
        letters.chars().any(|letter| {
            let is_of = |options: Options| options.0.iter().any(|o| o.len() == 2 && o.ends_with(letter));
            is_of(self.flags)
                || is_of(self.options) && (!self.values.contains(letter) || is_file(attached))
                || is_of(self.texts) && says_file(attached)
        })
    }
}

/// Options that others, which are looked for, begin with: in full they are no abbreviation.
const IN_FULL: [&str; 4] = ["--cookie", "--global", "--hsts", "--reject"];

/// Whether a word is one of these options, with or without its value. Programs take a name that is cut to what no other begins with, which
/// differs from one to the next.
fn is_given(options: &[&str], word: &str) -> bool {
    let name = word.split('=').next().unwrap_or(word);
    let is_cut = name.len() > 2 && name.starts_with('-') && !IN_FULL.contains(&name);
    options.iter().any(|option| *option == name || is_cut && option.starts_with(name))
}

/// The words that may be a program's own command: the first behind its options, each of which may have a value.
fn own(words: &[String]) -> impl Iterator<Item = &str> {
    words[..(before_own(words) + 1).min(words.len())].iter().map(String::as_str).filter(|word| !word.starts_with('-'))
}

/// How many words surely stand before a program's own command, or may be it already.
fn before_own(words: &[String]) -> usize {
    let is_option = |at: usize| words.get(at).is_some_and(|word| word.starts_with('-'));
    (0..words.len()).find(|&at| !is_option(at) && (at == 0 || !is_option(at - 1))).unwrap_or(words.len())
}

/// The letters and the names of options that make a command run a text, a shell, or a program that they name, and behind how many operands
/// such an option may stand.
const TEXT_BY_OPTION: [(&[&str], &str, &[&str], usize); 30] = [
    (&["bunx", "npx", "pnpx"], "c", &["--call"], 0),
    (&["doas"], "s", &[], 0),
    (&["env"], "S", &["--split-string"], 0),
    (&["flock"], "c", &["--command"], 1),
    (&["runuser"], "cl", &["--command", "--session-command", "--login"], 1),
    (&["strace"], "o", &["--output"], 0),
    (&["sudo"], "si", &["--shell", "--login"], 0),
    (
        &["bsdtar", "gtar", "tar"],
        "FI",
        &[
            "--checkpoint-action",
            "--info-script",
            "--new-volume-script",
            "--rmt-command",
            "--rsh-command",
            "--to-command",
            "--use-compress-program",
        ],
        usize::MAX,
    ),
    (&["rsync"], "e", &["--rsh", "--rsync-path"], usize::MAX),
    (&["scp", "sftp"], "FJSDbo", &[], usize::MAX),
    (&["cpio"], "", &["--rsh-command"], usize::MAX),
    (&["zip"], "T", &["--test", "--unzip-command"], usize::MAX),
    (&["gsort", "sort"], "", &["--compress-program"], usize::MAX),
    (&["gsplit", "split"], "", &["--filter"], usize::MAX),
    (&["tcpdump"], "z", &[], usize::MAX),
    (&["man"], "CHP", &["--config-file", "--html", "--pager"], usize::MAX),
    (&["ag", "bat", "batcat", "delta"], "", &["--pager"], usize::MAX),
    (&["apt", "apt-get", "aptitude"], "co", &["--config-file", "--option"], usize::MAX),
    (&["c++", "cc", "clang", "clang++", "g++", "gcc"], "", &["-fplugin", "-specs", "-wrapper", "--specs"], usize::MAX),
    (&["cargo"], "", &["--config"], usize::MAX),
    (&["curl"], "K", &["--config"], usize::MAX),
    (&["go"], "", &["--exec", "--toolexec", "--vettool", "-exec", "-toolexec", "-vettool"], usize::MAX),
    (&["hg"], "", &["--config", "--remotecmd", "--ssh"], usize::MAX),
    (
        &["lualatex", "pdflatex", "xelatex"],
        "",
        &["--enable-write18", "--shell-escape", "-enable-write18", "-shell-escape"],
        usize::MAX,
    ),
    (&["npm", "pnpm"], "", &["--git", "--script-shell", "--shell"], usize::MAX),
    (&["pandoc"], "FL", &["--filter", "--lua-filter", "--pdf-engine"], usize::MAX),
    (&["rg"], "", &["--hostname-bin", "--pre"], usize::MAX),
    (&["rpm", "rpmbuild"], "DE", &["--define", "--eval", "--load", "--macros", "--pipe", "--rcfile"], usize::MAX),
    (&["svn"], "", &["--config-dir", "--config-option", "--diff-cmd", "--diff3-cmd", "--editor-cmd"], usize::MAX),
    (&["wget"], "e", &["--config", "--execute", "--use-askpass"], usize::MAX),
];

/// Most words behind a command that runs others, of which each may be the name of one: every one is held against all that follow it.
pub(super) const LOOKED_BEHIND_MAX: usize = 256;

/// What a command of this name, in lower case, runs.
pub(super) fn runs(name: &str) -> Runs {
    table::named(name)
}

impl Runs {
    /// Whether one of its words may be the name of a command.
    pub(super) fn is_runner(self) -> bool {
        !matches!(self, Self::Nothing | Self::Git | Self::Speaks(_) | Self::Tame(_))
    }
}

/// Why a simple command may run what its words do not say: as they are written, and in lower case.
pub(super) fn hidden(words: &[String], folded: &[String]) -> Option<&'static str> {
    let kind = runs(base(&folded[0]));
    let is_behind =
        || words.len() > LOOKED_BEHIND_MAX || (1..words.len()).any(|at| is_any(&words[at..], &folded[at..]));
    let is_hidden = is_any(words, folded) || kind.is_runner() && is_behind();
    // What it gets from its input are further words, to whatever runs them.
    let is_fed =
        kind == Runs::Fed && folded[1..].iter().any(|word| !matches!(runs(base(word)), Runs::Nothing | Runs::Tame(_)));
    (is_hidden || is_fed).then_some("the command runs what its words do not say")
}

/// Whether a word is an option with one dash that has one of these letters.
fn has_letter(word: &str, letters: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains(|letter| letters.contains(letter))
}

/// Whether a program is told, in a form of its own, which other one to run.
fn is_told(name: &str, words: &[String]) -> bool {
    let any = |is: fn(&str) -> bool| words.iter().any(|word| is(word));
    let mut behind = words.iter().skip_while(|word| !matches!(word.as_str(), "create" | "init" | "innit"));
    match name {
        "c++" | "cc" | "clang" | "clang++" | "g++" | "gcc" => any(|word| word.starts_with("-B")),
        "cargo" => any(|word| word.contains("linker=")),
        "go" => {
            let is_written = |word: &String| matches!(word.split('=').next(), Some("-w" | "--w"));
            any(|word| word.contains("-extld"))
                || words.first().is_some_and(|word| word == "env") && words.iter().any(is_written)
        }
        "hg" => any(|word| language::letters(word, "IRTXlmr").contains('e')),
        // What is made from a package is made by the package.
        "npm" | "pnpm" | "yarn" => behind.next().is_some() && behind.any(|word| !word.starts_with('-')),
        _ => false,
    }
}

/// Whether a command is told by an option to run a text.
pub(super) fn is_text_by_option(name: &str, words: &[String]) -> bool {
    if is_told(name, words) {
        return true;
    }
    let Some((_, letters, names, operands)) = TEXT_BY_OPTION.iter().find(|(known, ..)| known.contains(&name)) else {
        return false;
    };
    // `tar cIf …`: the first word of tar's needs no dash.
    if letters.contains('I') && words.first().is_some_and(|word| word.contains(['F', 'I'])) {
        return true;
    }
    let (mut left, mut may_be_value) = (*operands, false);
    for word in words {
        if word.starts_with('-') {
            if has_letter(word, letters) || is_given(names, word) {
                return true;
            }
            may_be_value = true;
        } else if may_be_value || word.contains('=') {
            may_be_value = false;
        } else if left == 0 {
            return false;
        } else {
            left -= 1;
        }
    }
    false
}

fn is_any(words: &[String], folded: &[String]) -> bool {
    let name = base(&folded[0]);
    if is_text_by_option(name, &words[1..]) {
        return true;
    }
    match runs(name) {
        Runs::Shell | Runs::Text => true,
        Runs::Git => git::is_any(&words[1..], &folded[1..]),
        Runs::Speaks(language) => language.may_run(&words[1..]),
        Runs::ByOption(options) => words[1..].iter().any(|word| options.is_attached(word)),
        _ => false,
    }
}
