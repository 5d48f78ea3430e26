//! Programs that run commands by a language of their own: whether the words of one may say so.
//!
//! What cannot be told is said to run something. Words are compared as they are written, for case matters to options.

use alloc::borrow::ToOwned as _;
use alloc::string::String;

/// Whose language it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Language {
    Awk,
    Code,
    Make,
    Mysql,
    Pager,
    Psql,
    Sed,
    Sqlite,
}

impl Language {
    /// Whether a program with these words behind its name may run commands.
    pub(in super::super) fn may_run(self, words: &[String]) -> bool {
        let any = |is: fn(&str) -> bool| words.iter().any(|word| is(word));
        match self {
            Self::Awk => any(|word| {
                ["system", "getline", "|", "@"].iter().any(|sign| word.contains(sign))
                    || begins(word, &["--f", "--l", "--i", "--e", "--d"])
                    || letters(word, "Fv").contains(['f', 'l', 'i', 'E', 'D'])
            }),
            // Without the name of a script it reads its code.
            Self::Code => {
                any(is_code) || !words.iter().all(|word| is_about(word)) && !has_script(words) || words.is_empty()
            }
            // Variables are what its recipes run.
            Self::Make => any(|word| {
                word.contains('=')
                    || begins(word, &["--e", "--f", "--m", "--i"])
                    || letters(word, "CWjlo").contains(['f', 'E', 'I'])
            }),
            Self::Mysql => {
                let is_statement = |word: &String| word == "--version" || begins(word, &["--execute"]);
                let says = |word: &String| is_statement(word) || letters(word, "DPSehpu").contains(['e', 'V']);
                any(is_wild) || any(|word| begins(word, &["--init", "--pager", "--tee"])) || !words.iter().any(says)
            }
            Self::Pager => any(|word| {
                word.starts_with('+') || word.starts_with("--l") || letters(word, "").contains(['k', 'o', 'O'])
            }),
            Self::Psql => {
                let of = |word: &str| letters(word, PSQL_VALUES).to_owned();
                let is_statement = |word: &String| begins(word, &["--command", "--list", "--version"]);
                let says = |word: &String| is_statement(word) || of(word).contains(['c', 'l', 'V']);
                words.iter().any(|word| {
                    is_wild(word) || begins(word, &["--f", "--o", "--lo"]) || of(word).contains(['f', 'o', 'L'])
                }) || !words.iter().any(says)
            }
            Self::Sqlite => any(is_wild) || any(is_dot_command) || !has_statement(words),
            Self::Sed => sed(words),
        }
    }
}

fn begins(word: &str, with: &[&str]) -> bool {
    with.iter().any(|begin| word.starts_with(begin))
}

/// The letters of an option with one dash: those behind one of `values` are its value.
pub(super) fn letters<'a>(word: &'a str, values: &str) -> &'a str {
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else { return "" };
    letters.split_inclusive(|letter| values.contains(letter)).next().unwrap_or_default()
}

/// Options that make any program only tell of itself.
fn is_about(word: &str) -> bool {
    matches!(word, "--version" | "--help" | "-V" | "-h")
}

/// Whether the word of an interpreter may say that code follows, or that it is read: `-c`, `-e`, also among others; or where its input is.
fn is_code(word: &str) -> bool {
    matches!(word, "-" | "-p" | "eval" | "repl" | "stdin")
        || begins(word, &["--eval", "--print", "--command", "--import", "--require", "--exec"])
        || letters(word, "").contains(['c', 'e', 'E', 'M', 'r'])
        || ["/stdin", "/fd/", "/tty"].iter().any(|input| word.contains(input))
}

/// Whether one of an interpreter's words may name a script.
fn has_script(words: &[String]) -> bool {
    let mut before = "";
    words.iter().any(|word| {
        let is_value = matches!(before, "-I" | "-Q" | "-W" | "-X");
        before = word;
        !word.starts_with('-') && !is_value
    })
}

/// Letters of psql's that have a value.
const PSQL_VALUES: &str = "FLPRTUcdfhopv";

/// Commands of the clients of databases that only show something.
const TAME: [&str; 26] = [
    ".databases",
    ".dump",
    ".exit",
    ".headers",
    ".help",
    ".indexes",
    ".mode",
    ".nullvalue",
    ".quit",
    ".schema",
    ".separator",
    ".show",
    ".tables",
    ".timer",
    "\\conninfo",
    "\\d",
    "\\d+",
    "\\df",
    "\\di",
    "\\dn",
    "\\dt",
    "\\du",
    "\\dv",
    "\\l",
    "\\q",
    "\\x",
];

