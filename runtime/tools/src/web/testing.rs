//! A server on this machine for the tests of tools of the web: it shows what it was asked, and answers as a test says.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use sortie_contract::Timestamp;
use sortie_contract::tool::CallError;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::tool::Tool;
use crate::{Bill, BuiltIn, CallContext, Nobody, Providers, ToolConfig, Workspace};

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    /// In small letters.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }
}

/// What the server does.
pub(super) enum Reply {
    /// Sends this and closes.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

/// A whole answer: `head` is its status and headers.
pub(super) fn page(head: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// A server, and what it was asked so far.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) async fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, reply) = (Arc::new(Mutex::new(Vec::new())), Arc::new(reply));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, log) = (Arc::clone(&reply), Arc::clone(&log));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let asked = read(&mut stream).await?;
                    log.lock().push(asked.clone());
                    match reply(&asked) {
                        Reply::Bytes(bytes) => stream.write_all(&bytes).await,
                        Reply::Silence => stream.read_u8().await.map(drop),
                    }
                });
            }
        });
        Self { address, asked }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

async fn read(stream: &mut BufReader<tokio::net::TcpStream>) -> std::io::Result<Asked> {
    let mut asked = Asked::default();
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split(' ').map(str::to_owned);
    (asked.method, asked.target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Ok(asked)
}

/// A configuration that lets a tool ask these servers.
pub(super) fn config(servers: &[&Server]) -> ToolConfig {
    ToolConfig {
        hosts: Some(servers.iter().map(|server| server.address.to_string()).collect()),
        allow_private: Some(vec!["127.0.0.1".to_owned()]),
        ..ToolConfig::default()
    }
}

/// Calls a tool as a node does.
pub(super) async fn call(tool: impl Tool, arguments: &Value) -> Result<Value, CallError> {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(folder.path()).unwrap();
    let context = CallContext {
        workspace,
        mission_id: "m".to_owned(),
        idempotency_key: "m/7".to_owned(),
        run: sortie_contract::id::RunNo(2),
        trace_id: String::new(),
        bill: Bill::default(),
        ask: Arc::new(Nobody),
    };
    let name = tool.info().name.as_str().to_owned();
    let providers = Providers::new(BuiltIn::of(vec![Arc::new(tool)]), Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    let answer = providers.toolbox().call(&name, &context, &arguments.to_string(), None, tokio::time::sleep).await?;
    assert!(answer.wrote.is_empty());
    Ok(serde_json::from_str(&answer.result).unwrap())
}
