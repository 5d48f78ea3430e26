//! Plugins on their way to a node: signed by Debian's `minisign`, fetched from a server, pushed to and fetched from Debian's registry, and
//! collected once nobody holds them.

mod collected;
mod fetched;
mod registry;
mod signed;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sortie_tests::{Answer, Node, http};

/// A plugin that does nothing but greet, as the binary carries it.
const CARRIED: &str = "hello";

/// The component of a plugin that a node has.
fn component(node: &Node, name: &str, plugins: &Value) -> Vec<u8> {
    let all = plugins["items"].as_array().expect("a list");
    let found = all.iter().find(|plugin| plugin["name"] == name).expect("it is carried");
    let digest = found["digest"].as_str().expect("a digest");
    std::fs::read(node.data().join(format!("plugins/{digest}.wasm"))).expect("its component")
}

/// The carried plugin, as another version of itself: other bytes that say another version.
fn version(node: &Node, plugins: &Value, version: &str) -> Vec<u8> {
    let own = plugins["items"].as_array().expect("a list").iter().find(|plugin| plugin["name"] == CARRIED);
    let own = own.expect("it is carried")["version"].as_str().expect("a version").as_bytes().to_vec();
    assert_eq!(own.len(), version.len(), "the bytes around it stay where they are");
    let mut bytes = component(node, CARRIED, plugins);
    let places: Vec<usize> =
        (1..bytes.len() - own.len()).filter(|at| bytes[*at..].starts_with(&own) && bytes[at - 1] != b'@').collect();
    for at in places {
        bytes[at..at + own.len()].copy_from_slice(version.as_bytes());
    }
    bytes
}

/// Files of a test, with keys of `minisign`.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder"));
        for name in ["release", "other"] {
            let (public, secret) = (bench.path(&format!("{name}.pub")), bench.path(&format!("{name}.key")));
            minisign(Command::new("minisign").arg("-GWf").arg("-p").arg(public).arg("-s").arg(secret));
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A key, as a configuration has it.
    fn key(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a key");
        text.lines().nth(1).expect("its second line").to_owned()
    }

    /// Writes a file.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Signs a file: `FILE.minisig` lies beside it.
    fn sign(&self, file: &Path, key: &str, comment: &str, is_legacy: bool) {
        let mut command = Command::new("minisign");
        command.arg("-S").arg("-s").arg(self.path(&format!("{key}.key"))).args(["-t", comment]).arg("-m").arg(file);
        if is_legacy {
            command.arg("-l");
        }
        minisign(&mut command);
    }
}

fn minisign(command: &mut Command) {
    let output = command.output().expect("`cargo xtask test` installs minisign; on Debian, `apt-get install minisign`");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command of a node that must succeed: what it prints.
async fn done(node: &Node, arguments: &[&str]) -> String {
    let output = node.cli(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command of a node that must be refused: what it says.
async fn refused(node: &Node, arguments: &[&str]) -> String {
    let output = node.cli(arguments).await;
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A mission of the plugin, in that version.
fn hello(id: &str, version: &str) -> Value {
    let mut envelope = sortie_tests::envelope::writing(id);
    envelope["mission_type"] = json!("custom");
    envelope["plugin"] = json!(format!("{CARRIED}@{version}"));
    envelope.as_object_mut().expect("an object").remove("inputs");
    envelope
}

/// Uploads bytes, whatever comes of it.
async fn upload(node: &Node, bytes: Vec<u8>, signature: Option<&str>) -> Answer {
    let mut request = node.request("POST", "/v1/plugins").body(bytes);
    if let Some(signature) = signature {
        request = request.header("plugin-signature", signature);
    }
    http::send(request).await.expect("an answer")
}
