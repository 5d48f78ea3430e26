//! Letters handed over to a mail server that speaks TLS, with a certificate of an authority of its own.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::message::tests::sample;

/// What belongs to `localhost` and `127.0.0.1`, for a hundred years, and who says so.
const CERTIFICATE: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key");
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/certificates/authority.pem");

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Takes one letter, and gives back what was said to it; nothing of what came before it was secured.
async fn sink(listener: TcpListener, encryption: Encryption) -> io::Result<Vec<String>> {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (stream, _) = listener.accept().await?;
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
    let mut is_secured = false;
    if encryption == Encryption::Implicit {
        stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await?));
        is_secured = true;
    }
    stream.write_all(b"220 sink\r\n").await?;
    let (mut said, mut is_letter) = (Vec::new(), false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(said);
        }
        let line = line.trim_end().to_owned();
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match word.as_str() {
            "." => {
                is_letter = false;
                b"250 taken\r\n"
            }
            _ if is_letter => b"",
            "EHLO" if is_secured => b"250-sink\r\n250 AUTH PLAIN\r\n",
            "EHLO" => b"250-sink\r\n250 STARTTLS\r\n",
            "STARTTLS" => {
                stream.write_all(b"220 begin\r\n").await?;
                stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await?));
                (is_secured, said) = (true, Vec::new());
                continue;
            }
            "AUTH" => b"235 welcome\r\n",
            "DATA" => {
                is_letter = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 well\r\n",
        };
        stream.write_all(answer).await?;
        said.push(line);
    }
}

#[tokio::test]
async fn a_letter_is_handed_over_to_who_proves_to_be_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (password, empty) = (folder.path().join("password"), folder.path().join("empty.pem"));
    std::fs::write(&password, "swordfish").expect("writable");
    std::fs::write(&empty, "no certificate").expect("writable");
    let (authority, nowhere) = (PathBuf::from(AUTHORITY), folder.path().join("none.pem"));
    for encryption in [Encryption::Implicit, Encryption::Starttls] {
        for (host, ca, expected) in [
            ("localhost", Some(&authority), Ok(())),
            ("127.0.0.1", Some(&authority), Ok(())),
            ("localhost", None, Err("certificate")),
            // It is somebody else's.
            ("127.0.0.2", Some(&authority), Err("certificate")),
            ("localhost", Some(&nowhere), Err("`mail.ca`")),
            ("localhost", Some(&empty), Err("no certificate in it")),
        ] {
            let at = if host == "127.0.0.2" { "127.0.0.2:0" } else { "127.0.0.1:0" };
            let listener = TcpListener::bind(at).await.expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let taken = tokio::spawn(sink(listener, encryption));
            let mail = Mail {
                host: host.to_owned(),
                port,
                encryption,
                ca: ca.cloned(),
                user: Some("night".to_owned()),
                password: Some(format!("file://{}", password.display()).parse().expect("a reference")),
                from: "Sortie <sortie@factory.example>".parse().expect("an address"),
                to: vec!["ada@example.org".parse().expect("an address")],
            };
            let guard = Guard::new(&["127.0.0.0/8".to_owned(), "::1".to_owned()], "x").expect("a guard");
            let sent = send(&mail, &guard, &sample(&["a mission failed"], false)).await;
            match expected {
                Ok(()) => {
                    sent.unwrap_or_else(|failed| panic!("{encryption:?} {host}: {}", failed.why));
                    let said = taken.await.expect("no panic").expect("a dialogue");
                    let has = |begin: &str| said.iter().any(|line| line.starts_with(begin));
                    assert!(has("AUTH PLAIN") && has("RCPT TO:<ada@example.org>") && has("Subject: "), "{said:?}");
                }
                Err(why) => {
                    let failed = sent.expect_err("it is not believed");
                    assert!(failed.why.contains(why), "{encryption:?} {host} {ca:?}: {}", failed.why);
                    taken.abort();
                }
            }
        }
    }
}
