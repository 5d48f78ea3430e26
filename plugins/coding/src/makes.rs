//! What a command of the model's can have made of commits, by its words: the calls of git that it gives, where a shell would take them for
//! calls. What stands in quotes, in a comment or in a here-document is none, and neither is a `git` that another program is told of.
//!
//! The words are read as a shell reads them as far as this needs it. What a script does that the command runs is not seen.

use std::iter::Peekable;
use std::str::Chars;

/// What the calls of git in a command may make.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Makes {
    /// Commits: one for each call that makes one.
    pub(crate) commits: usize,
    /// As many more as others made before, or as there were.
    pub(crate) brings: bool,
    /// What it brings may stand before commits that were there.
    pub(crate) moves: bool,
}

/// How deep commands may stand in commands; beneath that they are not looked at.
const DEPTH_MAX: usize = 8;

/// Commands of git's that make no commit on the branch. What is neither here nor among the others may be an alias of anything.
const NONE: [&str; 117] = [
    "add",
    "annotate",
    "apply",
    "archive",
    "bisect",
    "blame",
    "branch",
    "bugreport",
    "bundle",
    "cat-file",
    "check-attr",
    "check-ignore",
    "check-mailmap",
    "check-ref-format",
    "checkout",
    "checkout-index",
    "cherry",
    "clean",
    "clone",
    "column",
    "commit-graph",
    "commit-tree",
    "config",
    "count-objects",
    "credential",
    "daemon",
    "describe",
    "diagnose",
    "diff",
    "diff-files",
    "diff-index",
    "diff-tree",
    "difftool",
    "fast-export",
    "fetch",
    "fetch-pack",
    "fmt-merge-msg",
    "for-each-ref",
    "for-each-repo",
    "format-patch",
    "fsck",
    "gc",
    "grep",
    "hash-object",
    "help",
    "hook",
    "index-pack",
    "init",
    "init-db",
    "instaweb",
    "interpret-trailers",
    "lfs",
    "log",
    "ls-files",
    "ls-remote",
    "ls-tree",
    "mailinfo",
    "mailsplit",
    "maintenance",
    "merge-base",
    "merge-file",
    "merge-index",
    "merge-one-file",
    "merge-tree",
    "mergetool",
    "mktag",
    "mktree",
    "multi-pack-index",
    "mv",
    "name-rev",
    "notes",
    "pack-objects",
    "pack-redundant",
    "pack-refs",
    "patch-id",
    "prune",
    "prune-packed",
    "push",
    "range-diff",
    "read-tree",
    "reflog",
    "refs",
    "remote",
    "repack",
    "replace",
    "request-pull",
    "rerere",
    "restore",
    "rev-list",
    "rev-parse",
    "rm",
    "send-email",
    "send-pack",
    "shortlog",
    "show",
    "show-branch",
    "show-index",
    "show-ref",
    "sparse-checkout",
    "stage",
    "stash",
    "status",
    "stripspace",
    "submodule",
    "switch",
    "symbolic-ref",
    "tag",
    "unpack-file",
    "unpack-objects",
    "update-index",
    "update-server-info",
    "var",
    "verify-commit",
    "verify-pack",
    "version",
    "whatchanged",
    "worktree",
];

/// Those that make many, or bring along what others made; and whether what they bring may stand before commits that were there.
const MANY: [(&str, bool); 12] = [
    ("am", false),
    ("cherry-pick", false),
    ("fast-import", true),
    ("filter-branch", true),
    ("merge", false),
    // With `pull.rebase` it moves them, which is not in its words.
    ("pull", true),
    ("quiltimport", false),
    ("rebase", true),
    ("replay", true),
    ("revert", false),
    ("subtree", false),
    ("update-ref", true),
];

/// Programs that run the command which they are given: options of theirs that take a word, and how many words stand before the command.
const RUNNERS: [(&str, &[&str], usize); 11] = [
    ("command", &[], 0),
    ("doas", &["-u", "-C"], 0),
    ("env", &["-u", "-C"], 0),
    ("exec", &["-a"], 0),
    ("nice", &["-n"], 0),
    ("nohup", &[], 0),
    ("setsid", &[], 0),
    ("sudo", &["-u", "-g", "-C", "-D", "-h", "-p"], 0),
    ("time", &["-f", "-o"], 0),
    ("timeout", &["-k", "-s"], 1),
    ("xargs", &["-a", "-d", "-E", "-I", "-L", "-n", "-P", "-s"], 0),
];

