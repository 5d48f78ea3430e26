//! Repositories as they are found.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::with;

use super::{Bench, applied, call, coding, commit_all, git, git_must, says, turn};

/// A repository, what a model writes there, and what then stands in a fresh checkout with the patch.
struct Strange {
    name: &'static str,
    make: fn(&Path),
    writes: Vec<(&'static str, Value)>,
    becomes: Vec<(&'static str, Vec<u8>)>,
    /// What stands in `summary.md`.
    told: &'static str,
}

fn file(at: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = at.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    fs::write(path, bytes).expect("writable");
}

fn edit(path: &str, old: &str, new: &str) -> (&'static str, Value) {
    ("Edit", json!({"path": path, "old": old, "new": new}))
}

fn bash(command: &str) -> (&'static str, Value) {
    ("Bash", json!({"command": command}))
}

fn large() -> String {
    (0..200_000).map(|n| format!("line {n:05} {}\n", "-".repeat(40))).collect::<String>()
}

fn cases() -> Vec<Strange> {
    let case = |name, make, writes, becomes: &[(&'static str, &str)], told| {
        let becomes = becomes.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
        Strange { name, make, writes, becomes, told }
    };
    vec![
        case(
            "crlf",
            |at| {
                file(at, "a.txt", "one\r\ntwo\r\nthree\r\n");
                commit_all(at);
            },
            vec![edit("a.txt", "two", "zwei")],
            &[("a.txt", "one\r\nzwei\r\nthree\r\n")],
            "",
        ),
        case(
            "no-newline",
            |at| {
                file(at, "a.txt", "one\ntwo");
                commit_all(at);
            },
            vec![edit("a.txt", "two", "zwei"), ("Write", json!({"path": "b.txt", "content": "new, without an end"}))],
            &[("a.txt", "one\nzwei"), ("b.txt", "new, without an end")],
            "",
        ),
        case(
            "unicode",
            |at| {
                file(at, "grüße/an dich \u{1f600}.txt", "hallo\n");
                commit_all(at);
            },
            vec![edit("grüße/an dich \u{1f600}.txt", "hallo", "grüß dich")],
            &[("grüße/an dich \u{1f600}.txt", "grüß dich\n")],
            "",
        ),
        Strange {
            name: "binary",
            make: |at| {
                file(at, "a.bin", [0, 159, 146, 150, 0]);
                file(at, "latin.txt", b"caf\xe9\n");
                commit_all(at);
            },
            writes: vec![bash("printf '\\000\\377\\001' > a.bin"), bash("printf 'th\\351\\n' >> latin.txt")],
            becomes: vec![("a.bin", vec![0, 255, 1]), ("latin.txt", b"caf\xe9\nth\xe9\n".to_vec())],
            told: "binary",
        },
        Strange {
            name: "large",
            make: |at| {
                file(at, "large.txt", large());
                commit_all(at);
            },
            // Each line: the patch is larger than any result of a command.
            writes: vec![bash("sed 's/line/Zeile/' large.txt > t && mv t large.txt")],
            becomes: vec![("large.txt", large().replace("line", "Zeile").into_bytes())],
            told: "`large.txt` +200000 -200000",
        },
        case(
            "dirty",
            |at| {
                file(at, "a.txt", "one\n");
                file(at, "b.txt", "one\n");
                commit_all(at);
                file(at, "a.txt", "mine, not yet committed\n");
                file(at, "untracked.txt", "mine\n");
            },
            vec![edit("b.txt", "one", "two")],
            &[("a.txt", "one\n"), ("b.txt", "two\n")],
            "has 1 changed files that are in no commit",
        ),
        case(
            "merge",
            |at| {
                file(at, "a.txt", "one\n");
                file(at, "b.txt", "one\n");
                commit_all(at);
                git_must(at, &["checkout", "-q", "-b", "other"]);
                file(at, "a.txt", "theirs\n");
                git_must(at, &["commit", "-q", "-a", "-m", "theirs"]);
                git_must(at, &["checkout", "-q", "main"]);
                file(at, "a.txt", "ours\n");
                git_must(at, &["commit", "-q", "-a", "-m", "ours"]);
                assert!(!git(at, &["merge", "other"]).0, "it conflicts");
            },
            vec![edit("b.txt", "one", "two")],
            &[("a.txt", "ours\n"), ("b.txt", "two\n")],
            "1 of them in an unfinished merge",
        ),
        case(
            "submodule",
            |at| {
                let inner = at.with_extension("inner");
                file(&inner, "i.txt", "inner\n");
                commit_all(&inner);
                file(at, "a.txt", "one\n");
                commit_all(at);
                git_must(at, &["submodule", "add", "-q", &inner.display().to_string(), "inner"]);
                git_must(at, &["commit", "-q", "-m", "with a submodule"]);
            },
            vec![edit("a.txt", "one", "two")],
            &[("a.txt", "two\n")],
            "The repository has submodules",
        ),
        case(
            "many",
            |at| {
                for n in 0..20_000 {
                    file(at, &format!("d{}/f{n}.txt", n % 200), format!("{n}\n"));
                }
                commit_all(at);
            },
            vec![
                edit("d7/f7.txt", "7", "seven"),
                ("Glob", json!({"pattern": "**/*.txt"})),
                ("Grep", json!({"pattern": "^19999$"})),
            ],
            &[("d7/f7.txt", "seven\n"), ("d0/f0.txt", "0\n")],
            "",
        ),
        case(
            "made-by-commands",
            |at| {
                file(at, "a.txt", "one\n");
                file(at, ".gitignore", "target/\n");
                commit_all(at);
            },
            vec![
                ("Write", json!({"path": "gone.txt", "content": "for now\n"})),
                ("Write", json!({"path": "kept.txt", "content": "kept\n"})),
                bash(
                    "mkdir target && echo x > target/x && echo junk > junk.log && echo new > new.txt && git add new.txt && rm a.txt gone.txt",
                ),
            ],
            &[("new.txt", "new\n"), ("kept.txt", "kept\n")],
            "1 new files that commands made are not in the patch: `junk.log`",
        ),
        case(
            "ignored",
            |at| {
                file(at, ".gitignore", "target/\n");
                commit_all(at);
            },
            vec![
                ("Write", json!({"path": "target/out.txt", "content": "out\n"})),
                ("Write", json!({"path": "kept.txt", "content": "kept\n"})),
            ],
            &[("kept.txt", "kept\n")],
            "`target/out.txt` was written, and git ignores it",
        ),
        case(
            "hooks",
            |at| {
                file(at, "a.txt", "one\n");
                commit_all(at);
                for hook in ["post-checkout", "pre-commit", "prepare-commit-msg", "post-commit"] {
                    file(
                        at,
                        &format!(".git/hooks/{hook}"),
                        "#!/bin/sh\necho \"$0\" >> hooked.txt; git add hooked.txt\n",
                    );
                    let executable = fs::Permissions::from_mode(0o755);
                    fs::set_permissions(at.join(".git/hooks").join(hook), executable).expect("writable");
                }
            },
            vec![edit("a.txt", "one", "two")],
            &[("a.txt", "two\n")],
            "`a.txt` +1 -1",
        ),
        Strange {
            name: "hooks-scoped",
            make: |at| {
                file(at, "a.txt", "one\n");
                commit_all(at);
                // Where no identity is given with the commit, it is the repository's.
                git_must(at, &["config", "user.name", "Owner"]);
                git_must(at, &["config", "user.email", "owner@localhost"]);
                let hook = "#!/bin/sh\n[ -n \"$HOOKED\" ] && exit 0\nexport HOOKED=1\n\
                            echo hooked > hooked.txt\ngit add hooked.txt\ngit commit -q -m 'Slip this in'\n";
                file(at, ".git/hooks/post-commit", hook);
                let executable = fs::Permissions::from_mode(0o755);
                fs::set_permissions(at.join(".git/hooks/post-commit"), executable).expect("writable");
            },
            writes: vec![edit("a.txt", "one", "two")],
            becomes: vec![("a.txt", b"two\n".to_vec()), ("hooked.txt", b"hooked\n".to_vec())],
            told: "`hooked.txt` +1 -0 (new)",
        },
        case(
            "switched",
            |at| {
                file(at, "a.txt", "one\n");
                commit_all(at);
            },
            vec![edit("a.txt", "one", "two"), bash("git checkout -q -b elsewhere")],
            &[("a.txt", "two\n")],
            "The model had switched to the branch elsewhere",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_applies_to_the_base_whatever_the_repository_is_like() {
    let cases = cases();
    let script = |case: &Strange| {
        let turns = case.writes.iter().enumerate().map(|(at, (name, input))| turn(at, call(name, input.clone())));
        turns.chain([says(case.writes.len(), "Done.")]).collect()
    };
    let scripts: BTreeMap<&str, Vec<Value>> = cases.iter().map(|case| (case.name, script(case))).collect();
    let bench = Bench::start("", &scripts).await;
    let mut bases = BTreeMap::new();
    for case in &cases {
        let at = bench.workspace(&format!("vp.{}", case.name)).await.join("repo");
        fs::create_dir_all(&at).expect("writable");
        (case.make)(&at);
        let before = git_must(&at, &["status", "--porcelain"]);
        let base = git_must(&at, &["rev-parse", "HEAD"]);
        bases.insert(case.name, (at, base, before));
        let inputs = json!({"repository": "repo", "model": case.name});
        let mut envelope = with(coding(case.name), "/inputs", inputs);
        if case.name.ends_with("-scoped") {
            let tools = json!(["Read", "Write", "Edit", "Bash(cd *)", "Bash(git *)"]);
            envelope = with(envelope, "/constraints/allowed_tools", tools);
        }
        bench.node.accept(&envelope).await;
    }
    for case in &cases {
        let name = case.name;
        let end = bench.node.until_final(name).await;
        assert_eq!(end["status"], "completed", "{name}: {end:#}");
        let told = bench.text(name, "summary.md").await;
        assert!(told.contains(case.told), "{name}: {told}");
        // Whoever slips something in is told where people look first.
        let by_others =
            end["summary"].as_str().is_some_and(|summary| summary.contains("made by something else (a hook?): "));
        let is_slipped_in = name == "hooks-scoped";
        assert_eq!((by_others, told.contains("Slip this in")), (is_slipped_in, is_slipped_in), "{name}: {end:#}");
        let (at, base, before) = &bases[name];
        assert_eq!(git_must(at, &["status", "--porcelain"]), *before, "{name}: its own checkout is as it was");
        let patch = bench.artifact(name, "changes.patch").await;
        let fresh = applied(at, base, &patch);
        for (path, bytes) in &case.becomes {
            assert!(fs::read(fresh.path().join("fresh").join(path)).expect("it is there") == *bytes, "{name}: {path}");
        }
    }
    let stored = bench.text("made-by-commands", "changes.patch").await;
    assert!(!stored.contains("junk") && stored.contains("deleted file"), "{stored}");
    let stored = bench.text("hooks", "changes.patch").await;
    assert!(!stored.contains("hooked"), "{stored}");
    let work = git_must(&bases["switched"].0, &["show", "mission/switched:a.txt"]);
    assert_eq!(work, "two", "the mission's branch has the work");
}

/// Without git: the same repositories, as far as files alone go.
#[tokio::test(flavor = "multi_thread")]
async fn the_files_alone_make_a_patch_too() {
    let scripts = BTreeMap::from([(
        "alone",
        vec![
            turn(0, call("Edit", json!({"path": "crlf.txt", "old": "two", "new": "zwei"}))),
            turn(1, call("Edit", json!({"path": "end.txt", "old": "two", "new": "zwei"}))),
            turn(2, call("Write", json!({"path": "neu/ä b.txt", "content": "neu\n"}))),
            turn(3, call("Write", json!({"path": "a.bin", "content": "no longer binary"}))),
            turn(4, call("Write", json!({"path": ".git/hooks/post-checkout", "content": "#!/bin/sh\nid\n"}))),
            turn(5, call("Read", json!({"path": "../note.txt"}))),
            says(6, "Done."),
        ],
    )]);
    let bench = Bench::start("", &scripts).await;
    let at = bench.workspace("vp.alone").await.join("repo");
    file(&at, "crlf.txt", "one\r\ntwo\r\n");
    file(&at, "end.txt", "one\ntwo");
    file(&at, "a.bin", [0, 1, 2]);
    commit_all(&at);
    let inputs = json!({"repository": "repo", "model": "alone", "test": "make test"});
    let envelope = with(coding("alone"), "/inputs", inputs);
    let end =
        bench.node.run(&with(envelope, "/constraints/allowed_tools", json!(["Read", "Write", "Edit", "Glob"]))).await;
    assert_eq!(
        (&end["status"], &end["summary"]),
        (&json!("completed"), &json!("3 files are changed, no test was run")),
        "{end:#}"
    );
    assert_eq!(fs::read(at.join("a.bin")).expect("it is there"), [0, 1, 2], "what cannot be in a patch is not changed");
    assert!(!at.join(".git/hooks/post-checkout").exists());
    let transcript = bench.text("alone", "transcript.jsonl").await;
    assert!(
        transcript.contains("is a binary file") && transcript.contains("what git keeps for itself is not changed"),
        "{transcript}"
    );
    assert!(transcript.contains("nothing outside of the repository"), "{transcript}");
    let fresh = applied(&at, "main", &bench.artifact("alone", "changes.patch").await);
    for (path, text) in [("crlf.txt", "one\r\nzwei\r\n"), ("end.txt", "one\nzwei"), ("neu/ä b.txt", "neu\n")] {
        assert_eq!(fs::read_to_string(fresh.path().join("fresh").join(path)).expect("it is there"), text, "{path}");
    }
}
