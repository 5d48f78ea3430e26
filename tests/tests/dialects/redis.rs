//! A Redis of a test's own: started, killed and started again, and gone with the test. What it has said `OK` to is on its disk (`appendfsync
//! always`), so that a test which kills it knows what must be there.
//!
//! `cargo xtask test` says which program it is (`SORTIE_REDIS`); without that nothing is tested, and it is said.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

/// Where it comes from.
const PROGRAM: &str = "SORTIE_REDIS";

/// What its users show.
const PASSWORD: &str = "a password of the bridge";

/// A server that is running, or was.
pub(crate) struct Redis {
    program: String,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Redis {
    /// One with nothing in it; nothing, where there is no program.
    pub(crate) fn start() -> Option<Self> {
        let Ok(program) = std::env::var(PROGRAM) else {
            eprintln!("skipped: {PROGRAM} is not set; `cargo xtask test` installs Redis and sets it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a free port").port();
        let mut redis = Self { program, folder, port, process: None };
        redis.go_on();
        Some(redis)
    }

    /// The lines of a configuration that name it.
    pub(crate) fn config(&self) -> String {
        let (port, password) = (self.port, self.folder.path().join("password"));
        std::fs::write(&password, PASSWORD).expect("written");
        format!(
            "[dialect.redis]\nurl = \"redis://127.0.0.1:{port}\"\npassword = \"file://{}\"\nallow_private = [\"127.0.0.1\"]\nclaim_after = \"1s\"\n\
             [callback]\nbackoff_first = \"100ms\"\nbackoff_max = \"1s\"\n",
            password.display()
        )
    }

    /// Ends it as a loss of power would, but for what the kernel has.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.kill().expect("it is ours");
        process.wait().expect("it has ended");
    }

    /// Starts it again; waits until it answers.
    pub(crate) fn go_on(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let started = Command::new(&self.program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--port", &self.port.to_string(), "--requirepass", PASSWORD, "--dir"])
            .arg(self.folder.path())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        self.process = Some(started.expect("it starts"));
        for _ in 0..600 {
            if self.asked(&["PING"]).is_some_and(|answer| answer.trim() == "PONG") {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not come up: {}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }

    /// What it answers, as JSON.
    pub(crate) fn ask(&self, command: &[&str]) -> Value {
        let command: Vec<&str> = ["--json"].into_iter().chain(command.iter().copied()).collect();
        let answer = self.asked(&command).expect("it answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{command:?}: {answer}: {error}"))
    }

    /// Adds a job, as the control plane does.
    pub(crate) fn add(&self, job: &Value) {
        let (id, text) = (job["job_id"].as_str().unwrap_or_default(), job.to_string());
        self.ask(&["XADD", "ua:missions:delegation", "*", "job_id", id, "idempotency_key", id, "envelope", &text]);
    }

    /// The messages of a stream, each as an object of its fields.
    pub(crate) fn messages(&self, stream: &str) -> Vec<Value> {
        let entries = self.ask(&["XRANGE", stream, "-", "+"]);
        let fields = |entry: &Value| -> Value {
            let told: Vec<Value> = entry[1].as_array().cloned().unwrap_or_default();
            let pairs = told.chunks(2).map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), pair[1].clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        entries.as_array().into_iter().flatten().map(fields).collect()
    }

    /// The results that are there: of each its message and what it says.
    pub(crate) fn results(&self) -> Vec<(Value, Value)> {
        let read = |message: Value| {
            let said = serde_json::from_str(message["envelope"].as_str().expect("a text")).expect("JSON");
            (message, said)
        };
        self.messages("ua:missions:delegation:results").into_iter().map(read).collect()
    }

    /// How many messages are taken and not acknowledged.
    pub(crate) fn pending(&self) -> u64 {
        self.ask(&["XPENDING", "ua:missions:delegation", "ua_workers"])[0].as_u64().expect("a number")
    }

    /// For how long the job has been taken that was taken first of those that nobody acknowledged, in milliseconds.
    pub(crate) fn longest_pending(&self) -> u64 {
        let pending = self.ask(&["XPENDING", "ua:missions:delegation", "ua_workers", "-", "+", "10"]);
        pending.as_array().into_iter().flatten().filter_map(|one| one[2].as_u64()).max().unwrap_or_default()
    }

    /// Whether nobody else has asked it anything for so many seconds.
    pub(crate) fn is_left_alone(&self, seconds: u64) -> bool {
        let clients = self.asked(&["CLIENT", "LIST"]).expect("it answers");
        let idle = |line: &str| line.split(' ').find_map(|part| part.strip_prefix("idle=")?.parse::<u64>().ok());
        let others = clients.lines().filter(|line| !line.contains("cmd=client"));
        others.filter_map(idle).all(|idle| idle >= seconds)
    }

    fn asked(&self, command: &[&str]) -> Option<String> {
        let program = self.program.replace("redis-server", "redis-cli");
        let mut cli = Command::new(program);
        cli.args(["-p", &self.port.to_string()]).env("REDISCLI_AUTH", PASSWORD).args(command);
        let asked = cli.output().expect("redis-cli runs");
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