/// Words of the shell's behind which a command begins.
const BEFORE: [&str; 10] = ["!", "{", "do", "elif", "else", "if", "then", "until", "while", "}"];

/// What a command may make.
pub(crate) fn makes(command: &str) -> Makes {
    let mut makes = Makes::default();
    of_text(command, 0, &mut makes);
    makes
}

fn of_text(text: &str, depth: usize, makes: &mut Makes) {
    let mut reader = Reader { left: text.chars().peekable(), depth, commands: Vec::new(), here: Vec::new() };
    reader.list(None);
    for words in &reader.commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        of_command(&words, depth, makes);
    }
}

/// What a simple command makes.
fn of_command(words: &[&str], depth: usize, makes: &mut Makes) {
    let mut words = words;
    while let Some((first, rest)) = words.split_first() {
        let name = first.rsplit('/').next().unwrap_or_default();
        words = rest;
        if let Some((_, valued, before)) = RUNNERS.iter().find(|(runner, ..)| *runner == name) {
            words = behind_options(words, valued);
            words = words.get(*before..).unwrap_or_default();
            continue;
        }
        match name {
            "git" => return of_git(words, makes),
            "eval" if depth < DEPTH_MAX => return of_text(&words.join(" "), depth + 1, makes),
            "bash" | "dash" | "ksh" | "sh" | "zsh" if depth < DEPTH_MAX => {
                let is_script = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
                let script = words.iter().position(is_script).and_then(|at| words.get(at + 1));
                return script.into_iter().for_each(|script| of_text(script, depth + 1, makes));
            }
            _ if is_assignment(first) || BEFORE.contains(first) => {}
            _ => return,
        }
    }
}

fn is_assignment(word: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        !name.is_empty() && !name.starts_with(|letter: char| letter.is_ascii_digit()) && name.bytes().all(is_of_name)
    })
}

fn behind_options<'w, 't>(words: &'w [&'t str], valued: &[&str]) -> &'w [&'t str] {
    let mut at = 0;
    while let Some(option) = words.get(at).filter(|word| word.starts_with('-')) {
        at += 1 + usize::from(valued.contains(option));
    }
    words.get(at..).unwrap_or_default()
}

/// What one call of git makes.
fn of_git(words: &[&str], makes: &mut Makes) {
    let rest = behind_options(
        words,
        &["-c", "-C", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source"],
    );
    let asks = ["-h", "--help", "-v", "--version"];
    if words[..words.len() - rest.len()].iter().any(|word| asks.contains(word)) {
        return;
    }
    let Some((own, given)) = rest.split_first() else { return };
    let given = &given[..given.iter().position(|word| *word == "--").unwrap_or(given.len())];
    let has = |options: &[&str]| given.iter().any(|word| options.contains(word));
    if has(&["-h", "--help"]) || NONE.contains(own) {
        return;
    }
    match (*own, MANY.iter().find(|(many, _)| many == own)) {
        (_, Some(_)) if has(&["--abort", "--quit"]) => {}
        (_, Some((_, moves))) => {
            makes.brings = true;
            makes.moves |= moves;
        }
        ("reset", _) => {
            let moved = has(&["--hard", "--soft", "--mixed", "--merge", "--keep"])
                && given.iter().any(|word| !word.starts_with('-') && !is_before(word));
            makes.brings |= moved;
            makes.moves |= moved;
        }
        ("commit", _) if has(&["--dry-run"]) => {}
        _ => makes.commits += 1,
    }
}

/// Whether a name is that of what is checked out, or of what came before it.
fn is_before(name: &str) -> bool {
    let rest = name.strip_prefix("HEAD").or_else(|| name.strip_prefix('@'));
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || b"~^".contains(&byte)))
}

/// Takes a text apart into simple commands.
struct Reader<'t> {
    left: Peekable<Chars<'t>>,
    depth: usize,
    commands: Vec<Vec<String>>,
    /// What ends the here-documents that begin with the next line.
    here: Vec<String>,
}

