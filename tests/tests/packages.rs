//! What a node is deployed from: made by `cargo xtask dist`, looked at by those who know such packages, installed, started, upgraded with a
//! mission in flight, and removed. It is installed below a folder, without rights, and of the binary that was built for the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Options, automation, binary};
use tempfile::TempDir;

/// Runs a command, and gives what it printed.
fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{shown}: {error}; `cargo xtask test` installs it"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{shown}: {said}");
    said
}

/// Makes these in a folder.
fn made(out: &Path, kinds: &[&str]) {
    let mut dist = Command::new(env!("CARGO"));
    dist.current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "dist", "--quick"])
        .args(kinds.iter().flat_map(|kind| ["--only", kind]))
        .arg("--binary")
        .arg(binary())
        .arg("--out")
        .arg(out)
        .env("DIST_MAINTAINER", "Sortie tests <tests@sortie-tests.dev>");
    run(&mut dist);
}

/// The file in a folder that ends so.
fn file(folder: &Path, end: &str) -> PathBuf {
    let mut files = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("a file *{end}"))
}

/// A system of nothing but dpkg's own books.
fn system() -> TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let books = root.path().join("var/lib/dpkg");
    for folder in ["info", "updates"] {
        fs::create_dir_all(books.join(folder)).expect("writable");
    }
    for file in ["status", "available"] {
        fs::write(books.join(file), "").expect("writable");
    }
    root
}

