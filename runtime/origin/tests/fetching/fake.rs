//! A server of the tests, which answers as it is told, byte for byte: also as no honest one would.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The head, in small letters but for values.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What it answers.
pub(crate) enum Reply {
    /// A status, headers, a body.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// 200, and a body without an end.
    Endless,
    /// Nothing, and the connection stays open.
    Silent,
}

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// One that answers so; the count says how often it has been asked before.
    pub(crate) async fn answering(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("its own").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, written) = (Arc::new(answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (answer, written) = (Arc::clone(&answer), Arc::clone(&written));
                tokio::spawn(async move {
                    // Whoever hangs up has heard enough.
                    let _ = serve(connection, &*answer, &written).await;
                });
            }
        });
        Self { host, asked, task }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

async fn serve(
    mut connection: TcpStream,
    answer: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
    written: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut asked = Asked { method: method.to_owned(), path: path.to_owned(), head: head.clone(), body: Vec::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = read.split_off(end + 4);
    while asked.body.len() < length {
        if connection.read_buf(&mut asked.body).await? == 0 {
            return Ok(());
        }
    }
    let before = {
        let mut written = written.lock();
        written.push(asked.clone());
        written.len() - 1
    };
    match answer(&asked, before) {
        Reply::Whole(status, headers, body) => {
            let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
            if !headers.iter().any(|(name, _)| *name == "content-length") {
                text.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
            text.push_str("\r\n");
            connection.write_all(text.as_bytes()).await?;
            if asked.method != "HEAD" {
                connection.write_all(&body).await?;
            }
            connection.shutdown().await
        }
        Reply::Endless => {
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                connection.write_all(&[b'x'; 4_096]).await?;
            }
        }
        Reply::Silent => std::future::pending().await,
    }
}
