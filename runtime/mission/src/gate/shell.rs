//! Shell commands that can be told from their text: lists of simple commands of plain words.
//!
//! Owned here: which commands those are, and the words that each runs. Two readers must agree: the one in this file, which knows the plain
//! part of the language and nothing else, and `brush-parser`, which knows bash. The first one comes first, and is what makes the second
//! safe to ask: what it lets through nests nowhere, so that nothing recurses; has no number that is too large for it; and has nothing that
//! is looked up in a memory of its own. Never here: which commands are allowed.
//!
//! Plain are words of letters, digits and harmless signs, with quotes and backslashes (not before a line end), separated by blanks;
//! commands separated by `;`, `&`, `&&`, `|`, `|&`, `||` and line ends; comments; and redirections that touch no file: `2>&1`, `>/dev/null`,
//! `</dev/null` and their like. Anything else is not, whatever it does: `$`, backquotes, globs, braces, tildes, parentheses, other
//! redirections, assignments, reserved words, control characters, characters beyond ASCII outside quotes, and builtins that run their words
//! as code or change what later words mean.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::mem;

use brush_parser::ast::{AndOr, Command, CommandPrefixOrSuffixItem as Item, Pipeline, Program};
use brush_parser::{Parser, ParserOptions, SourceInfo};

use super::command::base;
use super::runs::{self, Runs};

/// Longest command that is read, in bytes: what people and models write is far shorter, and reading takes time.
const COMMAND_BYTES_MAX: usize = 16 << 10;

/// Most simple commands of one: each is compared with each pattern.
const COMMANDS_MAX: usize = 64;

/// A command that is plain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// The words of each simple command, without their quotes; at least one command, each of at least one word.
    commands: Vec<Vec<String>>,
    /// The same as prohibitions see them.
    folded: OnceCell<Vec<Simple>>,
}

/// A simple command as prohibitions see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Simple {
    /// Its words in lower case.
    pub(super) words: Vec<String>,
    /// What a command of its name runs.
    pub(super) runs: Runs,
    /// Why it may run what its words do not say.
    pub(super) hidden: Option<&'static str>,
}

impl Plain {
    pub(super) fn commands(&self) -> &[Vec<String>] {
        &self.commands
    }

    pub(super) fn folded(&self) -> &[Simple] {
        let lower = |written: &Vec<String>| {
            let words: Vec<String> = written.iter().map(|word| word.to_lowercase()).collect();
            let (runs, hidden) = (runs::runs(base(&words[0])), runs::hidden(written, &words));
            Simple { words, runs, hidden }
        };
        self.folded.get_or_init(|| self.commands.iter().map(lower).collect())
    }
}

/// Words that a shell does not take for the name of a command.
const RESERVED: [&str; 22] = [
    "!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if",
    "in", "select", "then", "time", "until", "while",
];

/// Builtins that run their words as code, evaluate them (`read 'x[$(id)]'`), or change what later words mean.
const CHANGING: [&str; 30] = [
    ".",
    "alias",
    "bind",
    "compgen",
    "complete",
    "compopt",
    "declare",
    "enable",
    "eval",
    "export",
    "fc",
    "getopts",
    "hash",
    "history",
    "jobs",
    "let",
    "local",
    "mapfile",
    "read",
    "readarray",
    "readonly",
    "set",
    "shift",
    "shopt",
    "source",
    "trap",
    "typeset",
    "unalias",
    "unset",
    "wait",
];

/// What a plain command runs.
///
/// # Errors
/// Why it is not plain, in words that go on after "its command" and the like.
pub(super) fn plain(command: &str) -> Result<Plain, &'static str> {
    if command.len() > COMMAND_BYTES_MAX {
        return Err("the command is too long to be looked into");
    }
    let mut reader = Reader { text: command, bytes: command.as_bytes(), at: 0, words: Vec::new(), all: Vec::new() };
    reader.read()?;
    let commands: Vec<Vec<Word<'_>>> = reader.all;
    if commands.is_empty() {
        return Err("there is no command");
    }
    let raw = commands.iter().map(|words| words.iter().map(|word| word.raw));
    if !is_one_of_bare_words(command) && !agrees(command, raw) {
        return Err("the command can be read in more than one way");
    }
    let texts = |words: Vec<Word<'_>>| words.into_iter().map(|word| word.text).collect();
    Ok(Plain { commands: commands.into_iter().map(texts).collect(), folded: OnceCell::new() })
}

