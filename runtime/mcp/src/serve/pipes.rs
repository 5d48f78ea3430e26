//! A desk over two pipes: a client that started this process, and nobody else.

use rmcp::service::ServiceExt as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::desk::Desk;
use super::handler::{Handler, Shared};

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
    let handler = Handler::new(Shared::new(desk), Some(caller));
    let serving = match handler.serve((input, output)).await {
        Ok(serving) => serving,
        // It has looked, and went away.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(ServeError::Begin(Box::new(error))),
    };
    serving.waiting().await.map(drop).map_err(ServeError::Broken)
}
