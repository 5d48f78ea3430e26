//! Which files the work changes, and how much of each: read off the very output of git that has the patch, so that what is told of a patch
//! is never of another one.

/// Most files that the line of an ending names.
const NAMED_MAX: usize = 5;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Changed,
    New,
    Removed,
}

/// A file that the work changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: String,
    /// How many lines it gets and loses.
    pub(crate) lines: String,
    pub(crate) kind: Kind,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Those that are known by name: of thousands git's output has not all.
    pub(crate) files: Vec<File>,
    /// How many there are.
    pub(crate) total: usize,
}

impl Changed {
    pub(crate) fn of(files: Vec<File>) -> Self {
        let total = files.len();
        Self { files, total }
    }

    /// What `git diff` says with `--shortstat`, then with `--numstat --summary` and, where that was asked for, `--patch`: the files, and the
    /// patch.
    pub(crate) fn parse(said: &str) -> (Self, &str) {
        let begins = |line: &&str| !line.starts_with("diff --git ");
        let head: usize = said.split_inclusive('\n').take_while(begins).map(str::len).sum();
        let (head, patch) = said.split_at(head);
        let mut files: Vec<File> = head.lines().filter_map(numbered).collect();
        for line in head.lines() {
            let (kind, mode) = match (line.strip_prefix(" create mode "), line.strip_prefix(" delete mode ")) {
                (Some(rest), _) => (Kind::New, rest),
                (_, Some(rest)) => (Kind::Removed, rest),
                _ => continue,
            };
            let path = mode.split_once(' ').map_or(mode, |(_, path)| path);
            files.iter_mut().filter(|file| file.path == path).for_each(|file| file.kind = kind);
        }
        let counted = head.lines().find_map(|line| {
            let (count, rest) = line.strip_prefix(' ')?.split_once(' ')?;
            rest.starts_with("file").then(|| count.parse::<usize>().ok())?
        });
        let total = counted.unwrap_or_default().max(files.len());
        (Self { files, total }, patch)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Those that look like tests.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| is_test(&file.path))
    }

    /// Others that say what the command runs which judges the work.
    pub(crate) fn run_by(&self, command: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| !is_test(&file.path) && is_run_by(command, &file.path))
    }

    /// For the line of an ending: what of it decides whether the tests ask what they asked; nothing where nothing does.
    pub(crate) fn asides(&self, command: Option<&str>) -> String {
        let mut text = String::new();
        let tests: Vec<&File> = self.tests().collect();
        if !tests.is_empty() {
            text.push_str(&format!("; tests among them: {}", named(&tests)));
        }
        let command = command.unwrap_or_default();
        let run: Vec<&File> = self.run_by(command).collect();
        if !run.is_empty() {
            text.push_str(&format!("; what `{command}` runs is decided by {}", named(&run)));
        }
        text
    }
}