/// Why no command that begins with this word is plain.
pub(super) fn is_never_plain(first: &str) -> Option<&'static str> {
    if RESERVED.contains(&first) {
        return Some("the command uses a reserved word of the shell");
    }
    if CHANGING.contains(&first) {
        return Some("the command runs a builtin that runs code or changes what follows");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./+@,".contains(&byte);
    if !first.bytes().all(is_name) || !first.starts_with(|c: char| c.is_ascii_alphanumeric() || "_./".contains(c)) {
        return Some("the command begins with an assignment, or with what is no command's name");
    }
    None
}

/// Whether a character stands for itself outside quotes, wherever it is in a word.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:,+@%=".contains(&byte)
}

struct Word<'a> {
    /// As it is written.
    raw: &'a str,
    /// Without its quotes.
    text: String,
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Of the command that is being read.
    words: Vec<Word<'a>>,
    all: Vec<Vec<Word<'a>>>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn read(&mut self) -> Result<(), &'static str> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    if !self.words.is_empty() {
                        self.end()?;
                    }
                }
                b'#' => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                b'&' if self.peek(1) == Some(b'>') => self.redirection()?,
                b';' | b'&' | b'|' => {
                    self.at += match (byte, self.peek(1)) {
                        (b';', Some(b';' | b'&')) => return Err("the command is no list of simple commands"),
                        (b'&', Some(b'&')) | (b'|', Some(b'|' | b'&')) => 2,
                        _ => 1,
                    };
                    self.end()?;
                }
                b'<' | b'>' => self.redirection()?,
                // The number of what is redirected.
                b'0'..=b'9' if matches!(self.peek(1), Some(b'<' | b'>')) => {
                    self.at += 1;
                    self.redirection()?;
                }
                _ => self.word()?,
            }
        }
        if self.words.is_empty() { Ok(()) } else { self.end() }
    }

    /// The end of a simple command.
    fn end(&mut self) -> Result<(), &'static str> {
        let words = mem::take(&mut self.words);
        let first = words.first().ok_or("the command is no list of simple commands")?;
        if let Some(why) = is_never_plain(&first.text) {
            return Err(why);
        }
        let has = |wanted: &[&str]| words[1..].iter().any(|word| wanted.contains(&word.text.as_str()));
        let starts = |option: &str| words[1..].iter().any(|word| word.text.starts_with(option));
        let is_changing = match first.text.as_str() {
            "command" | "builtin" | "exec" => has(&CHANGING) || has(&["printf", "test", "exec", "command", "builtin"]),
            // They take a variable's name, whose subscript is code.
            "printf" => starts("-v"),
            "test" => has(&["-v", "-R"]),
            _ => false,
        };
        if is_changing {
            return Err("the command runs a builtin that runs code or changes what follows");
        }
        if self.all.len() >= COMMANDS_MAX {
            return Err("the command has too many parts to be looked into");
        }
        self.all.push(words);
        Ok(())
    }

    /// One that touches no file: to another standard stream, or from or to `/dev/null`.
    fn redirection(&mut self) -> Result<(), &'static str> {
        const WHY: &str = "the command reads or writes a file by redirection";
        let rest = &self.text[self.at..];
        let (operator, target) = [">&", "&>>", "&>", ">>", ">", "<"]
            .into_iter()
            .find_map(|operator| Some((operator, rest.strip_prefix(operator)?)))
            .ok_or(WHY)?;
        let target = target.trim_start_matches([' ', '\t']);
        let wanted: &[&str] = if operator == ">&" { &["1", "2"] } else { &["/dev/null"] };
        let rest = wanted.iter().find_map(|wanted| target.strip_prefix(wanted)).ok_or(WHY)?;
        if !rest.bytes().next().is_none_or(|byte| b" \t\n;&|".contains(&byte)) {
            return Err(WHY);
        }
        self.at = self.text.len() - rest.len();
        Ok(())
    }

    fn word(&mut self) -> Result<(), &'static str> {
        let begin = self.at;
        let mut text = String::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' => break,
                b'<' | b'>' => {
                    // `10>x` is a number, `a1>x` is a word: nobody writes either without meaning the first.
                    return Err("the command has a redirection beside a word");
                }
                b'\'' => self.single(&mut text)?,
                b'"' => self.double(&mut text)?,
                b'\\' => {
                    let next = self.peek(1).filter(|byte| matches!(byte, b' '..=b'~'));
                    text.push(char::from(
                        next.ok_or("the command has a backslash before a line end or at its own end")?,
                    ));
                    self.at += 2;
                }
                b'^' | b'#' if self.at > begin => self.itself(byte, &mut text),
                // `HEAD~1`: only at the beginning of a word, or behind `:` and `=`, is it a home.
                b'~' if self.at > begin && self.bytes[self.at - 1].is_ascii_alphanumeric() => {
                    self.itself(byte, &mut text);
                }
                byte if is_plain(byte) => self.itself(byte, &mut text),
                b'$' | b'`' => return Err("the command substitutes (`$` or backquotes)"),
                b'*' | b'?' | b'[' | b']' => return Err("the command has a glob outside quotes"),
                b'{' | b'}' => return Err("the command has braces outside quotes"),
                b'~' => return Err("the command has a tilde that may be a home"),
                b'(' | b')' => return Err("the command has parentheses (a subshell or a function)"),
                b'!' | b'^' => return Err("the command has a negation or refers to history"),
                0x80.. => return Err("the command has characters beyond ASCII outside quotes"),
                _ => return Err("the command has control characters"),
            }
        }
        self.words.push(Word { raw: &self.text[begin..self.at], text });
        Ok(())
    }

    fn itself(&mut self, byte: u8, text: &mut String) {
        text.push(char::from(byte));
        self.at += 1;
    }

    fn single(&mut self, text: &mut String) -> Result<(), &'static str> {
        let rest = &self.text[self.at + 1..];
        let end = rest.find('\'').ok_or(UNCLOSED)?;
        text.push_str(without_controls(&rest[..end])?);
        self.at += end + 2;
        Ok(())
    }

    fn double(&mut self, text: &mut String) -> Result<(), &'static str> {
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(['"', '\\', '$', '`', '!']).ok_or(UNCLOSED)?;
            text.push_str(without_controls(&rest[..end])?);
            self.at += end + 1;
            match (rest.as_bytes()[end], self.peek(0)) {
                (b'"', _) => return Ok(()),
                (b'\\', Some(escaped @ (b'"' | b'\\' | b'$' | b'`'))) => self.itself(escaped, text),
                (b'\\', Some(b'\n')) => return Err("the command has a backslash before a line end or at its own end"),
                (b'\\', _) => text.push('\\'),
                (b'!', _) => return Err("the command has a negation or refers to history"),
                _ => return Err("the command substitutes (`$` or backquotes)"),
            }
        }
    }
}

