//! A real node: the binary, on a temporary folder and a port of its own, that can be stopped, killed and started again.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::faults::Faults;
use crate::http::{self, Answer};
use crate::{binary, net, until, warm};

/// What a node is started with.
#[derive(Debug, Default, Clone)]
pub struct Options {
    config: String,
    environment: Vec<(String, String)>,
    /// Below which of its data's folders a disk can be spoilt, where one can.
    faulty: Option<PathBuf>,
    files: Option<(u32, Option<u32>)>,
    port: u16,
    disk_bytes: Option<u64>,
    mute: bool,
    cores: bool,
    program: Option<PathBuf>,
    name: Option<String>,
    token: Option<String>,
    /// Its address, and what names the namespace of the network that it has.
    place: Option<(String, String)>,
}

impl Options {
    /// As shipped, with the instance id `factory-1`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With these lines of configuration too.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On clocks and a disk that [`Node::faults`] can spoil.
    #[must_use]
    pub fn faulty(self) -> Self {
        self.faulty_below(".")
    }

    /// The same, with a disk that is ill below one folder of its data alone.
    #[must_use]
    pub fn faulty_below(mut self, folder: &str) -> Self {
        self.faulty = Some(folder.into());
        self
    }

    /// With so many files that it may open at first, and so many at most.
    #[must_use]
    pub fn files(mut self, soft: u32, hard: impl Into<Option<u32>>) -> Self {
        self.files = Some((soft, hard.into()));
        self
    }

    /// Where it listens, also after a restart; without it each start has a port of its own.
    #[must_use]
    pub fn listen(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With its data on a disk of its own, of so many bytes.
    #[must_use]
    pub fn disk(mut self, bytes: u64) -> Self {
        self.disk_bytes = Some(bytes);
        self
    }

    /// With a log that takes no line, as on a disk that is full.
    #[must_use]
    pub fn mute(mut self) -> Self {
        self.mute = true;
        self
    }

    /// Where whoever starts it would have core dumps of any size that they may have.
    #[must_use]
    pub fn cores(mut self) -> Self {
        self.cores = true;
        self
    }

    /// Of another binary than that which was built.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// With this instance id.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With this admin token, which others may have, too.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// In that namespace of the network, at an address that it has there.
    #[must_use]
    pub fn inside(mut self, namespace: &str, address: &str) -> Self {
        self.place = Some((address.to_owned(), namespace.to_owned()));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(self) -> Node {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("sortie.toml"), &self.config).expect("a writable folder");
        let disk = self.disk_bytes.map(|bytes| SmallDisk::mount(&folder.path().join("data"), bytes));
        let mut node = Node { folder, options: self, disk, child: None, url: String::new(), token: String::new() };
        warm(&node.data());
        if let Some(token) = &node.options.token {
            fs::create_dir_all(node.data()).expect("a writable folder");
            fs::write(node.data().join("token"), token).expect("a writable folder");
        }
        node.restart().await;
        node
    }
}

/// A node, running or not.
pub struct Node {
    folder: TempDir,
    options: Options,
    disk: Option<SmallDisk>,
    child: Option<Child>,
    url: String,
    token: String,
}

impl Node {
    /// A node as shipped.
    pub async fn start() -> Self {
        Options::new().start().await
    }

    /// Starts it (again) on the same data and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.serve().stdout(Stdio::piped()).stderr(self.log()).spawn().expect("the binary starts");
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut first = String::new();
        output.read_line(&mut first).expect("readable output");
        // Whatever else it prints must find a reader.
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        self.child = Some(child);
        let Some(url) = first.trim().strip_prefix("sortie listening on ") else {
            panic!("the first line is {first:?}, and the log says:\n{}", self.read_log());
        };
        url.clone_into(&mut self.url);
        fs::read_to_string(self.data().join("token")).expect("a token is written").trim().clone_into(&mut self.token);
        until("the node is ready", async || {
            let answer = http::send(http::client().get(format!("{}/readyz", self.url))).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Starts it where it must not come up, and gives back what it says as it ends.
    ///
    /// # Panics
    /// If it comes up, or ends in a panic.
    pub async fn refused(&mut self) -> String {
        let before = self.read_log().len();
        let child = self.serve().stdout(Stdio::null()).stderr(self.log()).spawn().expect("the binary starts");
        self.child = Some(child);
        let ended = self.ended().await;
        let said = self.read_log().split_off(before);
        assert!(!ended.success() && !said.contains("panicked"), "{ended}: {said}");
        said
    }

    /// Waits until it has ended by itself, and says how.
    ///
    /// # Panics
    /// If it is not running, or does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let ended = until("the node ends", async || child.try_wait().expect("a child can be asked")).await;
        self.child = None;
        ended
    }

    /// How it has ended by itself, if it has.
    ///
    /// # Panics
    /// If it was not running.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut().expect("it runs").try_wait().expect("a child can be asked")?;
        self.child = None;
        Some(ended)
    }