fn named(files: &[&File]) -> String {
    let name = |file: &&File| {
        let kind = match file.kind {
            Kind::Changed => "changed",
            Kind::New => "new",
            Kind::Removed => "removed",
        };
        format!("`{}` ({kind})", file.path)
    };
    let more = files.len().saturating_sub(NAMED_MAX);
    let shown = files.iter().take(NAMED_MAX).map(name).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A line of `--numstat`.
fn numbered(line: &str) -> Option<File> {
    let mut parts = line.splitn(3, '\t');
    let (added, removed, path) = (parts.next()?, parts.next()?, parts.next()?);
    let lines = if added == "-" { "binary".to_owned() } else { format!("+{added} -{removed}") };
    Some(File { path: path.to_owned(), lines, kind: Kind::Changed })
}

/// Whether a file's path says that it is a test, or belongs to tests: `FooTest.java`, `conftest.py`, `parserSpec.js`, `tests/a.rs`.
fn is_test(path: &str) -> bool {
    const WORDS: [&str; 9] =
        ["test", "tests", "spec", "specs", "testing", "testdata", "conftest", "unittest", "snapshots"];
    let mut word = String::new();
    let mut is_lower = false;
    // The words of a name are set apart by signs, or by a capital letter behind a small one.
    for c in path.chars().chain(['/']) {
        if !c.is_alphanumeric() || c.is_uppercase() && is_lower {
            if WORDS.contains(&word.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit())) {
                return true;
            }
            word.clear();
        }
        if c.is_alphanumeric() {
            word.push(c);
        }
        is_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    false
}

/// Programs that run tests, and the files that tell them which, by their names.
const RUNNERS: [(&[&str], &[&str]); 8] = [
    (&["make", "gmake"], &["Makefile", "makefile", "GNUmakefile"]),
    (&["npm", "npx", "yarn", "pnpm", "bun", "node", "jest", "vitest", "mocha"], &["package.json", "jest.config.js"]),
    (&["cargo"], &["Cargo.toml", "config.toml", "build.rs"]),
    (&["pytest", "python", "python3", "tox", "uv"], &["pyproject.toml", "pytest.ini", "setup.cfg", "tox.ini"]),
    (&["go"], &["go.mod"]),
    (&["gradle", "gradlew"], &["build.gradle", "build.gradle.kts", "gradlew"]),
    (&["mvn", "mvnw"], &["pom.xml", "mvnw"]),
    (&["just"], &["justfile", "Justfile"]),
];

/// Whether a command names a file, or runs a program that is told by it what to run.
fn is_run_by(command: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    command.split(|c: char| c.is_whitespace() || "'\"`;&|()<>=".contains(c)).filter(|word| !word.is_empty()).any(
        |word| {
            let word = word.trim_start_matches("./");
            let program = word.rsplit('/').next().unwrap_or(word);
            let is_told = |(programs, files): &(&[&str], &[&str])| programs.contains(&program) && files.contains(&name);
            word == path
                || path.strip_prefix(word).is_some_and(|rest| rest.starts_with('/'))
                || RUNNERS.iter().any(is_told)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_a_patch_is_told_apart_from_it() {
        let patch = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\t2\tx\n+ create mode 100644 a\n";
        let said = format!(
            " 4 files changed, 3 insertions(+), 2 deletions(-)\n1\t1\ta\n-\t-\tb.bin\n2\t0\ttests/n x.rs\n0\t1\told => new\n \
             create mode 100644 tests/n x.rs\n delete mode 100644 b.bin\n rename old => new (90%)\n\n{patch}"
        );
        let (changed, rest) = Changed::parse(&said);
        let told: Vec<(&str, &str, Kind)> =
            changed.files.iter().map(|file| (file.path.as_str(), file.lines.as_str(), file.kind)).collect();
        let expected = [
            ("a", "+1 -1", Kind::Changed),
            ("b.bin", "binary", Kind::Removed),
            ("tests/n x.rs", "+2 -0", Kind::New),
            ("old => new", "+0 -1", Kind::Changed),
        ];
        assert_eq!((told.as_slice(), changed.total, rest), (expected.as_slice(), 4, patch));
        assert_eq!(Changed::parse(""), (Changed::default(), ""));
        // The middle of a long output is not there.
        let (cut, _) = Changed::parse(" 9000 files changed, 1 insertion(+)\n1\t0\ta\n");
        assert_eq!((cut.files.len(), cut.total), (1, 9_000));
    }

    #[test]
    fn an_ending_names_the_tests_that_were_touched() {
        let file = |path: &str, kind| File { path: path.to_owned(), lines: "+1 -1".to_owned(), kind };
        for (files, command, told) in [
            (vec![file("src/a.rs", Kind::Changed)], Some("cargo test"), ""),
            (
                vec![
                    file("tests/a.rs", Kind::Changed),
                    file("conftest.py", Kind::New),
                    file("b_test.go", Kind::Removed),
                ],
                None,
                "; tests among them: `tests/a.rs` (changed), `conftest.py` (new), `b_test.go` (removed)",
            ),
            (
                vec![file("Makefile", Kind::Changed)],
                Some("make test"),
                "; what `make test` runs is decided by `Makefile` (changed)",
            ),
            (
                (0..7).map(|n| file(&format!("tests/{n}"), Kind::New)).collect(),
                None,
                "; tests among them: `tests/0` (new), `tests/1` (new), `tests/2` (new), `tests/3` (new), `tests/4` (new) and 2 more",
            ),
        ] {
            assert_eq!(Changed::of(files).asides(command), told);
        }
    }

    #[test]
    fn tests_are_known_by_their_names() {
        for (path, is) in [
            ("src/test/java/FooTest.java", true),
            ("FooTest.java", true),
            ("TestFoo.cs", true),
            ("conftest.py", true),
            ("parserSpec.js", true),
            ("parser.spec.ts", true),
            ("test_parser.py", true),
            ("parser_test.go", true),
            ("tests/a.rs", true),
            ("spec/a_spec.rb", true),
            ("testimonials.html", false),
            ("latest.txt", false),
            ("src/inspect.rs", false),
            ("contest/Protest.md", false),
        ] {
            assert_eq!(is_test(path), is, "{path}");
        }
    }

    #[test]
    fn what_a_command_runs_is_known() {
        for (command, path, is) in [
            ("make test", "Makefile", true),
            ("npm test", "web/package.json", true),
            ("cargo test --offline", "Cargo.toml", true),
            ("sh ./check.sh && true", "check.sh", true),
            ("sh scripts/check.sh", "scripts/check.sh", true),
            ("pytest checks", "checks/a.py", true),
            ("make test", "package.json", false),
            ("cargo test", "src/lib.rs", false),
            ("", "Makefile", false),
        ] {
            assert_eq!(is_run_by(command, path), is, "{command}: {path}");
        }
    }
}
