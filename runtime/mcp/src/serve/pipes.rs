//! A desk over two pipes: a client that started this process, and nobody else.
//!
//! What is no JSON is answered here (`-32700`): the crate that speaks the protocol passes over it, and a client that has a mistake would wait
//! for ever.

use std::io;
use std::sync::Arc;

use rmcp::service::ServiceExt as _;
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::sync::Mutex;

use super::desk::Desk;
use super::handler::{Handler, Shared};
use super::wrong::{INVALID_REQUEST, PARSE_ERROR, wrong};

/// Most bytes of a message: twice a result of a tool, and many envelopes.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// What is on its way between the client and who speaks the protocol.
const PIPE_BYTES: usize = 64 << 10;

/// Why a client on pipes is served no more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It never said what it speaks.
    #[error("the client did not begin as the protocol says")]
    Begin(#[source] Box<rmcp::service::ServerInitializeError>),
    /// What served it broke.
    #[error("the server broke off")]
    Broken(#[source] tokio::task::JoinError),
}

/// Serves the one client at the other end until it closes its end. All calls are of `caller`.
pub async fn over<D: Desk>(
    desk: D,
    caller: D::Caller,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), ServeError> {
    let (heard, to_server) = tokio::io::duplex(PIPE_BYTES);
    let (said, from_server) = tokio::io::duplex(PIPE_BYTES);
    let output = Arc::new(Mutex::new(output));
    let hearing = tokio::spawn(hear(input, to_server, Arc::clone(&output)));
    let saying = tokio::spawn(say(from_server, output));
    let served = serve(desk, caller, heard, said).await;
    hearing.abort();
    // What was said last is on its way.
    let _ = saying.await;
    served
}

async fn serve<D: Desk>(
    desk: D,
    caller: D::Caller,
    input: DuplexStream,
    output: DuplexStream,
) -> Result<(), ServeError> {
    let handler = Handler::new(Shared::new(desk), Some(caller));
    let serving = match handler.serve((input, output)).await {
        Ok(serving) => serving,
        // It has looked, and went away.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(ServeError::Begin(Box::new(error))),
    };
    serving.waiting().await.map(drop).map_err(ServeError::Broken)
}

/// Hands on what the client says, line by line, and answers what is none of the protocol's.
async fn hear<W: AsyncWrite + Unpin>(
    input: impl AsyncRead + Unpin,
    mut to_server: DuplexStream,
    output: Arc<Mutex<W>>,
) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            pass_over(&mut input).await?;
            let why = format!("a message has at most {LINE_BYTES_MAX} bytes");
            put(&output, &wrong(INVALID_REQUEST, &why, None)).await?;
        } else if let Err(error) = serde_json::from_slice::<Value>(&line)
            && !line.trim_ascii().is_empty()
        {
            put(&output, &wrong(PARSE_ERROR, &format!("the line is not JSON: {error}"), None)).await?;
        } else {
            to_server.write_all(&line).await?;
            // The last line may end with its file.
            if !line.ends_with(b"\n") {
                to_server.write_all(b"\n").await?;
            }
        }
    }
}

/// To the end of a line.
async fn pass_over(input: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let there = input.fill_buf().await?;
        let (end, bytes) = (there.iter().position(|byte| *byte == b'\n'), there.len());
        input.consume(end.map_or(bytes, |end| end + 1));
        if end.is_some() || bytes == 0 {
            return Ok(());
        }
    }
}

/// Hands on what the server says, in whole lines.
async fn say<W: AsyncWrite + Unpin>(from_server: DuplexStream, output: Arc<Mutex<W>>) -> io::Result<()> {
    let mut from_server = BufReader::new(from_server);
    let mut line = Vec::new();
    while from_server.read_until(b'\n', &mut line).await? > 0 {
        put(&output, &line).await?;
        line.clear();
    }
    Ok(())
}

async fn put<W: AsyncWrite + Unpin>(output: &Mutex<W>, line: &[u8]) -> io::Result<()> {
    let mut output = output.lock().await;
    output.write_all(line).await?;
    if !line.ends_with(b"\n") {
        output.write_all(b"\n").await?;
    }
    output.flush().await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is handed on of these lines, and what is answered.
    async fn heard(input: Vec<u8>) -> (Vec<u8>, Vec<Value>) {
        let (mut server, to_server) = tokio::io::duplex(PIPE_BYTES);
        let output = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            server.read_to_end(&mut read).await.map(|_| read)
        });
        hear(&*input, to_server, Arc::clone(&output)).await.expect("all is read");
        let read = reading.await.expect("it is read").expect("to its end");
        let told = String::from_utf8(output.lock().await.clone()).expect("text");
        (read, told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }

    #[tokio::test]
    async fn what_is_no_json_is_answered_and_the_rest_is_handed_on() {
        for (input, handed, codes) in [
            ("{\"a\": 1}\n[2]\n", "{\"a\": 1}\n[2]\n", json!([])),
            ("{\"a\": 1}\r\n\n  \n3\n", "{\"a\": 1}\r\n\n  \n3\n", json!([])),
            ("{\"a\": \n7\n", "7\n", json!([-32_700])),
            ("nonsense\n{'a': 1}\n{}\n", "{}\n", json!([-32_700, -32_700])),
            ("{}{}\n", "", json!([-32_700])),
            ("{\"a\": 1}", "{\"a\": 1}\n", json!([])),
            ("{\"a\"", "", json!([-32_700])),
            ("\u{feff}{}\n", "", json!([-32_700])),
            // Within texts and numbers, too.
            ("{\"a\": \"\\ud800\"}\n", "", json!([-32_700])),
            ("{\"a\": \"\\x\"}\n{\"a\": 1e999}\n", "", json!([-32_700, -32_700])),
        ] {
            let (read, told) = heard(input.as_bytes().to_vec()).await;
            let told_codes: Vec<&Value> = told.iter().map(|told| &told["error"]["code"]).collect();
            assert_eq!((String::from_utf8_lossy(&read).as_ref(), json!(told_codes)), (handed, codes), "{input:?}");
            assert!(told.iter().all(|told| told["id"].is_null() && told["jsonrpc"] == "2.0"), "{told:?}");
        }
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_the_next_one_is_heard() {
        let mut input = vec![b' '; usize::try_from(LINE_BYTES_MAX).expect("a size") + 5];
        input.extend_from_slice(b"\n{}\n");
        let (read, told) = heard(input).await;
        assert_eq!((read.as_slice(), told.len(), &told[0]["error"]["code"]), (&b"{}\n"[..], 1, &json!(-32_600)));
        for bad in [&b"\xff\xfe"[..], b"{\"a\": \"\xff\xfe\"}", b"{\"\xc3\": 1}"] {
            let (read, told) = heard([bad, b"\n{}\n"].concat()).await;
            assert_eq!((read.as_slice(), told.len(), &told[0]["error"]["code"]), (&b"{}\n"[..], 1, &json!(-32_700)));
        }
    }
}
