//! `Read|Write|Edit|Glob|Grep(…)`: ways out of a folder.

use serde_json::{Value, json};

use crate::{Allowed, Asks, Denied, Said, check, constraints};

fn rows(allowed: &str, tool: &str, rows: &[(Value, Said)]) {
    let constraints = constraints(allowed, "", "");
    for (arguments, expected) in rows {
        check(&constraints, tool, &arguments.to_string(), *expected);
    }
}

fn path(path: &str) -> Value {
    json!({ "path": path })
}

#[test]
fn a_path_is_in_the_scope() {
    rows(
        "Read(docs/**)\nRead(*.md)",
        "Read",
        &[
            (path("docs/a"), Allowed),
            (path("docs/a/b/c.txt"), Allowed),
            (path("./docs//a/."), Allowed),
            (path("readme.md"), Allowed),
            (path("src/readme.md"), Denied),
            (path("docs"), Denied),
            (path("docs/"), Denied),
            (path("docsx/a"), Denied),
            (path("Docs/a"), Denied),
            (path("docs/../secret"), Denied),
            (path("docs/.."), Denied),
            (path("../docs/a"), Denied),
            (path("/docs/a"), Denied),
            (path("//docs/a"), Denied),
            (path("docs\\..\\secret"), Denied),
            (path(""), Denied),
            (path("."), Denied),
            (path("docs/a\0"), Denied),
            (path(" docs/a"), Denied),
            (path("docs/*"), Allowed),
            (path("%64ocs/a"), Denied),
            (json!({}), Denied),
            (json!({"path": null}), Denied),
            (json!({"path": ["docs/a"]}), Denied),
            (json!({"path": {"docs": "a"}}), Denied),
            (json!({"Path": "docs/a"}), Denied),
            (json!([]), Denied),
        ],
    );
    rows("Write(**)", "Write", &[(path("a/b"), Allowed), (path("../a"), Denied), (path(""), Denied)]);
    rows(
        "Write(a/*/c.md)",
        "Write",
        &[(path("a/b/c.md"), Allowed), (path("a/b/b/c.md"), Denied), (path("a/c.md"), Denied)],
    );
    rows("Edit(**/*.rs)", "Edit", &[(path("a.rs"), Allowed), (path("x/y/a.rs"), Allowed), (path("a.rs/x"), Denied)]);
    rows("read(docs/**)", "Read", &[(path("docs/a"), Allowed)]);
    rows("Read(docs/**)", "Write", &[(path("docs/a"), Denied)]);
}

