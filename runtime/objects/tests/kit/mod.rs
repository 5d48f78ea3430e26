//! Stores to hold the same laws against: a folder, and two servers that others wrote and that speak as S3 does.
//!
//! `s3s-fs` runs within the test and checks each signature. moto is a program: `cargo xtask test` installs it and says where it is
//! (`SORTIE_MOTO`); without that it is left out, and it is said.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use sortie_objects::{ArtifactConfig, Objects};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const MOTO: &str = "SORTIE_MOTO";

/// What is stored in it, where it has buckets.
const BUCKET: &str = "factory";

const KEY_ID: &str = "AKIAEXAMPLE";
const KEY: &str = "a-key-of-the-tests";

/// A store with nothing in it, and what keeps it up.
pub(crate) struct Store {
    pub(crate) name: &'static str,
    pub(crate) objects: Objects,
    pub(crate) config: ArtifactConfig,
    /// Where its objects are files of this test's to change: as the server lays them down, or as a folder is.
    pub(crate) folder: Option<PathBuf>,
    _dir: tempfile::TempDir,
    _process: Option<Process>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Store {
    fn of(
        name: &'static str,
        config: ArtifactConfig,
        folder: Option<PathBuf>,
        dir: tempfile::TempDir,
        process: Option<Process>,
    ) -> Self {
        let objects = Objects::open(&config).expect("a store").expect("one is named");
        Self { name, objects, config, folder, _dir: dir, _process: process }
    }

    pub(crate) fn folder() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config =
            ArtifactConfig { shared: Some(format!("file://{}", dir.path().display())), ..ArtifactConfig::default() };
        let folder = dir.path().to_owned();
        Self::of("a folder", config, Some(folder), dir, None)
    }

    async fn s3s() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join(BUCKET)).expect("made");
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).expect("a file system"));
        service.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                let socket = hyper_util::rt::TokioIo::new(socket);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(socket, service));
            }
        });
        Self::of("s3s-fs", bucket(&dir, port), None, dir, None)
    }

    async fn moto() -> Option<Self> {
        let Some(program) = std::env::var_os(MOTO) else {
            eprintln!("moto is left out: {MOTO} is not set; `cargo xtask test` installs it and sets it");
            return None;
        };
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it was piped")).lines();
        let process = Process(process);
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.rsplit_once("http://127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok()))
            .expect("it says where it listens");
        // It writes a line for each request, and would wait for whoever reads it.
        std::thread::spawn(move || lines.for_each(drop));
        let mut made = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let request =
            format!("PUT /{BUCKET} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        made.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        made.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let dir = tempfile::tempdir().expect("a folder");
        Some(Self::of("moto", bucket(&dir, port), None, dir, Some(process)))
    }

    /// Each kind of them.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = vec![Self::folder(), Self::s3s().await];
        all.extend(Self::moto().await);
        all
    }
}

fn bucket(dir: &tempfile::TempDir, port: u16) -> ArtifactConfig {
    let secret = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        Some(format!("file://{}", path.display()))
    };
    ArtifactConfig {
        shared: Some(format!("s3://{BUCKET}/sortie/one")),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: secret("id", KEY_ID),
        secret_access_key: secret("key", KEY),
        allow_private: vec!["127.0.0.1".to_owned()],
        ..ArtifactConfig::default()
    }
}
