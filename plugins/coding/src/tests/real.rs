//! The same missions with a real shell and a real git, in a folder of the test's own: what becomes of branches, hooks, clones and paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sortie_plugin::limits::Left;
use sortie_plugin::testing::{Node, Ran};
use sortie_plugin::{CallError, Value, json};

use super::{says, text};
use crate::Coding;

/// A workspace that is gone when the test is over.
struct Workspace(PathBuf);

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Workspace {
    /// With the repository `r`, in which a file is committed.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sortie-coding-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("r")).expect("writable");
        let workspace = Self(folder);
        let made = "[user]\nname = Owner\nemail = owner@localhost\n[init]\ndefaultBranch = main\n[url \"";
        let made = format!("{made}{}/\"]\ninsteadOf = https://example.org/\n", workspace.0.display());
        fs::write(workspace.0.join("gitconfig"), made).expect("writable");
        workspace.must("cd r && git init -q && echo one > a.txt && echo 'target/' > .gitignore && git add -A && git commit -q -m base");
        workspace
    }

    fn bash(&self, command: &str) -> (i64, String, String) {
        bash(&self.0, command)
    }

    fn must(&self, command: &str) -> String {
        let (code, stdout, stderr) = self.bash(command);
        assert_eq!(code, 0, "{command}: {stdout}{stderr}");
        stdout
    }

    fn file(&self, path: &str, content: &str) {
        fs::write(self.0.join(path), content).expect("writable");
    }

    /// A mission whose model makes these calls, one in a turn, and says that it is done; `may` says which commands are allowed.
    fn run(&self, inputs: &Value, calls: &[(&str, Value)], may: fn(&str) -> bool) -> Ran {
        let [read, write, shell] = [self.0.clone(), self.0.clone(), self.0.clone()];
        let node = Node::new()
            .left(Left { llm_calls: None, ..Left::default() }, false)
            .tool("Read", move |given| {
                let content = fs::read_to_string(read.join(text(&given, "path")));
                let content = content.map_err(|_| CallError::Failed("it does not exist".to_owned()))?;
                Ok(json!({ "content": content, "truncated": false }))
            })
            .tool("Write", move |given| {
                let path = write.join(text(&given, "path"));
                if path.ends_with("secret.txt") {
                    return Err(CallError::Denied("this one is not written".to_owned()));
                }
                fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
                fs::write(path, text(&given, "content")).map_err(|error| CallError::Failed(error.to_string()))?;
                Ok(json!({ "path": given["path"] }))
            })
            .tool("Bash", move |given| {
                let command = text(&given, "command");
                if !may(&command) {
                    return Err(CallError::Denied("no entry of allowed_tools means it".to_owned()));
                }
                let (exit_code, stdout, stderr) = bash(&shell, &command);
                Ok(json!({ "exit_code": exit_code, "stdout": stdout, "stderr": stderr, "truncated": false }))
            });
        let turn = |(name, input): &(&str, Value)| {
            let wish = json!({ "type": "tool_use", "id": "t", "name": name, "input": input });
            json!({ "content": [wish], "stop_reason": "tool_use" })
        };
        let node = calls
            .iter()
            .map(turn)
            .chain([says("done"), says("done")])
            .fold(node, |node, answer| node.model(Ok(answer)));
        node.run::<Coding>(Node::brief("Mend it.", inputs))
    }
}

fn bash(folder: &Path, command: &str) -> (i64, String, String) {
    let output = Command::new("bash")
        .args(["-c", command])
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", folder.join("gitconfig"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .expect("these tests ask bash and git");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().map_or(-1, i64::from), said(&output.stdout), said(&output.stderr))
}

fn write(path: &str, content: &str) -> (&'static str, Value) {
    ("Write", json!({ "path": path, "content": content }))
}

fn command(command: &str) -> (&'static str, Value) {
    ("Bash", json!({ "command": command }))
}

fn here() -> Value {
    json!({ "repository": "r" })
}

fn summary(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.artifacts["summary.md"]).into_owned()
}