/// Whether a word of a database's client has something that runs others, or that reads what may.
fn is_wild(word: &str) -> bool {
    let mut plain = word.to_lowercase();
    let is_command = |part: &str| {
        let name = part.split([' ', '\t', '\n', ';']).next().unwrap_or_default();
        !TAME.iter().any(|tame| tame.strip_prefix('\\') == Some(name))
    };
    if plain.split('\\').skip(1).any(is_command) {
        return true;
    }
    plain.retain(|c| !c.is_whitespace());
    let signs = [
        "`",
        "system",
        "source",
        "program",
        "edit(",
        "load_extension",
        "writefile(",
        "-cmd",
        "-init",
        "-file",
        "/dev/",
        "/fd/",
    ];
    signs.iter().any(|sign| plain.contains(sign))
}

/// Whether a line of a word is a command of sqlite's that does more than show: they may be cut to what no other begins with.
fn is_dot_command(word: &str) -> bool {
    word.lines().map(str::trim_start).any(|line| {
        let name = line.split_whitespace().next().unwrap_or_default();
        name.starts_with('.') && !begins(name, &["./", "../"]) && !TAME.contains(&name)
    })
}

/// Whether sqlite is told what to do by its words: without that, it reads it.
fn has_statement(words: &[String]) -> bool {
    let mut before = "";
    let operands = words.iter().filter(|word| {
        let is_value = matches!(
            before.trim_start_matches('-'),
            "heap" | "lookaside" | "maxsize" | "mmap" | "newline" | "nullvalue" | "pagecache" | "separator" | "vfs"
        );
        before = word.as_str();
        !word.starts_with('-') && !is_value
    });
    let says = |word: &String| word.trim().contains(char::is_whitespace) || TAME.contains(&word.trim());
    words.iter().any(|word| matches!(word.trim_start_matches('-'), "version" | "help")) || operands.skip(1).any(says)
}

/// Whether a script of sed's is another than what everybody knows, or comes from elsewhere.
fn sed(words: &[String]) -> bool {
    let mut is_script = true;
    for word in words {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let is = |option: &str| !name.is_empty() && option.starts_with(name);
            if is("file") || is("expression") && value.is_some_and(|script| !is_tame(script)) {
                return true;
            }
            if is("expression") {
                is_script = value.is_none();
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            // Behind `-i` stands what is added to a name.
            let letters = letters.split('i').next().unwrap_or_default();
            if letters.contains('f') {
                return true;
            }
            if let Some((_, script)) = letters.split_once('e') {
                if !script.is_empty() && !is_tame(script) {
                    return true;
                }
                is_script = script.is_empty();
            }
        } else if is_script {
            if !is_tame(word) {
                return true;
            }
            is_script = false;
        }
    }
    false
}

/// Whether a script is one substitution, or prints or deletes lines, and nothing else.
fn is_tame(script: &str) -> bool {
    if script.contains('\n') {
        return false;
    }
    let behind = address(script).and_then(|rest| rest.strip_prefix(',').map_or(Some(rest), address));
    let Some(command) = behind else { return false };
    match command.trim_start_matches('!') {
        "p" | "d" | "q" | "=" => true,
        command => command.strip_prefix('s').is_some_and(is_substitution),
    }
}

/// What stands behind the address of a line, or of none.
fn address(script: &str) -> Option<&str> {
    if let Some(rest) = script.strip_prefix('/') {
        let (pattern, rest) = rest.split_once('/')?;
        return (!pattern.contains('\\')).then_some(rest);
    }
    let rest = script.strip_prefix('$').unwrap_or(script);
    Some(rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// What is between three of the same sign, and flags that only say how often.
fn is_substitution(rest: &str) -> bool {
    let mut signs = rest.chars();
    let Some(sign) = signs.next().filter(char::is_ascii_punctuation).filter(|sign| *sign != '\\') else { return false };
    let mut found = 0;
    while found < 2 {
        match signs.next() {
            Some('\\') => drop(signs.next()),
            Some(next) if next == sign => found += 1,
            Some(_) => {}
            None => return false,
        }
    }
    signs.as_str().chars().all(|flag| flag.is_ascii_digit() || matches!(flag, 'g' | 'p' | 'i' | 'I' | 'm' | 'M'))
}