const UNCLOSED: &str = "the command has a quote that is not closed";

fn without_controls(text: &str) -> Result<&str, &'static str> {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_bad) { Err("the command has control characters") } else { Ok(text) }
}

/// Whether there is nothing in it but words that stand for themselves, and blanks between them: no two readers can disagree about that, and
/// the second one takes its time. Of what the first one lets through.
fn is_one_of_bare_words(command: &str) -> bool {
    command.bytes().all(|byte| is_plain(byte) || matches!(byte, b' ' | b'~'))
}

/// Whether bash's grammar finds the same commands, of the same words.
fn agrees<'a, W: Iterator<Item = &'a str>>(command: &str, expected: impl Iterator<Item = W>) -> bool {
    let options = ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() };
    let Ok(program) = Parser::new(command.as_bytes(), &options, &SourceInfo::default()).parse_program() else {
        return false;
    };
    let mut found = simple_commands(&program);
    for words in expected {
        if !found.next().flatten().is_some_and(|found| found.into_iter().eq(words)) {
            return false;
        }
    }
    found.next().is_none()
}

/// The commands of a program, each by its words; `None` for one that is not simple.
fn simple_commands(program: &Program) -> impl Iterator<Item = Option<Vec<&str>>> {
    let lists = program.complete_commands.iter().flat_map(|list| &list.0);
    let pipelines = lists.flat_map(|item| {
        let further = item.0.additional.iter().map(|(AndOr::And(pipeline) | AndOr::Or(pipeline))| pipeline);
        core::iter::once(&item.0.first).chain(further)
    });
    pipelines.flat_map(|pipeline: &Pipeline| {
        let is_plain = !pipeline.bang && pipeline.timed.is_none();
        pipeline.seq.iter().map(move |command| simple(command).filter(|_| is_plain))
    })
}

fn simple(command: &Command) -> Option<Vec<&str>> {
    let Command::Simple(simple) = command else { return None };
    let redirects = simple.prefix.iter().flat_map(|prefix| &prefix.0).all(|item| matches!(item, Item::IoRedirect(_)));
    let mut words: Vec<&str> = simple.word_or_name.iter().map(|word| word.value.as_str()).collect();
    for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            Item::IoRedirect(_) => {}
            Item::Word(word) | Item::AssignmentWord(_, word) => words.push(&word.value),
            Item::ProcessSubstitution(..) => return None,
        }
    }
    redirects.then_some(words)
}

#[cfg(test)]
mod tests;