fn dpkg(root: &Path, arguments: &[&str]) -> String {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args([
        "--force-script-chrootless",
        "--force-depends",
        "--force-not-root",
        "--force-confold",
        "--log=/dev/null",
    ]);
    run(dpkg.args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_installed_upgraded_with_a_mission_in_flight_and_removed() {
    let out = tempfile::tempdir().expect("a folder");
    made(out.path(), &["tarball", "deb"]);
    let deb = file(out.path(), ".deb");
    run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&deb));

    let root = system();
    let at = |place: &str| root.path().join(place);
    let package = deb.to_string_lossy().into_owned();
    dpkg(root.path(), &["--install", &package]);
    assert!(at("etc/systemd/system/multi-user.target.wants/sortie.service").is_symlink(), "it starts with the machine");
    // The unit, with the program where it lies here.
    let unit = fs::read_to_string(at("usr/lib/systemd/system/sortie.service")).expect("a unit");
    let own = out.path().join("sortie.service");
    fs::write(&own, unit.replace("/usr/bin/sortie", &at("usr/bin/sortie").to_string_lossy())).expect("writable");
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&own));

    let config = fs::read_to_string(at("etc/sortie/sortie.toml")).expect("a configuration");
    let mut node = Options::new().program(at("usr/bin/sortie")).config(&config).start().await;
    let ask = automation("asks", &json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]));
    node.accept(&ask).await;
    node.accept(&with(writing("later"), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"))).await;
    node.until_status("asks", "blocked").await;

    fs::write(at("etc/sortie/sortie.toml"), format!("{config}# of the operator\n")).expect("writable");
    dpkg(root.path(), &["--install", &package]);
    let kept = fs::read_to_string(at("etc/sortie/sortie.toml")).expect("a configuration");
    assert!(kept.ends_with("# of the operator\n"), "{kept}");
    assert!(node.stop().await.success());
    node.restart().await;
    node.post("/v1/missions/asks/requests/r1", &json!({"decision": "answer", "text": "A"})).await.expect_status(200);
    assert_eq!(node.until_final("asks").await["status"], "completed");
    assert_eq!(node.mission("later").await["status"], "queued");
    assert!(node.stop().await.success());

    dpkg(root.path(), &["--remove", "sortie"]);
    assert!(!at("usr/bin/sortie").exists() && at("etc/sortie/sortie.toml").exists());
    fs::create_dir_all(at("var/lib/private/sortie")).expect("writable");
    let said = dpkg(root.path(), &["--purge", "sortie"]);
    assert!(said.contains("are left"), "{said}");
    assert!(!at("etc/sortie").exists() && at("var/lib/private/sortie").exists());
    assert!(!at("etc/systemd/system/multi-user.target.wants/sortie.service").is_symlink());
}

#[test]
fn what_is_packed_is_the_same_each_time_and_has_what_a_node_needs() {
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    for out in [&first, &second] {
        made(out.path(), &["tarball", "deb"]);
    }
    let sums = |out: &TempDir| fs::read_to_string(out.path().join("SHA256SUMS")).expect("sums");
    assert_eq!(sums(&first), sums(&second));
    let tarball = file(first.path(), ".tar.gz");
    let files = run(Command::new("tar").arg("--list").arg("--file").arg(tarball));
    for place in [
        "usr/bin/sortie",
        "usr/lib/systemd/system/sortie.service",
        "etc/sortie/sortie.toml",
        "usr/share/doc/sortie/README.md",
        "usr/share/doc/sortie/OPERATIONS.md",
        "usr/share/doc/sortie/sortie.example.toml",
        "usr/share/doc/sortie/observability/alerts.yml",
        "usr/share/doc/sortie/observability/grafana-dashboard.json",
        "usr/share/man/man1/sortie-serve.1.gz",
        "usr/share/bash-completion/completions/sortie",
    ] {
        assert!(files.lines().any(|line| line.ends_with(place)), "{place}: {files}");
    }
}

/// The bytes of a blob of an image, as a file.
fn blob(image: &Path, described: &Value) -> PathBuf {
    let digest = described["digest"].as_str().expect("a digest");
    image.join("blobs").join(digest.replace(':', "/"))
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("readable")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_holds_all_that_a_node_needs_and_nothing_else() {
    let out = tempfile::tempdir().expect("a folder");
    made(out.path(), &["image"]);
    let [image, root] = ["unpacked", "root"].map(|name| out.path().join(name));
    for folder in [&image, &root] {
        fs::create_dir(folder).expect("writable");
    }
    run(Command::new("tar").arg("-xf").arg(file(out.path(), "-image.tar")).arg("-C").arg(&image));
    let manifest = read(&blob(&image, &read(&image.join("index.json"))["manifests"][0]));
    let config = read(&blob(&image, &manifest["config"]))["config"].take();
    assert_eq!(config["User"], "10001:10001", "it is nobody");
    assert_eq!(config["ExposedPorts"], json!({"7433": {}}));
    assert_eq!(config["Volumes"], json!({"/var/lib/sortie": {}}));
    for layer in manifest["layers"].as_array().expect("layers") {
        run(Command::new("tar").arg("-xf").arg(blob(&image, layer)).arg("-C").arg(&root).arg("--no-same-owner"));
    }
    let certificates = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).expect("certificates");
    assert!(certificates.contains("BEGIN CERTIFICATE"));
    assert!(!root.join("bin/sh").exists(), "there is no shell to get");

    // With no library but the image's own.
    let files = run(Command::new("find").arg(&root).args(["-type", "f", "-name", "*.so*"]));
    let loader = files.lines().find(|line| line.contains("/ld-linux")).expect("what loads libraries");
    let folders: BTreeSet<&str> =
        files.lines().filter_map(|line| line.rsplit_once('/')).map(|(folder, _)| folder).collect();
    let folders = folders.into_iter().collect::<Vec<_>>().join(":");
    let program = out.path().join("sortie");
    let text = format!(
        "#!/bin/sh\nexec {loader} --inhibit-cache --library-path {folders} {}/usr/bin/sortie \"$@\"\n",
        root.display()
    );
    fs::write(&program, text).expect("writable");
    run(Command::new("chmod").arg("0755").arg(&program));
    let config = fs::read_to_string(root.join("etc/sortie/sortie.toml")).expect("a configuration");
    let node = Options::new().program(program).config(&config).start().await;
    node.accept(&writing("within")).await;
    assert_eq!(node.until_final("within").await["status"], "completed");
}
