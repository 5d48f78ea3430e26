//! Debian's registry, which others wrote: pushed to, and fetched from.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use sortie_tests::{Options, http, until};

use crate::{Bench, done, refused, version};

/// `ann` and `hush-hush`, as `htpasswd -nbB -C 4` writes them.
const PASSWORDS: &str = "ann:$2b$04$UvH2oyu4XzXb6pvjVJehWOz90fqaJskfh6d3/MBF.jE82.2Phn0j6\n";

/// A registry that is running.
struct Registry {
    child: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// One that wants a name and a password, with its data in this folder.
    async fn start(folder: &Path) -> Self {
        std::fs::write(folder.join("passwords"), PASSWORDS).expect("written");
        // It takes a port that is named, and says nowhere which one it has.
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its own").port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp: {{addr: '{host}'}}\n\
             auth: {{htpasswd: {{realm: sortie, path: {0}/passwords}}}}\n",
            folder.display()
        );
        std::fs::write(folder.join("config.yml"), config).expect("written");
        let program = std::env::var_os("SORTIE_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let child = Command::new(program)
            .arg("serve")
            .arg(folder.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`cargo xtask test` gets a registry; Debian's package is `docker-registry`");
        let registry = Self { child, host };
        until("the registry answers", async || {
            let answer = http::send(http::client().get(format!("http://{}/v2/", registry.host))).await.ok()?;
            (answer.status == 401).then_some(())
        })
        .await;
        registry
    }
}

#[tokio::test]
async fn a_plugin_goes_through_a_registry_with_its_signature() {
    let bench = Bench::new();
    let registry = Registry::start(&bench.path("")).await;
    let host = &registry.host;
    let secret = bench.write("secret", b"ann:hush-hush\n");
    let source = format!(
        "[plugin_source]\nhosts = [\"{host}\"]\nallow_private = [\"127.0.0.1\"]\nrequire_signature = true\n\
         keys = [{{ name = \"release\", key = \"{}\" }}]\n",
        bench.key("release")
    );
    let credentials = format!("[plugin_source.registry.\"{host}\"]\ncredentials = \"file://{}\"\n", secret.display());
    let docker = bench.path("docker");
    std::fs::create_dir(&docker).expect("a folder");
    let mut node = Options::new().config(&source).env("DOCKER_CONFIG", docker.to_str().expect("text")).start().await;
    let plugins = node.get("/v1/plugins").await.json;
    let file = bench.write("hello.wasm", &version(&node, &plugins, "0.9.1"));
    let (path, place) = (file.to_str().expect("text"), format!("oci://{host}/acme/hello:0.9.1"));

    // Without credentials; with docker's that are wrong; with docker's.
    let says = refused(&node, &["plugin", "push", path, &place]).await;
    assert!(says.contains("name credentials for it"), "{says}");
    let kept = |pair: &str| {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(pair);
        let text = json!({"auths": {host.as_str(): {"auth": pair}}});
        std::fs::write(docker.join("config.json"), text.to_string()).expect("written");
    };
    kept("ann:wrong-wrong");
    let says = refused(&node, &["plugin", "push", path, &place]).await;
    assert!(says.contains("see whether they are right") && !says.contains("wrong-wrong"), "{says}");
    kept("ann:hush-hush");
    let unsigned = done(&node, &["plugin", "push", path, &place]).await;
    assert!(unsigned.starts_with(&format!("oci://{host}/acme/hello@sha256:")), "{unsigned}");

    // The node has no credentials, and asks no docker.
    let says = refused(&node, &["plugin", "install", &place]).await;
    assert!(says.contains("fetch_failed") && says.contains("name credentials"), "{says}");
    node.stop().await;
    node.reconfigure(&format!("{source}{credentials}"));
    node.restart().await;
    let says = refused(&node, &["plugin", "install", &place]).await;
    assert!(says.contains("signature_refused") && says.contains("not signed"), "{says}");

    bench.sign(&file, "release", "hello 0.9.1", false);
    std::fs::remove_file(docker.join("config.json")).expect("removed");
    let pushed = done(&node, &["--json", "plugin", "push", path, &place]).await;
    let pushed: serde_json::Value = serde_json::from_str(&pushed).expect("JSON");
    let pinned = pushed["place"].as_str().expect("a place").to_owned();
    assert!(pushed["signed"] == true && !unsigned.starts_with(&pinned), "{pushed:#}");
    for from in [place.as_str(), &pinned] {
        let printed = done(&node, &["plugin", "install", from]).await;
        assert!(printed.contains(&format!("from: {pinned}, ")) && printed.contains("hello 0.9.1"), "{printed}");
    }
    assert_eq!(node.run(&crate::hello("fetched", "0.9.1")).await["status"], "completed");
    // What was pushed first is there still, by its digest, and nobody signed it.
    let says = refused(&node, &["plugin", "install", unsigned.trim()]).await;
    assert!(says.contains("signature_refused"), "{says}");
    for (from, expected) in [
        (format!("oci://{host}/acme/other:1"), "404"),
        (format!("oci://{host}/acme/hello:2"), "manifest unknown"),
        (format!("oci://{host}/acme/hello@sha256:{}", "0".repeat(64)), "404"),
    ] {
        let says = refused(&node, &["plugin", "install", &from]).await;
        assert!(says.contains("fetch_failed") && says.contains(expected), "{from}: {says}");
    }
    assert!(!node.read_log().contains("hush-hush"));
}
