//! Connections that are not HTTP's (mail): the same guard sees where they lead, the same certificates are believed.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::client::SendError;
use crate::guard::Guard;

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
    let mut last = None;
    for address in guard.resolved(name, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(connect(last.map_or_else(|| "the name has no addresses".to_owned(), |error| error.to_string())))
}

/// Secures a connection, to what proves to be that host by a certificate that this machine believes.
pub async fn secure(stream: TcpStream, host: &str) -> Result<Secured, SendError> {
    let connect = |why: String| SendError::Connect(why);
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| connect(error.to_string()))?;
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = ClientConfig::builder().with_platform_verifier().map_err(|error| connect(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    connector.connect(name, stream).await.map_err(|error| connect(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(secure(stream.unwrap(), "127.0.0.1").await, Err(SendError::Connect(_))));
    }
}
