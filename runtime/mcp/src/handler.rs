//! What the node answers to a server that asks it something, and what it takes notice of.
//!
//! Every answer is given at once, from memory: a server that asks without end waits for its own answers ([`throttle`](crate::throttle)).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::ClientHandler;
use rmcp::model::{
    ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData, Implementation,
    ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use tokio::sync::Notify;

/// What a server tells without being asked.
#[derive(Default)]
pub(crate) struct News {
    /// It has other tools.
    pub(crate) tools: Notify,
    pub(crate) progress: Arc<Progress>,
}

/// The calls that may tell of their progress.
#[derive(Default)]
pub(crate) struct Progress(Mutex<HashMap<ProgressToken, Arc<Notify>>>);

/// One of them; it is forgotten when this is dropped.
pub(crate) struct Moves {
    all: Arc<Progress>,
    token: ProgressToken,
    moved: Arc<Notify>,
}

impl Progress {
    pub(crate) fn of(self: &Arc<Self>, token: ProgressToken) -> Moves {
        let moved = Arc::new(Notify::new());
        self.0.lock().insert(token.clone(), Arc::clone(&moved));
        Moves { all: Arc::clone(self), token, moved }
    }

    /// Whether there is no more than one call.
    pub(crate) fn alone(&self) -> bool {
        self.0.lock().len() <= 1
    }

    fn moved(&self, token: &ProgressToken) {
        if let Some(moved) = self.0.lock().get(token) {
            moved.notify_one();
        }
    }
}

impl Moves {
    /// Resolves with the next sign of progress.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.token);
    }
}

/// See the module.
pub(crate) struct Handler {
    pub(crate) server: Arc<str>,
    pub(crate) news: Arc<News>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("sortie", env!("CARGO_PKG_VERSION"));
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        info
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        tracing::info!(server = &*self.server, "a tool server asks people for input; it is declined");
        Ok(ElicitResult::new(ElicitationAction::Decline))
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.news.progress.moved(&progress.progress_token);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.news.tools.notify_one();
    }
}
