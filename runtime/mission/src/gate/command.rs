//! Scopes of `Bash`: the words of a command.
//!
//! Owned here: what such a scope is, when it takes a simple command, and which commands run others. `git diff *` is `git diff` and whatever
//! words follow, none too; `git diff:*` says the same. An allowance takes a command as it is written and no other; a prohibition also one that
//! may come to the same: another path to it, other case, its options in another order, or run by another command. Never here: how a command is
//! read (`shell`), which comes first.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sortie_contract::limit;

use super::call::Call;
use super::glob::Wild;
use super::runs::{LOOKED_BEHIND_MAX, Runs, git, is_text_by_option, runs};
use super::shell::{Simple, is_never_plain, is_plain};
use super::{Fit, Side};

/// The words of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandScope {
    words: Vec<Wild>,
    /// Whether any words may follow.
    open: bool,
}

/// Of a command that runs others.
const LEFT_OPEN: &str = "the command runs another, which the scope leaves open: name it there, right behind the first";

impl CommandScope {
    /// Parses the scope.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(scope: &str, side: Side) -> Result<Self, String> {
        if let Some(sign) = scope.chars().find(|&sign| !is_of_pattern(sign)) {
            let sign = sign.escape_default();
            return Err(format!(
                "`{sign}` cannot be in a command scope, which is the plain words of one command: write `*` for a word that has it, and an \
                 entry for each command"
            ));
        }
        let mut words: Vec<&str> = scope.split(' ').filter(|word| !word.is_empty()).collect();
        let last = words.last_mut().ok_or_else(|| "there is no command: write `git diff *`".to_owned())?;
        let mut open = false;
        let mut begins = false;
        if *last == "*" {
            open = true;
            words.pop();
        } else if let Some(word) = last.strip_suffix(":*") {
            if word.is_empty() {
                return Err(
                    "before `:*` stands the last word that is meant: write `git diff:*` or `git diff *`".to_owned()
                );
            }
            (*last, open, begins) = (word, true, true);
        }
        if words.first().is_some_and(|first| first.contains('*')) {
            return Err(
                "the command's own name is written in full: write `git *`, or `*` alone for every plain command"
                    .to_owned(),
            );
        }
        if let Some(word) = words.iter().find(|word| word.contains("**")) {
            let quoted = limit::clip(word, limit::QUOTE_BYTES_MAX);
            return Err(format!(
                "`{quoted}`: in a command `*` stands for what one word has there, and at the end for further words"
            ));
        }
        let compiled = words.iter().enumerate().map(|(at, &word)| {
            if side == Side::Allow {
                return Wild::new(word);
            }
            let word = if at == 0 { base(word) } else { word }.to_lowercase();
            // `npm run test:*`: some mean all words that begin with `test`.
            let whole = if begins && at > 0 && at + 1 == words.len() { format!("{word}*") } else { word };
            Wild::new(&whole)
        });
        Ok(Self { words: compiled.collect(), open })
    }

    /// Why it allows less than it seems to, whatever command is meant.
    pub(super) fn idle(&self) -> Option<&'static str> {
        let mut words: Vec<String> = self.words.iter().map(|word| word.head().to_owned()).collect();
        if let Some(why) = words.first().and_then(|first| is_never_plain(first)) {
            return Some(why);
        }
        words.push("x".to_owned());
        (self.open && words.len() > 1 && self.leaves_open(&words)).then_some(LEFT_OPEN)
    }

    /// Whether it allows this simple command; if not, why not, where that is not plain from the words.
    pub(super) fn allows(&self, words: &[String]) -> Fit {
        let is_longer = words.len() > self.words.len();
        if words.len() < self.words.len() || is_longer && !self.open {
            return Fit::No;
        }
        if !self.words.iter().zip(words).all(|(wild, word)| wild.takes(word)) {
            return Fit::No;
        }
        // Whoever has written the whole of a command means that one.
        let is_exact = !self.open && self.words.iter().all(Wild::is_plain);
        if !is_exact && self.leaves_open(words) { Fit::Doubt(LEFT_OPEN) } else { Fit::Yes }
    }

    /// Whether words that it leaves open say what is run: then it would allow any command.
    fn leaves_open(&self, words: &[String]) -> bool {
        let is_fixed = |at: usize| self.words.get(at).is_some_and(Wild::is_plain);
        let is_operand = |at: usize| words.get(at).is_some_and(|word| !word.starts_with('-') && !word.contains('='));
        // Whether further words come from elsewhere.
        let mut fed = false;
        let mut at = 0;
        while at < words.len() {
            let mut free = (at + 1..words.len()).filter(|&at| !is_fixed(at)).map(|at| words[at].as_str());
            let name = base(&words[at]).to_ascii_lowercase();
            at += match runs(&name) {
                Runs::Nothing => return is_text_by_option(&name, &words[at + 1..]),
                Runs::Text => return true,
                Runs::ByOption(options) => {
                    return fed || free.any(|word| options.is_one(word)) || is_text_by_option(&name, &words[at + 1..]);
                }
                Runs::Tame(writes) => {
                    let mut open = (at + 1..words.len()).filter(|&at| !is_fixed(at));
                    return fed
                        || open.any(|at| writes.is_one(&words[at], words.get(at + 1)))
                        || is_text_by_option(&name, &words[at + 1..]);
                }
                Runs::Speaks(language) => return fed || language.may_run(&words[at + 1..]),
                Runs::Git => {
                    let own = words.get(at + 1).map_or("", String::as_str);
                    // Behind its own command nothing is a setting; before it, most options are, or have a value that hides one.
                    return fed
                        || own == "config" && git::sets(&words[at + 2..])
                        || free.any(|word| own.starts_with('-') || git::is_runner(own, word));
                }
                Runs::AfterOne if at + 1 >= words.len() => return fed,
                Runs::AfterOne if is_fixed(at + 1) && is_operand(at + 1) => 2,
                Runs::AfterOne => return true,
                Runs::Duration if at + 1 >= words.len() => return fed,
                Runs::Duration if is_fixed(at + 1) && is_duration(&words[at + 1]) => 2,
                Runs::Duration => return true,
                Runs::Fed => {
                    fed = true;
                    1
                }
                Runs::Shell if at + 1 >= words.len() => return true,
                Runs::Shell | Runs::Next => 1,
            };
            if at < words.len() && !(is_fixed(at) && is_operand(at)) {
                return true;
            }
        }
        fed
    }

    /// Whether a prohibition may mean this simple command.
    fn bars(&self, simple: &Simple) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let Simple { words, runs: kind, .. } = simple;
        let (is_runner, fed) = (kind.is_runner(), *kind == Runs::Fed);
        let behind = 1..if is_runner { words.len().min(LOOKED_BEHIND_MAX) } else { 1 };
        self.hits(words, fed) || behind.into_iter().any(|at| self.hits(&words[at..], fed))
    }

    /// The same, of a command that begins with the first of these words; further ones may come from elsewhere.
    fn hits(&self, words: &[String], fed: bool) -> bool {
        let [first, further @ ..] = self.words.as_slice() else { return true };
        if !first.takes(base(&words[0])) {
            return false;
        }
        let mut at = 1;
        for wanted in further {
            if wanted.head().starts_with('-') {
                // Options may stand anywhere, abbreviated or several in one.
                if !fed && !has_option(&words[1..], wanted) {
                    return false;
                }
                continue;
            }
            // Past options, each of which may have a value.
            let mut may_be_value = false;
            loop {
                let Some(word) = words.get(at) else { return fed };
                at += 1;
                if wanted.takes(word) {
                    break;
                }
                let is_option = word.starts_with('-');
                if !is_option && !may_be_value {
                    return false;
                }
                may_be_value = is_option;
            }
        }
        self.open || fed || words[at..].iter().all(|word| word.starts_with('-'))
    }
}