    /// From its next start on it is of that binary, or of the one under test.
    pub fn exchange(&mut self, program: Option<PathBuf>) {
        self.options.program = program;
    }

    /// Whether it was started, and its end has not been seen.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// What it is started with from its next start on, in place of what it was.
    ///
    /// # Panics
    /// If its folder cannot be written.
    pub fn reconfigure(&mut self, toml: &str) {
        fs::write(self.folder.path().join("sortie.toml"), toml).expect("a writable folder");
    }

    /// kill -9.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// If it is not running, or does not end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is not running.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }

    fn serve(&self) -> Command {
        let address = self.options.place.as_ref().map_or("127.0.0.1", |(address, _)| address);
        let mut command = self.command(&[
            "serve",
            "--listen",
            &format!("{address}:{}", self.options.port),
            "--instance-id",
            self.options.name.as_deref().unwrap_or("factory-1"),
        ]);
        if let Some(folder) = &self.options.faulty {
            // Without the `.` of the whole of it: it is compared with what the system says of open files.
            let below = self.data().join(folder).components().collect::<PathBuf>();
            command.envs(self.faults().environment(&below));
        }
        command
    }

    /// The command line of this node's binary, with its configuration and token.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let binary = || self.options.program.clone().unwrap_or_else(binary);
        let mut command = match self.options.files {
            Some((soft, hard)) if arguments.first() == Some(&"serve") => {
                let hard = hard.map(|hard| format!("ulimit -Hn {hard}; ")).unwrap_or_default();
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -Sn {soft}; {hard}exec \"$0\" \"$@\"")).arg(binary());
                shell
            }
            _ if self.options.cores && arguments.first() == Some(&"serve") => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg("ulimit -Sc \"$(ulimit -Hc)\"; exec \"$0\" \"$@\"").arg(binary());
                shell
            }
            _ => match self.disk.as_ref().filter(|_| arguments.first() == Some(&"serve")) {
                Some(disk) => disk.command(&binary()),
                None => match self.options.place.as_ref().filter(|_| arguments.first() == Some(&"serve")) {
                    Some((_, namespace)) => net::inside(namespace, &binary()),
                    None => Command::new(binary()),
                },
            },
        };
        command.arg("--config").arg(self.folder.path().join("sortie.toml")).args(arguments);
        if arguments.first() == Some(&"serve") {
            command.arg("--data-dir").arg(self.folder.path().join("data"));
        } else {
            command.args(["--node", &self.url, "--token", &self.token]);
        }
        // What commands compile is kept there; a command of the tests has nothing to do with whoever runs them.
        command.env("XDG_CACHE_HOME", binary().with_file_name("cache-of-tests"));
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
            .env("NO_COLOR", "1")
            .env("TZ", "UTC")
            .env_remove("SORTIE_TOKEN")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the command line against this node.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        ended.expect("no panic").expect("the binary starts")
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its folder: `sortie.toml`, `data/`, `log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        self.disk.as_ref().map_or(data.clone(), |disk| disk.seen_from_outside(&data))
    }

    /// What is wrong below it: strikes where it was started [`Options::faulty`].
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::of(self.folder.path())
    }

    /// All that it has logged.
    #[must_use]
    pub fn read_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A request with the admin token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method's name");
        let request = http::client().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        // A node whose clock is set ahead closes what was idle for so long, while the next request is on its way there.
        if self.options.faulty.is_some() { request.header("connection", "close") } else { request }
    }

    /// GET.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn get(&self, path: &str) -> Answer {
        http::send(self.request("GET", path)).await.expect("an answer")
    }

    /// POST of a JSON value; null is no body.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request("POST", path);
        let request = match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        };
        http::send(request).await.expect("an answer")
    }

    /// Dispatches an envelope, whatever comes of it.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn dispatch(&self, envelope: &Value) -> Answer {
        self.post("/v1/missions", envelope).await
    }

    /// Dispatches an envelope that must be accepted, and gives back its mission's id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn accept(&self, envelope: &Value) -> String {
        let answer = self.dispatch(envelope).await.expect_status(202);
        answer.json["mission_id"].as_str().expect("the reply names the mission").to_owned()
    }

    /// A mission's state.
    ///
    /// # Panics
    /// If there is no such mission.
    pub async fn mission(&self, id: &str) -> Value {
        self.get(&format!("/v1/missions/{id}")).await.expect_status(200).json
    }

    /// A mission's events so far.
    ///
    /// # Panics
    /// If there is no such mission.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/missions/{id}/events?limit=500")).await.expect_status(200);
        answer.json["items"].as_array().expect("a list").clone()
    }

    /// Waits until a mission has this status.
    ///
    /// # Panics
    /// If it does not come to that, or has ended otherwise.
    pub async fn until_status(&self, id: &str, status: &str) -> Value {
        until(&format!("{id} is {status}"), async || {
            let mission = self.mission(id).await;
            let now = mission["status"].as_str().unwrap_or_default().to_owned();
            assert!(now == status || !is_final(&now), "{id} ended {now}: {:#?}", self.events(id).await.last());
            (now == status).then_some(mission)
        })
        .await
    }

    /// Waits until a mission has ended, and gives back its final event.
    ///
    /// # Panics
    /// If it does not end, or its last event is not the final one.
    pub async fn until_final(&self, id: &str) -> Value {
        until(&format!("{id} ends"), async || is_final(self.mission(id).await["status"].as_str()?).then_some(())).await;
        let last = self.events(id).await.pop().expect("an accepted mission has events");
        assert!(is_final(last["status"].as_str().unwrap_or_default()), "the last event is not the final one: {last:#}");
        last
    }

    /// Dispatches an envelope that must be accepted and waits for its final event.
    ///
    /// # Panics
    /// If it is refused or does not end.
    pub async fn run(&self, envelope: &Value) -> Value {
        let id = self.accept(envelope).await;
        self.until_final(&id).await
    }

    /// Its resident memory, in bytes.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// How much time of processors it has taken since its start, in steps of a hundredth of a second.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let pid = self.child.as_ref().expect("it runs").id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
        // Behind the name, which is in brackets and may hold anything.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The most bytes that a core dump of it may have, and to what it may raise that itself: as the system says it.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn core_limits(&self) -> (String, String) {
        let pid = self.child.as_ref().expect("it runs").id();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a running process");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        let mut words = line.expect("it has one").split_whitespace().map(str::to_owned);
        (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
    }

    fn log(&self) -> Stdio {
        if self.options.mute {
            return fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into();
        }
        let path = self.folder.path().join("log");
        fs::OpenOptions::new().create(true).append(true).open(path).expect("a writable folder").into()
    }
}

/// A disk in memory, mounted where only a process of its own and who joins it see it: no test needs to be root.
struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    /// Mounts one at `folder`.
    fn mount(folder: &Path, bytes: u64) -> Self {
        fs::create_dir_all(folder).expect("a writable folder");
        let script =
            format!("mount -t tmpfs -o size={bytes},mode=700 tmpfs \"$0\" && echo mounted && exec sleep infinity");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("util-linux is there");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("it was piped")).read_line(&mut said).expect("readable output");
        assert_eq!(
            said.trim(),
            "mounted",
            "this machine does not let a user mount a disk in memory (`unshare --user --map-root-user --mount`); as root it works"
        );
        Self { holder }
    }

    /// A program that sees it.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &holder, "--"]).arg(program);
        command
    }

    fn seen_from_outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            let mut tail = String::new();
            let log = self.read_log();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(40)..] {
                let _ = writeln!(tail, "  {line}");
            }
            eprintln!("the end of the node's log:\n{tail}");
        }
    }
}

/// Whether a mission in this status has ended.
#[must_use]
pub fn is_final(status: &str) -> bool {
    ["completed", "failed", "cancelled", "timed_out"].contains(&status)
}

/// How long something may take that must be quick, on a machine that is not.
pub const QUICK: Duration = Duration::from_secs(5);