/// A simple command that is being read.
#[derive(Default)]
struct Simple {
    words: Vec<String>,
    word: Option<String>,
    /// The next word is where something goes to or comes from.
    is_redirected: bool,
}

impl Simple {
    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.is_redirected)
        {
            self.words.push(word);
        }
    }

    fn end(&mut self) -> Vec<String> {
        self.end_word();
        std::mem::take(self).words
    }
}

impl Reader<'_> {
    /// Commands one after another, up to what closes them.
    fn list(&mut self, closing: Option<char>) {
        let mut simple = Simple::default();
        while let Some(letter) = self.left.next() {
            match letter {
                _ if Some(letter) == closing => break,
                '\'' => {
                    let quoted: String = self.left.by_ref().take_while(|letter| *letter != '\'').collect();
                    simple.word().push_str(&quoted);
                }
                '"' => self.double_quoted(simple.word()),
                '\\' => match self.left.next() {
                    Some('\n') | None => {}
                    Some(letter) => simple.word().push(letter),
                },
                '$' | '`' => self.maybe_nested(letter, simple.word()),
                '#' if simple.word.is_none() => while self.left.next_if(|letter| *letter != '\n').is_some() {},
                '<' | '>' => self.redirection(letter, &mut simple),
                ';' | '|' | '&' | ')' => self.commands.push(simple.end()),
                '(' => {
                    self.commands.push(simple.end());
                    self.nested(')');
                }
                '\n' => {
                    self.commands.push(simple.end());
                    self.here_documents();
                }
                letter if letter.is_whitespace() => simple.end_word(),
                letter => simple.word().push(letter),
            }
        }
        self.commands.push(simple.end());
    }

    fn nested(&mut self, closing: char) {
        if self.depth < DEPTH_MAX {
            self.depth += 1;
            self.list(Some(closing));
            self.depth -= 1;
        }
    }

    /// What a command prints that stands in a word, or a letter of the word.
    fn maybe_nested(&mut self, letter: char, word: &mut String) {
        word.push(letter);
        if letter == '`' {
            self.nested('`');
        } else if self.left.next_if_eq(&'(').is_some() {
            self.nested(')');
        }
    }

    fn double_quoted(&mut self, word: &mut String) {
        while let Some(letter) = self.left.next() {
            match letter {
                '"' => return,
                '\\' => word.extend(self.left.next()),
                '$' | '`' => self.maybe_nested(letter, word),
                letter => word.push(letter),
            }
        }
    }

    /// `>file`, `2>&1`, `<<END`, `<(command)`.
    fn redirection(&mut self, letter: char, simple: &mut Simple) {
        if self.left.next_if_eq(&'(').is_some() {
            simple.word().push(letter);
            return self.nested(')');
        }
        // The number of what is redirected is no word.
        simple.word.take_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        simple.end_word();
        let is_here = letter == '<' && self.left.next_if_eq(&'<').is_some();
        if is_here && self.left.next_if_eq(&'<').is_none() {
            let is_of_name = |letter: &char| !letter.is_whitespace() && !";|&<>()".contains(*letter);
            while self.left.next_if(|letter| matches!(letter, '-' | ' ' | '\t')).is_some() {}
            let name: String = std::iter::from_fn(|| self.left.next_if(is_of_name)).collect();
            self.here.push(name.replace(['\'', '"', '\\'], ""));
            return;
        }
        while self.left.next_if(|letter| matches!(letter, '>' | '&' | '|')).is_some() {}
        simple.is_redirected = true;
    }

    /// Leaves out the here-documents that begin here.
    fn here_documents(&mut self) {
        for name in std::mem::take(&mut self.here) {
            while self.left.peek().is_some() {
                let line: String = self.left.by_ref().take_while(|letter| *letter != '\n').collect();
                if line.trim_start_matches('\t') == name {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Makes = Makes { commits: 0, brings: false, moves: false };
    const BRINGS: Makes = Makes { brings: true, ..NOTHING };
    const MOVES: Makes = Makes { moves: true, ..BRINGS };

    fn commits(commits: usize) -> Makes {
        Makes { commits, ..NOTHING }
    }

    #[test]
    fn only_calls_of_git_are_counted() {
        for (command, expected) in [
            ("", NOTHING),
            ("git", NOTHING),
            ("git commit -qm x", commits(1)),
            ("git -C sub -c user.name=x --no-pager commit -F msg", commits(1)),
            ("/usr/bin/git commit; \"git\" commit; \\git commit", commits(3)),
            ("cd x && git add -A && git commit -m a || git commit -m b", commits(2)),
            // In quotes, and told of.
            ("git commit -qm 'Teach git rebase to wait'", commits(1)),
            ("git commit -qm \"Teach \\\"git rebase\\\" to wait; git merge\"", commits(1)),
            ("git commit -qm 'Fix git detection'", commits(1)),
            ("grep -rn 'git merge' docs", NOTHING),
            ("grep -rn git merge docs; echo git commit", NOTHING),
            ("which git python; command -v git", NOTHING),
            ("cat .git/config; ls git", NOTHING),
            ("true # git commit\ngit commit -m x # git merge", commits(1)),
            ("git commit -F - <<'END'\ngit merge\n\tgit commit\nEND\ngit commit -m y", commits(2)),
            ("cat > x.sh <<-END 2>&1\n\tgit commit\n\tEND", NOTHING),
            ("git log > git 2>&1 && cat < git", NOTHING),
            ("GIT=git; $GIT commit", NOTHING),
            // Where a command may begin.
            ("GIT_AUTHOR_NAME='A B' X+=1 git commit -m x", commits(1)),
            ("sudo -u ada git commit -m x", commits(1)),
            ("env -u HOME A=b git commit; command git commit; nohup git commit &", commits(3)),
            ("timeout -k 5 10 git commit; time git commit; nice -n 5 git commit", commits(3)),
            ("if ! git commit -m x; then git commit -m y; else { git commit -m z; }; fi", commits(3)),
            ("for f in git commit; do git commit -m $f; done", commits(1)),
            ("(git commit -m a); echo \"$(git commit -m b)\" `git commit -m c` <(git commit -m d)", commits(4)),
            ("git commit -m \"$(cat <<'END'\nit's (git merge)\nEND\n)\" && git commit -m y", commits(2)),
            ("bash -c 'git commit -m x && git merge y'", Makes { brings: true, ..commits(1) }),
            ("sh -ec \"eval 'git commit -m x'\"", commits(1)),
            ("ls | xargs -n 1 git commit -m x --", commits(1)),
        ] {
            assert_eq!(makes(command), expected, "{command}");
        }
        // However deep it goes: what is beneath is not looked at, and nothing overflows.
        for (open, close) in [("$(", ")"), ("(", ")"), ("\"$(", ")\""), ("eval ", "")] {
            let deep = format!("{}git commit{}", open.repeat(10_000), close.repeat(10_000));
            assert!(makes(&deep).commits <= 1, "{open}");
        }
    }

    #[test]
    fn each_command_of_gits_makes_what_it_makes() {
        for (given, expected) in [
            ("ci -am x", commits(1)),
            ("commit --dry-run", NOTHING),
            ("commit --help", NOTHING),
            ("--help commit", NOTHING),
            ("--version", NOTHING),
            ("shortlog -s", NOTHING),
            ("show-ref", NOTHING),
            ("merge-base a b", NOTHING),
            ("merge x", BRINGS),
            ("merge --abort", NOTHING),
            ("cherry-pick x..z", BRINGS),
            ("revert --no-edit HEAD", BRINGS),
            ("am < x.patch", BRINGS),
            ("pull", MOVES),
            ("rebase main", MOVES),
            ("rebase --abort", NOTHING),
            ("reset", NOTHING),
            ("reset a.txt", NOTHING),
            ("reset --hard", NOTHING),
            ("reset --hard HEAD~1", NOTHING),
            ("reset --soft @^^2", NOTHING),
            ("reset --hard other", MOVES),
            ("reset -q --hard HEAD@{1}", MOVES),
        ] {
            assert_eq!(makes(&format!("git {given}")), expected, "{given}");
        }
        assert!(NONE.is_sorted() && MANY.is_sorted(), "in order");
        assert!(!NONE.iter().any(|name| MANY.iter().any(|(many, _)| many == name)), "in one of them");
    }
}
