//! Commands that run others: what is known of them.
//!
//! Owned here: the tables. An allowance that leaves open what such a command runs does not hold; a prohibition looks behind them. No table
//! is complete, and what a program does is not in its name: a command scope is a fence and not a wall, which is the sandbox's part.

use alloc::string::String;

use super::command::base;

/// What a command runs, by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Nothing that is known of.
    Nothing,
    /// The command that begins with its first operand.
    Next,
    /// The same, behind a duration.
    Duration,
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
}

/// Options that a command follows, or that do what the command is not known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options(&'static [&'static str]);

impl Options {
    pub(super) fn is_one(self, word: &str) -> bool {
        self.0.contains(&word)
    }
}

const NEXT: [&str; 29] = [
    "builtin", "busybox", "bunx", "chroot", "chrt", "command", "doas", "env", "exec", "fakeroot", "flock", "ionice",
    "ltrace", "nice", "nohup", "npx", "nsenter", "runuser", "setarch", "setpriv", "setsid", "stdbuf", "strace", "sudo",
    "taskset", "time", "toybox", "unshare", "valgrind",
];
const SHELLS: [&str; 12] = ["ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "pwsh", "rbash", "sh", "tcsh", "zsh"];
const TEXT: [&str; 13] =
    ["at", "batch", "crontab", "entr", "expect", "parallel", "rsh", "screen", "script", "ssh", "su", "tmux", "watch"];
const FIND: [&str; 9] = ["-delete", "-exec", "-execdir", "-fls", "-fprint", "-fprint0", "-fprintf", "-ok", "-okdir"];
const FD: [&str; 4] = ["-x", "-X", "--exec", "--exec-batch"];

/// What a command of this name runs.
pub(super) fn runs(name: &str) -> Runs {
    match name {
        "xargs" => Runs::Fed,
        "timeout" => Runs::Duration,
        "git" => Runs::Git,
        "find" => Runs::ByOption(Options(&FIND)),
        "fd" | "fdfind" => Runs::ByOption(Options(&FD)),
        _ if SHELLS.contains(&name) => Runs::Shell,
        _ if NEXT.contains(&name) => Runs::Next,
        _ if TEXT.contains(&name) => Runs::Text,
        _ => Runs::Nothing,
    }
}

impl Runs {
    /// Whether one of its words may be the name of a command.
    pub(super) fn is_runner(self) -> bool {
        !matches!(self, Self::Nothing | Self::Git)
    }
}

/// What makes git run others.
pub(super) mod git {
    use alloc::string::String;

    /// Options that do, or that write a file, with whatever command of git's; also abbreviated.
    const OPTIONS: [&str; 10] = [
        "--config-env",
        "--exec-path",
        "--exec",
        "--extcmd",
        "--ext-diff",
        "--open-files-in-pager",
        "--output",
        "--receive-pack",
        "--textconv",
        "--upload-pack",
    ];

    /// Words that do so with one of its commands.
    const OF: [(&str, &str); 9] = [
        ("bisect", "run"),
        ("clone", "-c"),
        ("clone", "-u"),
        ("difftool", "-x"),
        ("grep", "-O"),
        ("grep", "-o"),
        ("rebase", "-x"),
        ("submodule", "foreach"),
        ("filter-branch", ""),
    ];

    /// Whether a word behind git's own command makes it run something else, or write a file.
    pub(in super::super) fn is_runner(own: &str, word: &str) -> bool {
        let name = word.split('=').next().unwrap_or(word);
        let is_option =
            name.len() > 3 && name.starts_with("--") && OPTIONS.iter().any(|option| option.starts_with(name));
        // Only finding what matches (`grep -o`) is a matter of case, and told apart where it can be.
        is_option || OF.iter().any(|(command, begin)| *command == own && word.starts_with(begin) && *begin != "-o")
    }

    /// Whether it is a setting before git's own command: an alias, a pager, another folder of commands.
    pub(in super::super) fn is_setting(word: &str) -> bool {
        word.starts_with("-c") || word.starts_with("--config-env") || word.starts_with("--exec-path")
    }

    /// Whether git, with these words in lower case behind it, may run anything.
    pub(super) fn is_any(words: &[String]) -> bool {
        let is_there = |command: &str| words.iter().any(|word| word == command);
        words.iter().any(|word| is_setting(word) || is_runner("", word))
            || ["config", "difftool", "filter-branch", "mergetool"].into_iter().any(is_there)
            || OF.iter().any(|(command, begin)| is_there(command) && words.iter().any(|word| word.starts_with(begin)))
    }
}

/// Why a simple command, in lower case, may run what its words do not say.
pub(super) fn hidden(words: &[String]) -> Option<&'static str> {
    let kind = runs(base(&words[0]));
    let is_hidden = is_any(words) || kind.is_runner() && (1..words.len()).any(|at| is_any(&words[at..]));
    // What it gets from its input are further words, to whatever runs them.
    let is_fed = kind == Runs::Fed && words[1..].iter().any(|word| runs(base(word)) != Runs::Nothing);
    (is_hidden || is_fed).then_some("the command runs what its words do not say")
}

/// Programs that run code which they are given.
const CODE: [&str; 13] =
    ["bun", "deno", "julia", "lua", "node", "nodejs", "osascript", "perl", "php", "python", "rscript", "ruby", "tclsh"];
const AWK: [&str; 4] = ["awk", "gawk", "mawk", "nawk"];

fn is_any(words: &[String]) -> bool {
    let name = base(&words[0]);
    let any = |is: fn(&str) -> bool| words[1..].iter().any(|word| is(word));
    match runs(name) {
        Runs::Shell | Runs::Text => true,
        Runs::Git => git::is_any(&words[1..]),
        Runs::Nothing if AWK.contains(&name) => any(|word| {
            word.contains("system") || word.contains("getline") || word.contains('|') || word.starts_with("-f")
        }),
        // `python3.12` is `python`.
        Runs::Nothing if CODE.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')) => {
            words.len() == 1 || any(is_code)
        }
        _ => false,
    }
}

/// Whether the word of an interpreter may say that code follows, or that it is read: `-c`, `-e`, also among others.
fn is_code(word: &str) -> bool {
    let among_others =
        || word.len() < 6 && !word.starts_with("--") && word.starts_with('-') && word.contains(['c', 'e']);
    let begins = ["-c", "-e", "--eval", "--print", "--command"].iter().any(|begin| word.starts_with(begin));
    matches!(word, "-" | "-r" | "-p") || begins || among_others()
}
