//! Connections that are not HTTP's (mail): the same guard sees where they lead, the same certificates are believed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::client::SendError;
use crate::guard::Guard;

/// So long an address is tried alone, before the next one is tried beside it.
const ALONE: Duration = Duration::from_millis(500);

/// A connection over TLS.
pub type Secured = TlsStream<TcpStream>;

/// Connects to a host that the guard lets through: a name, or an address (one of IPv6 in brackets). Dropping the future breaks the attempt
/// off; how long it may take is the caller's to say.
pub async fn dial(guard: &Guard, host: &str, port: u16) -> Result<TcpStream, SendError> {
    let connect = |why: String| SendError::Connect(why);
    // As an address it is judged in every spelling, as a name after it was resolved: what the HTTP client does, too.
    let url = Url::parse(&format!("http://{host}/")).map_err(|error| connect(error.to_string()))?;
    guard.literal(&url)?;
    let name = url.host_str().unwrap_or(host).trim_matches(['[', ']']);
    first_of(guard.resolved(name, port).await?).await.map_err(connect)
}

/// A connection to whichever of these addresses takes one first: one that is silent does not keep the next from being tried.
async fn first_of(addresses: Vec<SocketAddr>) -> Result<TcpStream, String> {
    let (mut left, mut attempts) = (addresses.into_iter(), JoinSet::new());
    let mut why = "the name has no addresses".to_owned();
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let tried = if left.len() == 0 {
            attempts.join_next().await
        } else {
            match tokio::time::timeout(ALONE, attempts.join_next()).await {
                Ok(tried) => tried,
                Err(_) => continue,
            }
        };
        match tried {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => why = error.to_string(),
            Some(Err(gone)) => why = gone.to_string(),
            None => return Err(why),
        }
    }
}

/// Certificates of authorities that are believed beside those of this machine, as text (PEM).
#[derive(Debug, Clone)]
pub struct Authorities {
    text: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Those in a text.
    ///
    /// # Errors
    /// Why there are none.
    pub fn of(text: Vec<u8>) -> Result<Self, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match certificates {
            Err(error) => Err(format!("this is no certificate in PEM: {error}")),
            Ok(none) if none.is_empty() => {
                Err("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)".to_owned())
            }
            Ok(certificates) => Ok(Self { text, certificates }),
        }
    }

    /// As they are written.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Secures a connection, to what proves to be that host by a certificate that this machine believes, or one of these authorities gave.
pub async fn secure(stream: TcpStream, host: &str, further: Option<&Authorities>) -> Result<Secured, SendError> {
    let connect = |why: String| SendError::Connect(why);
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| connect(error.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    drop(provider.clone().install_default());
    let further = further.map_or_else(Vec::new, |further| further.certificates.clone());
    let verifier =
        Verifier::new_with_extra_roots(further, Arc::new(provider)).map_err(|error| connect(error.to_string()))?;
    let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    connector.connect(name, stream).await.map_err(|error| connect(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_silent_keeps_no_other_from_being_tried() {
        // Nobody takes its connections, and no more of them have room.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = socket.listen(1).unwrap();
        let silent = silent.local_addr().map(|address| (address, silent)).unwrap();
        let mut waiting = Vec::new();
        while waiting.len() < 100
            && let Ok(stream) = tokio::time::timeout(ALONE, TcpStream::connect(silent.0)).await
        {
            waiting.push(stream.unwrap());
        }
        let well = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = (well.local_addr().unwrap(), well);
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for addresses in [vec![silent.0, well.0], vec![gone, silent.0, well.0], vec![well.0, silent.0]] {
            let stream = tokio::time::timeout(ALONE * 20, first_of(addresses.clone())).await;
            assert_eq!(stream.expect("in time").unwrap().peer_addr().unwrap(), well.0, "{addresses:?}");
        }
        assert!(first_of(vec![gone]).await.unwrap_err().contains("refused"));
        assert_eq!(first_of(Vec::new()).await.unwrap_err(), "the name has no addresses");
    }

    #[tokio::test]
    async fn nothing_is_dialled_that_the_guard_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guard = |listed: &[String]| Guard::new(listed, "[x] allow_private").unwrap();
        let (closed, open) = (guard(&[]), guard(&["127.0.0.1".to_owned()]));
        for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "a.localhost"] {
            let error = dial(&closed, host, port).await.unwrap_err();
            assert!(matches!(error, SendError::Refused(_)), "{host}: {error}");
        }
        // The resolver's answer is judged as well.
        let error = closed.resolved("localhost", port).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{error}");
        for host in ["127.0.0.1", "localhost"] {
            let (dialled, accepted) = tokio::join!(dial(&open, host, port), listener.accept());
            assert_eq!(dialled.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        }
        assert!(matches!(dial(&open, "", port).await, Err(SendError::Connect(_))));
        // Who does not speak TLS proves nothing.
        let (stream, accepted) = tokio::join!(dial(&open, "127.0.0.1", port), listener.accept());
        drop(accepted);
        assert!(matches!(secure(stream.unwrap(), "127.0.0.1", None).await, Err(SendError::Connect(_))));
    }
}
