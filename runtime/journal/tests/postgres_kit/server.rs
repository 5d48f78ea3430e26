//! A PostgreSQL of a test's own: made, started, killed and started again, and gone with the test.
//!
//! It keeps its promises as one in earnest does (`fsync` is on). It never runs as root, which it refuses: where the test does, the server
//! runs as nobody. `cargo xtask test` says where its programs are, in `bin`, and a server that was made but never ran, in `data`
//! (`SORTIE_POSTGRES`); without that nothing is tested, and it is said.
//! The black-box tests use this file, too.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where it comes from.
const PROGRAMS: &str = "SORTIE_POSTGRES";

/// Who runs it where the test is root's.
const NOBODY: u32 = 65_534;

/// A server that is running, or was.
pub(crate) struct Server {
    given: PathBuf,
    folder: tempfile::TempDir,
    address: String,
    /// What names the namespace of the network that it has, where it is not in the test's.
    namespace: Option<String>,
    port: u16,
    process: Option<Child>,
    /// What it is told beyond what every one is: `name=value`.
    settings: Vec<String>,
}

impl Server {
    /// One with nothing in it; nothing, where there are no programs.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at("127.0.0.1", None)
    }

    /// The same, at this address, in that namespace of the network.
    pub(crate) fn start_at(address: &str, namespace: Option<String>) -> Option<Self> {
        let Some(given) = std::env::var_os(PROGRAMS).map(PathBuf::from) else {
            eprintln!("skipped: {PROGRAMS} is not set; `cargo xtask test` installs PostgreSQL and sets it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a free port").port();
        let (address, process, settings) = (address.to_owned(), None, Vec::new());
        let mut server = Self { given, folder, address, namespace, port, process, settings };
        if is_root() {
            chown(server.folder.path(), Some(NOBODY), Some(NOBODY)).expect("it is ours to give away");
        }
        let mut copied = server.as_its_user(Command::new("cp"));
        copied.arg("-r").arg(server.given.join("data")).arg(server.data());
        assert!(copied.output().expect("cp runs").status.success(), "{} is no server", server.given.display());
        if server.namespace.is_some() {
            // Whoever is in the test's network may ask; as it was made, only this machine may.
            let mut trusted =
                fs::File::options().append(true).open(server.data().join("pg_hba.conf")).expect("its list");
            writeln!(trusted, "host all all samenet trust").expect("a line more");
        }
        server.go_on();
        Some(server)
    }

    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://sortie@{}:{}/{database}", self.address, self.port)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A database of its own, with nothing in it; its name.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name.to_owned()
    }

    /// What a database answers: rows as lines, columns with `|` between them.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let asked = self
            .program("psql")
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql])
            .output();
        let asked = asked.expect("psql runs");
        assert!(asked.status.success(), "{sql}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8_lossy(&asked.stdout).trim_end().to_owned()
    }

    /// How many transactions of this script a second its own benchmark makes, with so many clients, in so many seconds.
    #[allow(dead_code, reason = "benchmarks use it, and no test")]
    pub(crate) fn pgbench(&self, database: &str, script: &str, clients: u32, seconds: u64) -> f64 {
        let file = self.folder.path().join("script.sql");
        fs::write(&file, script).expect("a folder of ours");
        let asked = self
            .program("pgbench")
            .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-T", &seconds.to_string(), "-f"])
            .arg(&file)
            .arg(self.url(database))
            .output();
        let asked = asked.expect("pgbench runs");
        let said = String::from_utf8_lossy(&asked.stdout);
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&asked.stderr)))
    }

    /// Ends it as a loss of power would, but for what the kernel has.
    pub(crate) fn kill(&mut self) {
        // With those that serve connections, which would write on for a moment. Some may have ended by themselves.
        self.signal("-KILL");
        let mut process = self.process.take().expect("it is running");
        process.wait().expect("it has ended");
    }

    /// Starts it again; waits until it answers.
    pub(crate) fn go_on(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        for _ in 0..600 {
            let running = match &mut self.process {
                Some(process) => process.try_wait().expect("it is ours").is_none(),
                None => false,
            };
            if !running {
                // What a killed one left may still be going: then the next attempt comes too early.
                let started = self
                    .postgres()
                    .arg("-D")
                    .arg(self.data())
                    .args(["-h", &self.address, "-k", "", "-c", "fsync=on", "-c", "max_connections=60", "-p"])
                    .arg(self.port.to_string())
                    .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
                    .stderr(log.try_clone().expect("a log"))
                    .spawn();
                self.process = Some(started.expect("postgres runs"));
            }
            let ready =
                self.program("pg_isready").args(["-q", "-h", &self.address, "-p", &self.port.to_string()]).status();
            if running && ready.expect("pg_isready runs").success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not come up: {}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }

    /// Has all of its processes stand still, with every connection open, or go on.
    #[allow(dead_code, reason = "the black-box tests use it")]
    pub(crate) fn freeze(&self, stands_still: bool) {
        assert!(
            self.signal(if stands_still { "-STOP" } else { "-CONT" }),
            "one of its processes could not be signalled"
        );
    }

    /// Sends all of its processes a signal, the first one first: it begins no more of them.
    fn signal(&self, signal: &str) -> bool {
        let first = self.process.as_ref().expect("it is running").id();
        let parent = |stat: &str| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok();
        let processes = fs::read_dir("/proc").expect("a list of processes").flatten();
        let children = processes.filter_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            (parent(&stat)? == first).then_some(pid)
        });
        let pids = [first].into_iter().chain(children).map(|pid| pid.to_string());
        Command::new("kill").arg(signal).args(pids).status().expect("kill runs").success()
    }

    /// Has it speak TLS from now on, with that certificate and that key, both in PEM.
    #[allow(dead_code, reason = "the log's tests use it, and no others")]
    pub(crate) fn secure(&mut self, certificate: &str, key: &str) {
        self.settings = vec!["ssl=on".to_owned()];
        for (setting, name, text) in [("ssl_cert_file", "server.crt", certificate), ("ssl_key_file", "server.key", key)]
        {
            let path = self.folder.path().join(name);
            fs::write(&path, text).expect("a folder of ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
            if is_root() {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("it is ours to give away");
            }
            self.settings.push(format!("{setting}={}", path.display()));
        }
        self.kill();
        self.go_on();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server itself, in its namespace.
    fn postgres(&self) -> Command {
        let Some(namespace) = &self.namespace else { return self.program("postgres") };
        // Only root may enter it, and does not stay root.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={namespace}")).arg(format!("--setuid={NOBODY}")).arg(format!("--setgid={NOBODY}"));
        command.arg("--").arg(self.given.join("bin/postgres"));
        command.stdin(Stdio::null()).current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn program(&self, name: &str) -> Command {
        self.as_its_user(Command::new(self.given.join("bin").join(name)))
    }

    fn as_its_user(&self, mut command: Command) -> Command {
        command.stdin(Stdio::null()).current_dir(self.folder.path()).env("LC_ALL", "C");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // At once, and what it has of the kernel goes with it.
        let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
        let _ = process.wait();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