fn patch(ran: &Ran) -> String {
    ran.artifacts.get("changes.patch").map(|patch| String::from_utf8_lossy(patch).into_owned()).unwrap_or_default()
}

fn anything(_: &str) -> bool {
    true
}

#[test]
fn what_was_written_and_is_there_is_in_the_patch_and_all_else_is_told() {
    let workspace = Workspace::new("written");
    let calls = [
        write("scratch.py", "for now"),
        write("src/new.rs", "new"),
        write("[ab]*.txt", "literal"),
        write("target/out.txt", "ignored"),
        write("sub/inner.txt", "of another repository"),
        command("rm scratch.py && touch b1.txt && git init -q sub"),
    ];
    let ran = workspace.run(&here(), &calls, anything);
    let (patch, summary) = (patch(&ran), summary(&ran));
    assert!(ran.outcome.is_ok(), "{:?}\n{summary}", ran.outcome);
    assert!(patch.contains("b/src/new.rs") && patch.contains("b/[ab]*.txt"), "{patch}");
    assert!(!["b1.txt", "scratch", "out.txt"].iter().any(|path| patch.contains(path)), "{patch}");
    assert!(summary.contains("`target/out.txt` was written, and git ignores it"), "{summary}");
    assert!(summary.contains("`b1.txt`") && summary.contains("`sub/`"), "{summary}");
}

#[test]
fn what_a_command_made_where_a_write_was_refused_is_not_taken_for_written() {
    let workspace = Workspace::new("refused");
    let calls = [write("secret.txt", "refused"), write("kept.txt", "kept"), command("echo made > secret.txt")];
    let ran = workspace.run(&here(), &calls, anything);
    assert!(patch(&ran).contains("b/kept.txt") && !patch(&ran).contains("secret"), "{}", patch(&ran));
    assert!(summary(&ran).contains("`secret.txt`"), "{}", summary(&ran));
}

#[test]
fn many_files_are_added_in_portions() {
    let workspace = Workspace::new("many");
    let many: Vec<_> = (0..120).map(|n| write(&format!("many/{n}-{}.txt", "x".repeat(90)), "m")).collect();
    let inputs = json!({ "repository": "r", "max_turns": 200 });
    let ran = workspace.run(&inputs, &many, |command| command.len() < 16 << 10);
    assert_eq!(patch(&ran).matches("\nnew file mode").count(), 120, "{:?}", ran.outcome);
}

#[test]
fn the_missions_branch_has_the_work_wherever_the_model_went() {
    for (name, stray) in [
        ("elsewhere", "git checkout -q -b elsewhere"),
        ("detached", "git checkout -q --detach"),
        ("orphan", "git checkout -q --orphan alone"),
        ("committed", "git checkout -q -b elsewhere && git add -A && git commit -q -m mine"),
    ] {
        let workspace = Workspace::new(name);
        let ran = workspace.run(&here(), &[write("new.txt", "new"), command(stray)], anything);
        let summary = summary(&ran);
        assert!(ran.outcome.is_ok(), "{name}: {:?}\n{summary}", ran.outcome);
        assert_eq!(workspace.must("cd r && git show mission/test:new.txt"), "new", "{name}");
        assert!(summary.contains("The model had switched to"), "{name}: {summary}");
    }
    let workspace = Workspace::new("stays");
    let ran = workspace.run(&here(), &[write("new.txt", "new")], anything);
    assert!(!summary(&ran).contains("switched"), "{}", summary(&ran));
}

#[test]
fn hooks_are_not_run_where_the_mission_may_say_so_and_are_told_elsewhere() {
    for (name, may, runs) in [("hooks", anything as fn(&str) -> bool, false), ("hooks-scoped", scoped, true)] {
        let workspace = Workspace::new(name);
        let hook = format!("#!/bin/sh\necho \"$0\" >> '{}'\n", workspace.0.join("hooked").display());
        for hooked in [
            "post-checkout",
            "prepare-commit-msg",
            "post-commit",
            "pre-commit",
            "post-index-change",
            "reference-transaction",
        ] {
            workspace.file(&format!("r/.git/hooks/{hooked}"), &hook);
        }
        workspace.must("chmod +x r/.git/hooks/*");
        let ran = workspace.run(&here(), &[write("new.txt", "new")], may);
        let hooked = workspace.bash("cat hooked").1;
        assert!(ran.outcome.is_ok() && patch(&ran).contains("b/new.txt"), "{name}: {:?}", ran.outcome);
        assert_eq!(!hooked.is_empty(), runs, "{name}: {hooked}");
        assert_eq!(
            summary(&ran).contains("what the repository has git run was run"),
            runs,
            "{name}: {}",
            summary(&ran)
        );
    }
}