/// Compares a call's command with the allowances of a mission: each of its simple commands must be taken by one of them.
pub(super) fn allowed(scopes: &[&CommandScope], call: &Call<'_>) -> Fit {
    let plain = match call.command() {
        Ok(plain) => plain,
        Err(why) => return Fit::Doubt(why),
    };
    let one = |words: &Vec<String>| scopes.iter().map(|scope| scope.allows(words)).fold(Fit::No, Fit::or);
    plain.commands().iter().map(one).fold(Fit::Yes, Fit::and)
}

/// Whether a prohibition means a call, for any of its simple commands.
pub(super) fn barred(scope: &CommandScope, call: &Call<'_>) -> Fit {
    let plain = match call.command() {
        Ok(plain) => plain,
        Err(why) => return Fit::Doubt(why),
    };
    let one = |simple: &Simple| match simple.hidden {
        _ if scope.bars(simple) => Fit::Yes,
        Some(why) => Fit::Doubt(why),
        None => Fit::No,
    };
    plain.folded().iter().map(one).fold(Fit::No, Fit::or)
}

/// What may stand in the scope beside the wildcard and blanks.
fn is_of_pattern(sign: char) -> bool {
    u8::try_from(sign).is_ok_and(|byte| is_plain(byte) || b"*^~# ".contains(&byte))
}

/// The name of a command without the way to it.
pub(super) fn base(command: &str) -> &str {
    command.rsplit('/').next().unwrap_or(command)
}

/// `60`, `1.5m`: what `timeout` takes before the command.
fn is_duration(word: &str) -> bool {
    let number = word.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or(word);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether the words may have that option: as it is written, abbreviated, with its value apart, among others in one word, or by its other
/// name, which is guessed by the first letter.
fn has_option(words: &[String], wanted: &Wild) -> bool {
    let mut options = words.iter().map(String::as_str).filter(|word| word.len() > 1 && word.starts_with('-'));
    let short = |word: &str| !word.starts_with("--");
    let name = wanted.head().split('=').next().unwrap_or_default();
    if let Some(long) = name.strip_prefix("--").filter(|long| !long.is_empty()) {
        return options.any(|word| {
            let given = word.split('=').next().unwrap_or(word);
            wanted.takes(word)
                || (given.len() > 2 && name.starts_with(given))
                || short(word) && long.chars().next().is_some_and(|c| word.contains(c))
        });
    }
    let options: Vec<&str> = options.collect();
    if options.iter().any(|word| wanted.takes(word)) {
        return true;
    }
    let has = |letter: char| {
        options.iter().any(|word| if short(word) { word.contains(letter) } else { word[2..].starts_with(letter) })
    };
    name.len() > 1 && name[1..].chars().all(has)
}
