//! A network of a test's own: namespaces of the kernel on one bridge, between whose members frames get lost as a test wants. Linux, as root,
//! with iproute2 and util-linux.
//!
//! The thread that makes one is in it from then on, and so is every thread and program that it starts: it is made before a runtime is.
//! Nothing of it is seen by the rest of the machine, and all of it is gone with the test, also with one that is killed.
//!
//! What is lost is lost without a word, as behind a switch that failed: what one member sends to another goes to a card that nobody has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Where the test itself is, and the first of its members behind that.
const HUB: u8 = 1;

/// A card that nobody has.
const NOBODY: &str = "02:00:00:00:be:ef";

/// See the module.
pub struct Net {
    /// Who keeps the namespaces: the bridge's first, then each member's.
    _hub: Holder,
    members: Vec<Holder>,
    /// Whose frames to whom are lost.
    lost: Mutex<Vec<(usize, usize)>>,
}

impl Net {
    /// One with so many members. The calling thread is in it.
    ///
    /// # Errors
    /// Why this machine cannot have one.
    pub fn new(members: usize) -> Result<Self, String> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        if !is_root {
            return Err("namespaces of the network need root".to_owned());
        }
        run(Command::new("ip").arg("-V"))?;
        let hub = Holder::new()?;
        enter(&hub.namespace())?;
        for line in ["link set lo up", "link add hub type bridge", "link set hub up"] {
            ip(None, line)?;
        }
        ip(None, &format!("address add {}/24 dev hub", address(HUB)))?;
        let mut net = Self { _hub: hub, members: Vec::new(), lost: Mutex::default() };
        for member in 0..members {
            let holder = Holder::new()?;
            ip(None, &format!("link add m{member} type veth peer name eth0 netns {}", holder.0.id()))?;
            ip(None, &format!("link set m{member} master hub up"))?;
            for line in ["link set lo up", "link set eth0 up"] {
                ip(Some(&holder), line)?;
            }
            net.members.push(holder);
            ip(Some(&net.members[member]), &format!("address add {}/24 dev eth0", net.address(member)))?;
        }
        Ok(net)
    }

    /// Where the test is, as its members see it.
    #[must_use]
    pub fn hub(&self) -> String {
        address(HUB)
    }

    /// Where a member is.
    ///
    /// # Panics
    /// If there are more than a network has addresses.
    #[must_use]
    pub fn address(&self, member: usize) -> String {
        address(HUB + 1 + u8::try_from(member).expect("few members"))
    }

    /// What names a member's namespace, for `nsenter --net=`.
    #[must_use]
    pub fn namespace(&self, member: usize) -> String {
        self.members[member].namespace()
    }

    /// From now on nothing that the one sends comes to the other; what the other sends comes.
    ///
    /// # Panics
    /// If the kernel does not do it.
    pub fn lose(&self, from: usize, to: usize) {
        let line = format!("neigh replace {} lladdr {NOBODY} dev eth0 nud permanent", self.address(to));
        ip(Some(&self.members[from]), &line).expect("a way that can be lost");
        self.lost.lock().expect("no panic while it was held").push((from, to));
    }

    /// From now on nothing gets from a member to anybody, nor from anybody to it: its cable is out.
    ///
    /// # Panics
    /// If the kernel does not do it.
    pub fn pull(&self, member: usize) {
        ip(None, &format!("link set m{member} nomaster")).expect("a cable that can be pulled");
    }

    /// From now on nothing is lost any more, and all cables are in.
    ///
    /// # Panics
    /// If the kernel does not do it.
    pub fn heal(&self) {
        for (from, to) in std::mem::take(&mut *self.lost.lock().expect("no panic while it was held")) {
            let found = ip(Some(&self.members[from]), &format!("neigh del {} dev eth0", self.address(to)));
            found.expect("a way that was lost");
        }
        for member in 0..self.members.len() {
            ip(None, &format!("link set m{member} master hub")).expect("a cable that was pulled");
        }
    }
}

/// A program that sees a namespace of the network: `program` and what follows are what runs in it.
#[must_use]
pub fn inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={namespace}")).arg("--").arg(program);
    command
}

/// The calling thread is there from then on.
#[cfg(target_os = "linux")]
fn enter(namespace: &str) -> Result<(), String> {
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let there = fs::File::open(namespace).map_err(|error| format!("{namespace}: {error}"))?;
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &str) -> Result<(), String> {
    Err("namespaces of the network are Linux's".to_owned())
}

fn address(last: u8) -> String {
    format!("10.77.0.{last}")
}

/// A process that keeps a namespace. It ends with its input, which ends with the test.
struct Holder(Child);

impl Holder {
    fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo made; exec cat"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut holder = Self(spawned.map_err(|error| format!("`unshare` of util-linux does not start: {error}"))?);
        let mut said = String::new();
        let output = holder.0.stdout.as_mut().expect("it was piped");
        BufReader::new(output).read_line(&mut said).map_err(|error| error.to_string())?;
        if said.trim() == "made" {
            Ok(holder)
        } else {
            Err("this machine makes no namespaces of the network".to_owned())
        }
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs `ip` with these words, where the test is or in a member's namespace.
fn ip(within: Option<&Holder>, line: &str) -> Result<(), String> {
    let mut command = match within {
        Some(holder) => inside(&holder.namespace(), Path::new("ip")),
        None => Command::new("ip"),
    };
    run(command.args(line.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    if done.status.success() { Ok(()) } else { Err(said()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Whether a program in a member's namespace reaches a port of another.
    fn reaches(net: &Net, from: usize, to: usize, port: u16) -> bool {
        let mut command = inside(&net.namespace(from), Path::new("timeout"));
        command.args(["0.5", "bash", "-c"]).arg(format!("exec 3<>/dev/tcp/{}/{port}", net.address(to)));
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    #[test]
    fn what_is_lost_is_lost_one_way_until_it_is_healed() {
        let net = match Net::new(2) {
            Ok(net) => net,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        // It listens in the namespace of the first: a thread that is in it makes the socket.
        let namespace = net.namespace(0);
        let listener = std::thread::spawn(move || {
            enter(&namespace).expect("root may");
            TcpListener::bind("0.0.0.0:0").expect("a free port")
        });
        let listener = listener.join().expect("no panic");
        let port = listener.local_addr().expect("a port").port();
        let from_here = || {
            let at = format!("{}:{port}", net.address(0)).parse().expect("an address");
            TcpStream::connect_timeout(&at, Duration::from_millis(500)).is_ok()
        };
        assert!(reaches(&net, 1, 0, port) && from_here(), "all are reached");
        net.lose(1, 0);
        assert!(!reaches(&net, 1, 0, port) && from_here(), "the one is not heard any more");
        net.heal();
        net.lose(0, 1);
        assert!(!reaches(&net, 1, 0, port) && from_here(), "the other's answers are lost");
        net.heal();
        assert!(reaches(&net, 1, 0, port), "it is healed");
        net.pull(0);
        assert!(!reaches(&net, 1, 0, port) && !from_here(), "nobody reaches it");
        net.heal();
        assert!(reaches(&net, 1, 0, port) && from_here(), "it is back");
    }
}
