//! Programs that run commands by a language of their own: whether the words of one may say so.
//!
//! What cannot be told is said to run something. Words are compared as they are written, for case matters to options.

use alloc::string::String;

/// Whose language it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Language {
    Awk,
    Code,
    Database,
    Make,
    Pager,
    Sed,
}

impl Language {
    /// Whether a program with these words behind its name may run commands.
    pub(in super::super) fn may_run(self, words: &[String]) -> bool {
        let any = |is: fn(&str) -> bool| words.iter().any(|word| is(word));
        match self {
            Self::Awk => any(|word| {
                let loads = ["-f", "-l", "-i", "-E", "-D", "--f", "--l", "--i", "--e", "--d"];
                ["system", "getline", "|", "@"].iter().any(|sign| word.contains(sign)) || begins(word, &loads)
            }),
            // Without a word it reads its code.
            Self::Code => words.is_empty() || any(is_code),
            Self::Database => any(|word| {
                let word = word.to_lowercase();
                ["\\!", "system", ".shell", ".sh ", "program", "\\o", ".o", "\\g", "\\w", "-cmd", "-init", "-file"]
                    .iter()
                    .any(|sign| word.contains(sign))
                    || word.starts_with("-f")
            }),
            // Variables are what its recipes run.
            Self::Make => {
                any(|word| word.contains('=') || begins(word, &["-f", "-E", "-I", "--e", "--f", "--m", "--i"]))
            }
            Self::Pager => any(|word| word.starts_with('+') || begins(word, &["-k", "-o", "-O", "--l"])),
            Self::Sed => sed(words),
        }
    }
}

fn begins(word: &str, with: &[&str]) -> bool {
    with.iter().any(|begin| word.starts_with(begin))
}

/// Whether the word of an interpreter may say that code follows, or that it is read: `-c`, `-e`, also among others.
fn is_code(word: &str) -> bool {
    let among_others =
        || word.len() < 6 && !word.starts_with("--") && word.starts_with('-') && word.contains(['c', 'e', 'E']);
    matches!(word, "-" | "-r" | "-p")
        || begins(word, &["-c", "-e", "-E", "-M", "--eval", "--print", "--command", "--import", "--require", "--exec"])
        || among_others()
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
