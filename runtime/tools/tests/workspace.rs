//! The workspace tools as the node calls them: what they do, what they refuse, and that nothing gets out of the
//! workspace.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::tool::{CallError, Written};
use sortie_contract::{Timestamp, limit};
use sortie_tools::{Bill, BuiltIn, CallContext, Nobody, Providers, Toolbox, ToolsConfig, Workspace};
use tempfile::TempDir;

/// A workspace with a secret beside it.
struct Desk {
    folder: TempDir,
    toolbox: Arc<Toolbox>,
    context: CallContext,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        let workspace = Workspace::open(&folder.path().join("workspace")).unwrap();
        let context = CallContext {
            workspace,
            mission_id: "m".to_owned(),
            idempotency_key: "m/1".to_owned(),
            run: sortie_contract::id::RunNo(1),
            trace_id: String::new(),
            bill: Bill::default(),
            ask: Arc::new(Nobody),
        };
        let built_in = BuiltIn::new(ToolsConfig::default()).unwrap();
        let toolbox = Providers::new(built_in, Vec::new(), Timestamp::UNIX_EPOCH).unwrap().toolbox();
        Self { folder, toolbox, context }
    }

    /// A desk whose workspace has these files.
    fn with(files: &[(&str, &str)]) -> Self {
        let desk = Self::new();
        for (path, content) in files {
            let path = desk.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        desk
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        fs::create_dir_all(self.folder.path().join("workspace")).unwrap();
        self.folder.path().join("workspace").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, CallError> {
        let answer = self.toolbox.call(tool, &self.context, &arguments.to_string(), None, tokio::time::sleep).await?;
        Ok(serde_json::from_str(&answer.result).unwrap())
    }

    async fn fails(&self, tool: &str, arguments: Value, said: &str) {
        let shown = limit::clip(&arguments.to_string(), 200);
        let error = self.call(tool, arguments).await.expect_err(&shown);
        assert!(error.to_string().contains(said), "{tool} {shown}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_written_can_be_read() {
    let desk = Desk::new();
    let arguments = json!({ "path": "./reports//a/b.md", "content": "täxt\n" });
    let answer =
        desk.toolbox.call("Write", &desk.context, &arguments.to_string(), None, tokio::time::sleep).await.unwrap();
    let left = |text: &str| Some(Digest::of(text.as_bytes()));
    let written = Written { path: "reports/a/b.md".to_owned(), sha256: left("täxt\n"), changed: None };
    assert_eq!(answer.wrote, [written]);
    assert_eq!(answer.result, r#"{"path":"reports/a/b.md","bytes":6}"#);
    let read = desk.call("read", json!({ "path": "reports/a/b.md" })).await.unwrap();
    assert_eq!(read, json!({ "content": "täxt\n", "bytes": 6, "truncated": false }));
    assert_eq!(desk.context.workspace.read_file("reports/a/b.md", 6).unwrap(), "täxt\n".as_bytes());
    let error = desk.context.workspace.read_file("reports/a/b.md", 5).unwrap_err();
    assert!(error.to_string().contains("6 bytes"), "{error}");
}

#[tokio::test]
async fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let desk = Desk::with(&[("run.sh", "a long old content")]);
    fs::set_permissions(desk.path("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    for content in ["new", "newer", ""] {
        desk.call("Write", json!({ "path": "run.sh", "content": content })).await.unwrap();
        assert_eq!(desk.text("run.sh"), content);
    }
    assert_eq!(fs::metadata(desk.path("run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(fs::read_dir(desk.path("")).unwrap().count(), 1, "nothing half-written stays behind");
}

#[tokio::test]
async fn a_part_can_be_read() {
    let desk = Desk::with(&[("a", "0123456789"), ("ä", "ää")]);
    for (arguments, content, truncated) in [
        (json!({ "path": "a", "offset": 3, "limit": 4 }), "3456", true),
        (json!({ "path": "a", "offset": 3 }), "3456789", false),
        (json!({ "path": "a", "limit": 10 }), "0123456789", false),
        (json!({ "path": "a", "limit": 0 }), "", true),
        (json!({ "path": "a", "offset": 10 }), "", false),
        (json!({ "path": "a", "offset": u64::MAX, "limit": u64::MAX }), "", false),
        (json!({ "path": "ä", "limit": 3 }), "ä", true),
        (json!({ "path": "ä", "offset": 1 }), "ä", false),
    ] {
        if arguments["limit"] == 0 {
            desk.fails("Read", arguments, "/limit").await;
            continue;
        }
        let answer = desk.call("Read", arguments.clone()).await.unwrap();
        assert_eq!((&answer["content"], &answer["truncated"]), (&json!(content), &json!(truncated)), "{arguments}");
    }
    let large = fs::File::create(desk.path("large")).unwrap();
    large.set_len(1 << 40).unwrap();
    desk.fails("Read", json!({ "path": "large" }), "binary file of 1099511627776 bytes").await;
    desk.fails("Edit", json!({ "path": "large", "old": "a", "new": "b" }), "1099511627776 bytes").await;
}

#[tokio::test]
async fn the_worst_text_fits_into_a_result() {
    let desk = Desk::with(&[("bells", &"\u{7}".repeat(2 << 20))]);
    let answer = desk.call("Read", json!({ "path": "bells" })).await.unwrap();
    assert_eq!((answer["content"].as_str().unwrap().len(), &answer["truncated"]), (1 << 20, &json!(true)));
}

#[tokio::test]
async fn an_edit_says_what_it_needs() {
    let desk = Desk::with(&[("a.txt", "one two two\r\n"), ("b.png", "\u{0}")]);
    fs::write(desk.path("b.png"), b"\x89PNG\xff").unwrap();
    let arguments = json!({ "path": "a.txt", "old": "one", "new": "1" });
    let answer =
        desk.toolbox.call("Edit", &desk.context, &arguments.to_string(), None, tokio::time::sleep).await.unwrap();
    let of = |text: &str| Some(Digest::of(text.as_bytes()));
    let (sha256, changed) = (of("1 two two\r\n"), of("one two two\r\n"));
    assert_eq!(answer.wrote, [Written { path: "a.txt".to_owned(), sha256, changed }]);
    assert_eq!(answer.result, r#"{"path":"a.txt","replaced":1}"#);
    desk.fails("Edit", json!({ "path": "a.txt", "old": "two", "new": "2" }), "occurs 2 times").await;
    desk.fails("Edit", json!({ "path": "a.txt", "old": "three", "new": "3" }), "does not occur").await;
    desk.fails("Edit", json!({ "path": "a.txt", "old": "", "new": "3" }), "/old").await;
    desk.fails("Edit", json!({ "path": "b.png", "old": "P", "new": "p" }), "binary").await;
    desk.fails("Edit", json!({ "path": "none", "old": "P", "new": "p" }), "does not exist").await;
    assert_eq!(desk.text("a.txt"), "1 two two\r\n");
    let answer = desk.call("Edit", json!({ "path": "a.txt", "old": "two", "new": "", "all": true })).await.unwrap();
    assert_eq!(answer["replaced"], 2);
    assert_eq!(desk.text("a.txt"), "1  \r\n");
}

#[tokio::test]
async fn an_edit_finds_its_place_exactly_once_or_says_why_not() {
    let desk = Desk::with(&[("twice", "aXaXa"), ("composed", "caf\u{e9}")]);
    desk.fails("Edit", json!({ "path": "twice", "old": "aXa", "new": "b" }), "occurs 2 times").await;
    assert_eq!(desk.text("twice"), "aXaXa");
    // Looks the same, and is not.
    let other_form = json!({ "path": "composed", "old": "cafe\u{301}", "new": "tea" });
    desk.fails("Edit", other_form, "another Unicode normal form").await;
}

#[tokio::test]
async fn what_is_made_in_a_workspace_is_its_owners_alone() {
    let desk = Desk::new();
    desk.call("Write", json!({ "path": "a/b/c.txt", "content": "x" })).await.unwrap();
    let mode = |path: &str| {
        let path = desk.folder.path().join("workspace").join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!([mode(""), mode("a"), mode("a/b"), mode("a/b/c.txt")], [0o700, 0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn an_edit_cannot_fill_the_disk() {
    let desk = Desk::with(&[("a", &"a".repeat(1 << 20))]);
    let new = "b".repeat(1 << 20);
    desk.fails("Edit", json!({ "path": "a", "old": "a", "new": new, "all": true }), "larger than").await;
    assert_eq!(desk.text("a").len(), 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_side_by_side_do_not_lose_each_other() {
    let words: String = (0..50).map(|n| format!("<{n}>")).collect();
    let desk = Arc::new(Desk::with(&[("a", &words)]));
    let edits = (0..50).map(|n| {
        let desk = Arc::clone(&desk);
        let arguments = json!({ "path": "a", "old": format!("<{n}>"), "new": "x" });
        tokio::spawn(async move { desk.call("Edit", arguments).await })
    });
    for edit in edits.collect::<Vec<_>>() {
        edit.await.unwrap().unwrap();
    }
    assert_eq!(desk.text("a"), "x".repeat(50));
}

#[tokio::test]
async fn globs_find_files_in_order() {
    let files =
        ["b.md", "a.md", "c.txt", ".hidden.md", "sub/d.md", "sub/deep/e.md", "sub/deep/f.rs", ".sortie-write-1-1"];
    let desk = Desk::with(&files.map(|path| (path, "")));
    symlink("../a.md", desk.path("sub/link.md")).unwrap();
    symlink(".", desk.path("sub/circle")).unwrap();
    for (pattern, expected) in [
        ("*.md", vec![".hidden.md", "a.md", "b.md"]),
        ("a.md", vec!["a.md"]),
        ("./sub/*.md", vec!["sub/d.md", "sub/link.md"]),
        ("**/*.md", vec![".hidden.md", "a.md", "b.md", "sub/d.md", "sub/deep/e.md", "sub/link.md"]),
        ("sub/**", vec!["sub/d.md", "sub/deep/e.md", "sub/deep/f.rs", "sub/link.md"]),
        ("{a,sub/d}.md", vec!["a.md", "sub/d.md"]),
        ("[ab].md", vec!["a.md", "b.md"]),
        ("sub", vec![]),
        ("none/*.md", vec![]),
        ("a.md/x", vec![]),
        (".sortie-write-1-1", vec![]),
    ] {
        let answer = desk.call("Glob", json!({ "pattern": pattern })).await.unwrap();
        assert_eq!(answer, json!({ "paths": expected, "truncated": false }), "{pattern}");
    }
    desk.fails("Glob", json!({ "pattern": "[a" }), "/pattern").await;
    desk.fails("Glob", json!({ "pattern": "x".repeat(5_000) }), "4096").await;
    let empty = Desk::new();
    assert_eq!(empty.call("Glob", json!({ "pattern": "**" })).await.unwrap()["paths"], json!([]));
}

#[tokio::test]
async fn greps_find_lines() {
    let desk = Desk::with(&[
        ("a.md", "first\nneedle one\r\n\nNeedle two"),
        ("sub/b.rs", "// needle\n"),
        ("sub/c.md", "needle\n"),
        ("d.bin", "needle\0"),
    ]);
    fs::write(desk.path("latin"), b"n\xe4h needle\n").unwrap();
    let found = |path: &str, line: u64, text: &str| json!({ "path": path, "line": line, "text": text });
    let one = found("a.md", 2, "needle one");
    let all = [
        &one,
        &found("latin", 1, "n\u{fffd}h needle"),
        &found("sub/b.rs", 1, "// needle"),
        &found("sub/c.md", 1, "needle"),
    ];
    for (arguments, expected) in [
        (json!({ "pattern": "needle" }), json!(all)),
        (json!({ "pattern": "needle", "path": "a.md" }), json!([one])),
        (json!({ "pattern": "(?i)^needle", "path": "./a.md" }), json!([one, found("a.md", 4, "Needle two")])),
        (json!({ "pattern": "needle", "path": "sub" }), json!(all[2..])),
        (json!({ "pattern": "needle", "glob": "*.md" }), json!([one, all[3]])),
        (json!({ "pattern": "needle", "glob": "sub/*" }), json!(all[2..])),
        (json!({ "pattern": "^$", "path": "a.md" }), json!([found("a.md", 3, "")])),
        (json!({ "pattern": "absent" }), json!([])),
    ] {
        let answer = desk.call("Grep", arguments.clone()).await.unwrap();
        assert_eq!(answer, json!({ "matches": expected, "truncated": false }), "{arguments}");
    }
    desk.fails("Grep", json!({ "pattern": "(" }), "/pattern").await;
    desk.fails("Grep", json!({ "pattern": "((x{1000}){1000}){1000}" }), "/pattern").await;
    desk.fails("Grep", json!({ "pattern": "x", "glob": "[" }), "/glob").await;
    desk.fails("Grep", json!({ "pattern": "x", "path": "none" }), "does not exist").await;
}

#[tokio::test]
async fn greps_are_bounded() {
    let desk = Desk::with(&[("many", &"x\n".repeat(5_000)), ("long", &"x".repeat(100_000))]);
    let answer = desk.call("Grep", json!({ "pattern": "x" })).await.unwrap();
    let matches = answer["matches"].as_array().unwrap();
    assert_eq!((matches.len(), &answer["truncated"]), (1_000, &json!(true)));
    assert!(matches[0]["text"].as_str().unwrap().len() <= 1_000);
    // As patterns that make other engines run for ever do.
    let answer = desk.call("Grep", json!({ "pattern": "(x+x+)+y", "path": "long" })).await.unwrap();
    assert_eq!(answer["matches"], json!([]));
}

/// Every tool that takes a path, with arguments that only need one.
fn calls(path: &str) -> [(&'static str, Value); 6] {
    [
        ("Read", json!({ "path": path })),
        ("Write", json!({ "path": path, "content": "mine" })),
        ("Edit", json!({ "path": path, "old": "secret", "new": "mine" })),
        ("Grep", json!({ "pattern": "s", "path": path })),
        ("Grep", json!({ "pattern": "s", "glob": path })),
        ("Glob", json!({ "pattern": path })),
    ]
}

#[tokio::test]
async fn no_path_leads_out() {
    let desk = Desk::with(&[("sub/file", "")]);
    let secret = desk.folder.path().join("secret");
    for path in [
        "../secret",
        "..",
        "sub/../../secret",
        "./../secret",
        "sub/../sub/file",
        "a/b/../../../secret",
        "/etc/passwd",
        "//etc/passwd",
        secret.to_str().unwrap(),
        "/proc/self/environ",
        "a\0b",
        "",
    ] {
        for (tool, arguments) in calls(path) {
            let error = desk.call(tool, arguments).await.expect_err(path);
            assert!(matches!(error, CallError::Denied(_)), "{tool} {path:?}: {error:?}");
        }
        assert!(desk.context.workspace.read_file(path, 100).is_err(), "{path}");
    }
    assert_eq!(fs::read_to_string(secret).unwrap(), "secret");
}

#[tokio::test]
async fn no_link_leads_out() {
    let desk = Desk::with(&[("sub/file", "inside secret")]);
    let outside = desk.folder.path();
    let links: [(&str, &Path, &str); 7] = [
        ("file", &outside.join("secret"), "file"),
        ("up", Path::new("../secret"), "up"),
        ("folder", outside, "folder/secret"),
        ("sub/far", Path::new("../../secret"), "sub/far"),
        ("twice", Path::new("up"), "twice"),
        ("top", Path::new("/"), "top/etc/passwd"),
        ("dangling", &outside.join("none"), "dangling"),
    ];
    for (link, target, path) in links {
        symlink(target, desk.path(link)).unwrap();
        for (tool, arguments) in calls(path).into_iter().take(4) {
            let error = desk.call(tool, arguments).await.expect_err(path);
            assert!(matches!(error, CallError::Denied(_)), "{tool} {path}: {error:?}");
        }
    }
    for (tool, arguments) in [("Grep", json!({ "pattern": "secret" })), ("Glob", json!({ "pattern": "**" }))] {
        let answer = desk.call(tool, arguments).await.unwrap().to_string();
        assert!(
            answer.contains("sub/file") && !answer.contains("folder") && !answer.contains("up"),
            "{tool}: {answer}"
        );
    }
    desk.fails("Write", json!({ "path": "folder/new", "content": "" }), "leads out").await;
    desk.fails("Write", json!({ "path": "folder/a/b", "content": "" }), "leads out").await;
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 2);
}

#[tokio::test]
async fn links_inside_are_followed() {
    let desk = Desk::with(&[("real/file", "text")]);
    symlink("real/file", desk.path("link")).unwrap();
    symlink("real", desk.path("folder")).unwrap();
    assert_eq!(desk.call("Read", json!({ "path": "link" })).await.unwrap()["content"], "text");
    desk.call("Write", json!({ "path": "link", "content": "new" })).await.unwrap();
    desk.call("Write", json!({ "path": "folder/other", "content": "other" })).await.unwrap();
    assert_eq!((desk.text("real/file"), desk.text("real/other")), ("new".to_owned(), "other".to_owned()));
    assert!(fs::symlink_metadata(desk.path("link")).unwrap().is_symlink());
}

#[tokio::test]
async fn what_is_no_file_is_refused_at_once() {
    let desk = Desk::with(&[("folder/file", "")]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        desk.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(desk.path("socket")).unwrap();
    for path in ["folder", "pipe", "socket", ".", "folder/."] {
        for (tool, arguments) in calls(path).into_iter().take(3) {
            desk.fails(tool, arguments, "not a regular file").await;
        }
    }
    desk.fails("Grep", json!({ "pattern": "x", "path": "pipe" }), "not a regular file").await;
    desk.fails("Read", json!({ "path": "pipe" }), "it is a pipe").await;
    desk.fails("Read", json!({ "path": "folder" }), "it is a folder").await;
    desk.fails("Read", json!({ "path": "folder/file/x" }), "folder/file/x").await;
    desk.fails("Write", json!({ "path": "folder/file/x", "content": "" }), "folder/file/x").await;
    desk.fails("Write", json!({ "path": "n".repeat(300), "content": "" }), "cannot be written").await;
    assert_eq!(desk.call("Grep", json!({ "pattern": "." })).await.unwrap()["matches"], json!([]));
}

#[tokio::test]
async fn a_workspace_that_nobody_writes_to_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let workspace = Workspace::open(&root).unwrap();
    assert!(!root.exists());
    assert!(workspace.read_file("x", 1).is_err());
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(Workspace::open(&folder.path().join("file")).is_err());
}
