//! A connection that takes nothing more from a server which is owed too many answers.
//!
//! Servers may ask, too: whether the node is there, for roots, and people. Each question becomes a task and an answer that waits to be
//! sent, some of them for days; one that asks without end, and does not read the answers, would fill the node's memory. Here it fills its own
//! pipe.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use rmcp::model::JsonRpcMessage;
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use sortie_contract::limit::OWED_TO_SERVER_MAX;
use tokio::sync::Semaphore;

/// See the module.
pub(crate) struct Throttled<T> {
    inner: T,
    room: Arc<Semaphore>,
}

impl<T> Throttled<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, room: Arc::new(Semaphore::new(OWED_TO_SERVER_MAX)) }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Throttled<T> {
    type Error = T::Error;

    /// What errors call it, which people read.
    fn name() -> Cow<'static, str> {
        "to the server".into()
    }

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let answers = match &message {
            JsonRpcMessage::Response(_) => true,
            JsonRpcMessage::Error(error) => error.id.is_some(),
            _ => false,
        };
        let room = answers.then(|| Arc::clone(&self.room));
        let sending = self.inner.send(message);
        async move {
            let sent = sending.await;
            if let Some(room) = room {
                room.add_permits(1);
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        // Never closed. Dropped while it waits for a message, this takes no place.
        let place = self.room.acquire().await.ok()?;
        let message = self.inner.receive().await?;
        if matches!(message, JsonRpcMessage::Request(_)) {
            place.forget();
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
