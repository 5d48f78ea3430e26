//! What stands between the log and its database, and breaks connections by a script: the same faults for the same seed, but for what
//! hangs on when bytes arrive.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The message that ends a transaction, on its way to the database, and the answer.
const COMMIT: &[u8] = b"COMMIT\0";

/// Bytes before the text of the message.
const HEADER: usize = 5;

/// What may happen to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing of the flight arrives.
    Lost,
    /// All of it but its end.
    Cut,
    /// It is committed, and nobody hears of it.
    Unheard,
    /// It is sent, and nobody waits: whether it is committed is a matter of moments.
    Left,
    /// It comes late.
    Late,
}

/// See the module.
pub(crate) struct Proxy {
    port: u16,
    script: Arc<Script>,
}

#[derive(Debug)]
struct Script {
    upstream: u16,
    /// Of a hundred commits, so many have a fault.
    percent: AtomicU64,
    dice: AtomicU64,
    /// How often each happened.
    done: [AtomicUsize; 5],
    /// Nothing goes through, either way, and no connection is made.
    is_dark: AtomicBool,
}

impl Proxy {
    pub(crate) fn before(upstream: u16, seed: u64, percent: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let script = Arc::new(Script {
            upstream,
            percent: AtomicU64::new(percent),
            dice: AtomicU64::new(seed),
            done: Default::default(),
            is_dark: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&script);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let script = Arc::clone(&accepting);
                std::thread::spawn(move || script.pass(client));
            }
        });
        Self { port, script }
    }

    /// The URL of a database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://sortie@127.0.0.1:{}/{database}", self.port)
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn calm(&self) {
        self.script.percent.store(0, Ordering::SeqCst);
    }

    /// Whether nothing goes through.
    pub(crate) fn darken(&self, is_dark: bool) {
        self.script.is_dark.store(is_dark, Ordering::SeqCst);
    }

    /// How often that happened.
    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.script.done[fault as usize].load(Ordering::SeqCst)
    }
}

impl Script {
    fn roll(&self, below: u64) -> u64 {
        let mut dice = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        dice = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        dice = (dice ^ (dice >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (dice >> 33) % below
    }

    fn fault(&self) -> Option<Fault> {
        if self.roll(100) >= self.percent.load(Ordering::SeqCst) {
            return None;
        }
        let fault = [Fault::Lost, Fault::Cut, Fault::Unheard, Fault::Left, Fault::Late]
            [usize::try_from(self.roll(5)).expect("it is small")];
        self.done[fault as usize].fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }

    fn wait_for_light(&self) {
        while self.is_dark.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One connection, until either side ends it or the script does.
    fn pass(&self, mut client: TcpStream) {
        self.wait_for_light();
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.upstream)) else { return };
        let unheard = AtomicBool::new(false);
        let (mut back_from, mut back_to) =
            (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
        let cut = |a: &TcpStream, b: &TcpStream| {
            let _ = a.shutdown(Shutdown::Both);
            let _ = b.shutdown(Shutdown::Both);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = back_from.read(&mut buffer) {
                    self.wait_for_light();
                    let is_committed = unheard.load(Ordering::SeqCst) && find(&buffer[..read]).is_some();
                    if is_committed || back_to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                cut(&back_from, &back_to);
            });
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = client.read(&mut buffer) {
                self.wait_for_light();
                let flight = &buffer[..read];
                let end = find(flight);
                let fault = if end.is_some() { self.fault() } else { None };
                let send = match fault {
                    None => flight,
                    Some(Fault::Lost) => break,
                    Some(Fault::Cut) => &flight[..end.unwrap_or(read).saturating_sub(HEADER)],
                    Some(Fault::Unheard) => {
                        unheard.store(true, Ordering::SeqCst);
                        flight
                    }
                    Some(Fault::Left) => flight,
                    Some(Fault::Late) => {
                        std::thread::sleep(Duration::from_millis(30));
                        flight
                    }
                };
                if server.write_all(send).is_err() || matches!(fault, Some(Fault::Cut | Fault::Left)) {
                    break;
                }
            }
            cut(&client, &server);
        });
    }
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(COMMIT.len()).position(|window| window == COMMIT)
}