/// As the gate takes them under `Bash(cd *)` and `Bash(git *)`.
fn scoped(command: &str) -> bool {
    !command.contains("git -c ")
}

#[test]
fn commits_that_a_hook_made_are_told_and_the_counts_are_those_of_the_patch() {
    let again =
        "#!/bin/sh\n[ -n \"$HOOKED\" ] && exit 0\nexport HOOKED=1\necho hooked >> hooked.txt\ngit add hooked.txt\n";
    let adds = format!("{again}git commit -q -m 'Tidy `up`'\n");
    let amends = format!("{again}git commit -q --amend --no-edit\n");
    let own = || command("git add -A && git commit -q -m 'My own'");
    let made = |what: &str| format!("1 commit was made by something else (a hook?): {what}");
    for (name, hook, script, may, calls, told) in [
        ("after", "post-commit", &adds, scoped as fn(&str) -> bool, vec![], Some("Tidy  up")),
        ("amended", "post-commit", &amends, scoped, vec![], Some("Mend it")),
        ("before", "post-checkout", &adds, scoped, vec![], Some("Tidy  up")),
        ("of-the-model", "post-commit", &adds, scoped, vec![own()], Some("Tidy  up")),
        // Its own git calls run hooks wherever it may call git.
        ("unscoped", "post-commit", &adds, anything, vec![own()], Some("Tidy  up")),
        ("none", "post-commit", &adds, anything, vec![], None),
        ("own", "post-merge", &adds, scoped, vec![own(), write("late.txt", "late")], None),
    ] {
        let workspace = Workspace::new(&format!("made-{name}"));
        workspace.file(&format!("r/.git/hooks/{hook}"), script);
        workspace.must("chmod +x r/.git/hooks/*");
        let calls: Vec<_> = [write("new.txt", "new\n")].into_iter().chain(calls).collect();
        let ran = workspace.run(&here(), &calls, may);
        let (patch, summary) = (patch(&ran), summary(&ran));
        let ending = ran.outcome.expect(name).summary;
        match told {
            Some(subject) => {
                for text in [&ending, &summary] {
                    let (_, rest) = text.split_once(&made("")).unwrap_or_else(|| panic!("{name}: {text}"));
                    assert!(rest.get(8..).is_some_and(|rest| rest.starts_with(subject)), "{name}: {text}");
                }
            }
            None => {
                assert!(!ending.contains("something else") && !summary.contains("something else"), "{name}: {summary}");
            }
        }
        // What the summary counts is what the patch has, and the patch is what the branch has.
        let counted = workspace.must("cd r && git diff --numstat main mission/test");
        assert!(told.is_none() || counted.contains("hooked.txt"), "{name}: {counted}");
        for line in counted.lines() {
            let (added, path) = line.split_once("\t0\t").expect("lines are only added");
            assert!(summary.contains(&format!("- `{path}` +{added} -0 (new)\n")), "{name}: {path}: {summary}");
            assert!(patch.contains(&format!("+++ b/{path}\n")), "{name}: {path}: {patch}");
        }
        assert_eq!(patch.matches("\n+++ b/").count(), counted.lines().count(), "{name}: {patch}");
        let count = counted.lines().count();
        let files = if count == 1 { "1 file is changed".to_owned() } else { format!("{count} files are changed") };
        assert!(ending.starts_with(&files), "{name}: {ending}");
    }
}

