//! A bucket of a test's own, on a server that others wrote, and a way to it on which things go wrong.
//!
//! `cargo xtask test` installs the server and says where it is (`SORTIE_MOTO`); without that nothing is tested, and it is said.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use sortie_tests::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SERVER: &str = "SORTIE_MOTO";

/// What the tests store in it.
const NAME: &str = "factory";

/// A server with a bucket.
pub(crate) struct Bucket {
    process: Child,
    port: u16,
}

impl Bucket {
    /// One with nothing in it; nothing, where there is no server.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os(SERVER) else {
            eprintln!("skipped: {SERVER} is not set; `cargo xtask test` installs a server and sets it");
            return None;
        };
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it was piped")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.rsplit_once("http://127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok()));
        // It writes a line for each request, and would wait for whoever reads it.
        std::thread::spawn(move || lines.for_each(drop));
        let bucket = Self { process, port: port.expect("it says where it listens") };
        let made =
            http::client().put(format!("http://127.0.0.1:{}/{NAME}", bucket.port)).send().await.expect("an answer");
        assert!(made.status().is_success(), "{made:?}");
        Some(bucket)
    }

    /// The lines of a configuration that name it.
    pub(crate) fn config(&self, way: Option<&Way>) -> String {
        let port = way.map_or(self.port, |way| way.port);
        format!(
            "[artifact]\nshared = \"s3://{NAME}/sortie/one\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
             access_key_id = \"env://S3_ID\"\nsecret_access_key = \"env://S3_KEY\"\nallow_private = [\"127.0.0.1\"]\n"
        )
    }

    /// The keys of what is in it, sorted.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/{NAME}?list-type=2", self.port);
        let listed = http::client().get(url).send().await.expect("an answer").text().await.expect("a text");
        let mut keys: Vec<String> =
            listed.split("<Key>").skip(1).filter_map(|part| Some(part.split_once("</Key>")?.0.to_owned())).collect();
        keys.sort();
        keys
    }

    /// A way to it of which the test says how it is.
    pub(crate) async fn way(&self) -> Way {
        Way::to(self.port).await
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What happens on a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing.
    Fair,
    /// Each request is answered with 503.
    Busy,
    /// Each connection is cut after so many bytes of what is sent.
    Cut(usize),
    /// What is answered has other bytes: `# Report` comes as `# Rep0rt`.
    Garbled,
}

/// A way to a server, through which all bytes go.
pub(crate) struct Way {
    port: u16,
    weather: Arc<parking::Weathers>,
}

mod parking {
    use std::sync::Mutex;

    use super::{AtomicUsize, Weather};

    #[derive(Debug)]
    pub(super) struct Weathers {
        pub(super) now: Mutex<Weather>,
        pub(super) met: AtomicUsize,
    }
}

impl Way {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let weather =
            Arc::new(parking::Weathers { now: std::sync::Mutex::new(Weather::Fair), met: AtomicUsize::new(0) });
        let seen = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { carry(client, server, &seen).await.ok() });
            }
        });
        Self { port, weather }
    }

    /// From now on it is like this. Connections that are there are met by it with their next bytes.
    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.met.store(0, SeqCst);
        *self.weather.now.lock().expect("no panic") = weather;
    }

    /// How often somebody has met with what is not fair since it turned.
    pub(crate) fn met(&self) -> usize {
        self.weather.met.load(SeqCst)
    }
}

/// Carries the bytes of one connection.
async fn carry(mut client: TcpStream, server: u16, seen: &parking::Weathers) -> std::io::Result<()> {
    let now = || *seen.now.lock().expect("no panic");
    let mut there = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut sent = 0;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                sent += read;
                match now() {
                    Weather::Busy => {
                        seen.met.fetch_add(1, SeqCst);
                        // Its body is taken first: a client that still sends would not look at the answer.
                        while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(50), client.read(&mut up)).await {}
                        client
                            .write_all(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                            .await?;
                        return Ok(());
                    }
                    Weather::Cut(after) if sent > after => {
                        seen.met.fetch_add(1, SeqCst);
                        there.write_all(&up[..read / 2]).await?;
                        return Ok(());
                    }
                    _ => there.write_all(&up[..read]).await?,
                }
            }
            read = there.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let bytes = match now() {
                    Weather::Garbled => {
                        let text = down[..read].iter().map(|&byte| char::from(byte)).collect::<String>();
                        let garbled = text.replace("# Report", "# Rep0rt");
                        seen.met.fetch_add(usize::from(garbled != text), SeqCst);
                        garbled.chars().map(|c| u8::try_from(u32::from(c)).expect("of a byte")).collect()
                    }
                    _ => down[..read].to_vec(),
                };
                client.write_all(&bytes).await?;
            }
        }
    }
}