#[test]
fn twice_the_same_key_is_what_the_tool_gets() {
    let constraints = constraints("Read(docs/**)", "", "");
    check(&constraints, "Read", r#"{"path":"docs/a","path":"secret"}"#, Denied);
    check(&constraints, "Read", r#"{"path":"secret","path":"docs/a"}"#, Allowed);
    check(&constraints, "Read", r#"{"path":"docs\u002fa"}"#, Allowed);
    check(&constraints, "Read", r#"{"path":"docs/\u002e./a"}"#, Denied);
    check(&constraints, "Read", r#"{"path":"docs/a"} x"#, Denied);
}

#[test]
fn a_prohibition_takes_no_chances_with_paths() {
    for (barred, call, expected) in [
        ("Write(secret/**)", "docs/a", Allowed),
        ("Write(secret/**)", "secrets/a", Allowed),
        ("Write(secret/**)", "secret/a", Denied),
        ("Write(secret/**)", "./secret//a", Denied),
        ("Write(secret/**)", "SECRET/a", Denied),
        ("Write(secret/**)", "secret", Denied),
        ("Write(secret/**)", "docs/../secret/a", Denied),
        ("Write(secret/**)", "docs/../a", Denied),
        ("Write(secret/**)", "/etc/passwd", Denied),
        ("Write(secret/**)", "", Denied),
        ("Write(secret/**)", "\u{17f}ecret/a", Allowed),
        ("Write(**/.env)", ".env", Denied),
        ("Write(**/.env)", "a/b/.ENV", Denied),
        ("Write(**/.env)", ".env.txt", Allowed),
        ("Write(b\u{fc}cher/*)", "bu\u{308}cher/a", Denied),
        ("Write(b\u{fc}cher/*)", "B\u{dc}CHER/a", Denied),
        ("Write(*.md)", "a.MD", Denied),
        ("Write(*.md)", "a/b.md", Allowed),
    ] {
        check(&constraints("*", barred, ""), "Write", &path(call).to_string(), expected);
        let asks = if expected == Denied { Asks } else { expected };
        check(&constraints("*", "", barred), "Write", &path(call).to_string(), asks);
    }
}

#[test]
fn a_search_lies_wholly_in_the_scope() {
    let glob = |pattern: &str| json!({ "pattern": pattern });
    rows(
        "Glob(docs/**)\nGlob(src/*.rs)",
        "Glob",
        &[
            (glob("docs/**"), Allowed),
            (glob("docs/*.md"), Allowed),
            (glob("docs/{a,b}/*"), Allowed),
            (glob("docs/[ab]"), Allowed),
            (glob("./docs/a"), Allowed),
            (glob("src/*.rs"), Allowed),
            (glob("src/a?.rs"), Allowed),
            (glob("src/lib.rs"), Allowed),
            (glob("**"), Denied),
            (glob("*"), Denied),
            (glob("**/*.md"), Denied),
            (glob("{docs,secret}/*"), Denied),
            (glob("docs{,/../secret}/*"), Denied),
            (glob("doc?/a"), Denied),
            (glob("[d]ocs/a"), Denied),
            (glob("d\\ocs/a"), Denied),
            (glob("src/**"), Denied),
            (glob("src/*"), Denied),
            (glob("src/{a,b}.rs"), Denied),
            (glob("docs/../**"), Denied),
            (glob("/docs/**"), Denied),
            (glob(""), Denied),
            (json!({}), Denied),
            (json!({"pattern": 1}), Denied),
        ],
    );
    let grep = |path: Value, glob: Value| json!({ "pattern": "x", "path": path, "glob": glob });
    rows(
        "Grep(docs/**)\nGrep(src/*.rs)\nGrep(readme.md)",
        "Grep",
        &[
            (grep(json!("docs"), json!(null)), Allowed),
            (grep(json!("docs/a"), json!("*.md")), Allowed),
            (grep(json!(null), json!("docs/**/*.md")), Allowed),
            (grep(json!(null), json!("src/*.rs")), Allowed),
            (grep(json!("readme.md"), json!(null)), Allowed),
            (grep(json!("."), json!("docs/*")), Allowed),
            (grep(json!(null), json!(null)), Denied),
            (grep(json!("."), json!(null)), Denied),
            (grep(json!(null), json!("*.md")), Denied),
            (grep(json!("src"), json!("*.rs")), Denied),
            (grep(json!("src/a.rs"), json!(null)), Denied),
            (grep(json!("secret"), json!("*.md")), Denied),
            (grep(json!("docs/.."), json!(null)), Denied),
            (grep(json!(["docs"]), json!(null)), Denied),
            (grep(json!("docs"), json!(7)), Denied),
            (json!({"pattern": "docs/.*"}), Denied),
        ],
    );
}

#[test]
fn a_search_touches_no_forbidden_file() {
    let glob = |pattern: &str| json!({ "pattern": pattern });
    for (call, expected) in [
        (glob("docs/*"), Allowed),
        (glob("*"), Allowed),
        (glob("*.md"), Allowed),
        (glob("secret/*"), Denied),
        (glob("s*/a"), Denied),
        (glob("**"), Denied),
        (glob("**/*.md"), Denied),
        (glob("{secret,docs}/*"), Denied),
        (glob("[s]ecret/a"), Denied),
        (glob("SECRET/*"), Denied),
        (glob("docs/{a,b}"), Allowed),
        (glob("docs/../secret"), Denied),
    ] {
        check(&constraints("*", "Glob(secret/*)", ""), "Glob", &call.to_string(), expected);
    }
    let grep = |path: Value, glob: Value| json!({ "pattern": "x", "path": path, "glob": glob });
    for (call, expected) in [
        (grep(json!("docs"), json!(null)), Allowed),
        (grep(json!("docs"), json!("*.key")), Allowed),
        (grep(json!(null), json!("*.md")), Allowed),
        (grep(json!(null), json!(null)), Denied),
        (grep(json!(null), json!("*")), Denied),
        (grep(json!("secret"), json!(null)), Denied),
        (grep(json!("secret/a.key"), json!(null)), Denied),
        (grep(json!("secret"), json!("*.md")), Allowed),
    ] {
        check(&constraints("*", "Grep(secret/**/*.key)", ""), "Grep", &call.to_string(), expected);
    }
}