#[test]
fn a_patch_of_bytes_is_of_what_is_checked_out_also_where_the_model_went_back() {
    let workspace = Workspace::new("went-back");
    workspace.must("cd r && printf 'a\\r\\nb\\r\\n' > crlf.txt && git add -A && git commit -q -m crlf");
    let ran = workspace.run(&here(), &[command("git reset -q --hard HEAD~1")], anything);
    let ending = ran.outcome.expect("something is changed").summary;
    assert!(ending.starts_with("1 file is changed"), "{ending}");
    let mail = workspace.must("cat worktrees/test.patch");
    let (_, body) = mail.split_once("\n\n").expect("headers");
    workspace.file("body", body);
    let body = workspace.must("base64 -d body");
    assert!(body.contains("deleted file mode") && body.contains("-a\r\n"), "{body}");
}

#[test]
fn an_ending_names_the_tests_that_were_touched_and_what_runs_them() {
    let workspace = Workspace::new("weakened");
    workspace
        .must("cd r && echo 'exit 1' > check.sh && echo old > old_test.txt && git add -A && git commit -q -m tests");
    let calls = [write("check.sh", "exit 0\n"), write("new_test.txt", "new\n"), command("git rm -q old_test.txt")];
    let inputs = json!({ "repository": "r", "test": "sh check.sh" });
    let ran = workspace.run(&inputs, &calls, anything);
    let told = "3 files are changed, the tests pass; tests among them: `new_test.txt` (new), `old_test.txt` (removed); \
                what `sh check.sh` runs is decided by `check.sh` (changed)";
    assert_eq!(ran.outcome.expect("it passes").summary, told);
}

#[test]
fn what_the_configuration_has_git_run_is_not_run_where_the_mission_may_say_so() {
    for (name, may, runs) in [("monitor", anything as fn(&str) -> bool, false), ("monitor-scoped", scoped, true)] {
        let workspace = Workspace::new(name);
        let monitor = workspace.0.join("monitor.sh");
        let seen = workspace.0.join("seen");
        workspace.file("monitor.sh", &format!("#!/bin/sh\necho monitor >> '{}'\n", seen.display()));
        let text = format!("#!/bin/sh\necho text >> '{}'\ncat \"$1\"\n", seen.display());
        workspace.file("text.sh", &text);
        workspace.must("chmod +x monitor.sh text.sh");
        workspace.must(&format!(
            "cd r && git config core.fsmonitor '{}' && git config diff.shown.textconv '{}' && git config diff.external '{}' && \
             echo '*.txt diff=shown' > .gitattributes && git add -A && git commit -q -m attributes && rm -f '{}'",
            monitor.display(),
            workspace.0.join("text.sh").display(),
            workspace.0.join("text.sh").display(),
            seen.display()
        ));
        let ran = workspace.run(&here(), &[write("a.txt", "two\n")], may);
        assert!(ran.outcome.is_ok() && patch(&ran).contains("+two"), "{name}: {:?}", ran.outcome);
        let seen = workspace.bash("cat seen").1;
        assert_eq!(seen.contains("monitor"), runs, "{name}: {seen}");
        assert!(!seen.contains("text"), "{name}: no diff of the plugin's asks another program: {seen}");
    }
}

#[test]
fn a_clone_has_every_branch_and_is_whole() {
    let workspace = Workspace::new("clone");
    workspace.must("cd r && git checkout -q -b feature && echo two > two.txt && git add -A && git commit -q -m two && git checkout -q main");
    // What a clone leaves that was killed.
    workspace.must("mkdir -p clones && git init -q clones/test.part");
    let inputs = json!({ "repository": "https://example.org/r", "base": "feature" });
    let ran = workspace.run(&inputs, &[write("new.txt", "new")], anything);
    assert!(ran.outcome.is_ok(), "{:?}", ran.outcome);
    assert!(!patch(&ran).contains("two.txt"), "it begins at the branch: {}", patch(&ran));
    assert_eq!(workspace.must("cd clones/test && git show mission/test:two.txt"), "two\n");
    let ran = workspace.run(&json!({ "repository": "https://example.org/r", "base": "nowhere" }), &[], anything);
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("no commit `nowhere`")));
}
