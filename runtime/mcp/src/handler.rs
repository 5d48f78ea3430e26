//! What the node answers to a server that asks it something, and what it takes notice of.
//!
//! Every answer is given at once, from memory, but for what people are asked: a server that asks without end waits for its own answers
//! ([`throttle`](crate::throttle)).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::ClientHandler;
use rmcp::model::{
    ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationCapability, ErrorData,
    FormElicitationCapability, Implementation, ProgressNotificationParam, ProgressToken, ProtocolVersion, RequestId,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use serde_json::Value;
use sortie_contract::limit::QUESTIONS_OF_SERVER_MAX;
use sortie_egress::Redactor;
use tokio::sync::{Notify, RwLock, Semaphore};

use crate::asking::{Asking, NO_ADDRESSES, RELATED, declined};
use crate::rate::Rate;

/// What a server tells without being asked, and what it asks.
pub(crate) struct News {
    /// It has other tools.
    pub(crate) tools: Notify,
    pub(crate) progress: Arc<Progress>,
    /// Held while a call is sent, until it is known here: a server may ask before whoever sent the call goes on.
    pub(crate) sending: RwLock<()>,
    /// Questions that may wait for people at once.
    pub(crate) room: Semaphore,
    /// Questions that nobody is asked, in the log.
    pub(crate) declined: Mutex<Rate>,
}

impl Default for News {
    fn default() -> Self {
        Self {
            tools: Notify::new(),
            progress: Arc::default(),
            sending: RwLock::default(),
            room: Semaphore::new(QUESTIONS_OF_SERVER_MAX),
            declined: Mutex::default(),
        }
    }
}

/// The calls that may tell of their progress.
#[derive(Default)]
pub(crate) struct Progress(Mutex<HashMap<ProgressToken, Under>>);

/// A call that is under way.
struct Under {
    request: RequestId,
    moved: Arc<Notify>,
    asking: Arc<Asking>,
}

/// One of them; it is forgotten when this is dropped.
pub(crate) struct Moves {
    all: Arc<Progress>,
    token: ProgressToken,
    moved: Arc<Notify>,
}

impl Progress {
    pub(crate) fn of(self: &Arc<Self>, token: ProgressToken, request: RequestId, asking: &Arc<Asking>) -> Moves {
        let moved = Arc::new(Notify::new());
        let under = Under { request, moved: Arc::clone(&moved), asking: Arc::clone(asking) };
        self.0.lock().insert(token.clone(), under);
        Moves { all: Arc::clone(self), token, moved }
    }

    /// Whether there is no more than one call.
    pub(crate) fn alone(&self) -> bool {
        self.0.lock().len() <= 1
    }

    fn moved(&self, token: &ProgressToken) {
        if let Some(under) = self.0.lock().get(token) {
            under.moved.notify_one();
        }
    }

    /// The call for which a server asks. Over an address it is the one in whose answer the question came; the protocol has no other way to
    /// say so, and a token of the server's own choice is none of ours: without that it is the only one, where there is only one.
    ///
    /// # Errors
    /// It cannot be known.
    fn asks(&self, related: Option<&Value>) -> Result<Arc<Asking>, &'static str> {
        let all = self.0.lock();
        let of =
            |under: &&Under| related.is_some_and(|id| serde_json::to_value(&under.request).ok().as_ref() == Some(id));
        let mut under = all.values();
        match (related, under.next(), under.next()) {
            (Some(_), ..) => all.values().find(of).ok_or("the call that it asks for has ended"),
            (None, Some(under), None) => Ok(under),
            (None, None, _) => Err("no call is under way"),
            (None, Some(_), Some(_)) => {
                Err("several calls are under way, and it cannot be known for which of them it asks")
            }
        }
        .map(|under| Arc::clone(&under.asking))
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
    pub(crate) veil: Arc<Redactor>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("sortie", env!("CARGO_PKG_VERSION"));
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        let forms = FormElicitationCapability::new().with_schema_validation(true);
        info.capabilities.elicitation = Some(ElicitationCapability::new().with_form(forms));
        info
    }

    async fn create_elicitation(
        &self,
        wanted: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let meta = match &wanted {
            ElicitRequestParams::FormElicitationParams { meta, .. } => meta.as_ref(),
            _ => return Err(ErrorData::invalid_params(NO_ADDRESSES, None)),
        };
        let related = meta.and_then(|meta| meta.get(RELATED)).or_else(|| context.meta.get(RELATED)).cloned();
        // Every call that was sent before the question is known then.
        drop(self.news.sending.write().await);
        let asking = match self.news.progress.asks(related.as_ref()) {
            Ok(asking) => asking,
            Err(why) => return Ok(declined(&self.server, &self.news, why, &self.veil)),
        };
        tokio::select! {
            biased;
            // It takes the question back.
            () = context.ct.cancelled() => Ok(ElicitResult::new(ElicitationAction::Cancel)),
            said = asking.elicit(wanted) => Ok(said),
        }
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.news.progress.moved(&progress.progress_token);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.news.tools.notify_one();
    }
}
