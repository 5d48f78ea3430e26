//! One request and its answer: what a call waits for, for how long, and what the server is told when nobody waits any more.
//!
//! A call may be silent for so long, and each sign of progress lets it be silent for as long again; but never longer than the hard limit,
//! whatever a server says. While people are asked for it no time passes. Owned here: those limits, that an abandoned request is cancelled at
//! the server, and what a call that ends without a result is called. Never here: what a result means ([`content`](crate::content)).

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, ErrorCode, InputRequest,
    InputRequiredResult, InputResponses, JsonObject, RequestId, RequestMetaObject, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestHandle, RoleClient, ServiceError};
use serde_json::{Value, json};
use sortie_contract::limit;
use sortie_contract::tool::{CallError, Repeat};
use sortie_tools::Ask;
use tokio::time::Instant;

use crate::asking::Asking;
use crate::connection::Connection;

/// How often a call is asked for further input before it fails: as often as people may be asked for it, and once more.
const ROUNDS_MAX: usize = limit::QUESTIONS_OF_CALL_MAX as usize + 1;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Without a sign of progress.
    pub(crate) idle: Duration,
    /// At all.
    pub(crate) most: Duration,
}

/// What is called.
pub(crate) struct Order<'a> {
    /// The tool, as the server calls it.
    pub(crate) tool: &'a str,
    pub(crate) arguments: &'a Value,
    pub(crate) meta: JsonObject,
    pub(crate) limits: Limits,
    /// What it would mean to do it twice: says whether a call that was lost may have had an effect.
    pub(crate) repeat: Repeat,
    /// Whom the server can ask meanwhile.
    pub(crate) ask: &'a Arc<dyn Ask>,
}

/// A request that the server may still be at.
struct InFlight {
    peer: Peer<RoleClient>,
    id: Option<RequestId>,
}

impl InFlight {
    fn of(handle: &RequestHandle<RoleClient>) -> Self {
        Self { peer: handle.peer.clone(), id: Some(handle.id.clone()) }
    }

    fn landed(&mut self) {
        self.id = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let told = CancelledNotificationParam::new(Some(id), Some("nobody waits for it any more".to_owned()));
        let peer = self.peer.clone();
        // It ends with the connection at the latest.
        runtime.spawn(async move { peer.notify_cancelled(told).await });
    }
}

/// Asks, and waits as long as whoever asks does.
pub(crate) async fn ask(peer: &Peer<RoleClient>, request: ClientRequest) -> Result<ServerResult, ServiceError> {
    let mut handle = peer.send_request_with_option(request, PeerRequestOptions::no_options()).await?;
    let mut flight = InFlight::of(&handle);
    let answer = (&mut handle.rx).await;
    flight.landed();
    answer.unwrap_or(Err(ServiceError::TransportClosed))
}

/// Calls a tool; what came of it, as the server said it.
pub(crate) async fn call(connection: &Connection, order: &Order<'_>) -> Result<Value, CallError> {
    let most = tokio::time::sleep(order.limits.most);
    tokio::pin!(most);
    let asking = Arc::new(Asking::new(connection, order.tool, order.ask));
    let (mut responses, mut state) = (None, None);
    for _ in 0..ROUNDS_MAX {
        let mut params = CallToolRequestParams::new(order.tool.to_owned());
        params.meta = Some(RequestMetaObject(order.meta.clone().into()));
        // Whoever takes no arguments may be given none.
        params.arguments = order.arguments.as_object().cloned();
        params.input_responses = responses.take();
        params.request_state = state.take();
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        match once(connection, request, order, &asking, most.as_mut()).await? {
            ServerResult::InputRequiredResult(wanted) => {
                let since = Instant::now();
                // Nothing of the call is on its way meanwhile that would tell.
                (responses, state) = tokio::select! {
                    biased;
                    answered = answered(&asking, wanted) => answered?,
                    why = connection.lost() => return Err(lost(order.repeat, &why)),
                };
                let until = most.deadline() + since.elapsed();
                most.as_mut().reset(until);
            }
            ServerResult::CallToolResult(result) => return Ok(serde_json::to_value(result).unwrap_or_default()),
            // Some part of it is not of the protocol's form.
            ServerResult::CustomResult(result) => return Ok(result.0),
            ServerResult::EmptyResult(_) | ServerResult::TaskAckResult(_) => return Ok(json!({})),
            ServerResult::CreateTaskResult(_) => {
                return Err(CallError::Failed("the server made a task of the call, which nobody asked for".to_owned()));
            }
            _ => return Err(CallError::Failed("the server's answer is no result of a call".to_owned())),
        }
    }
    Err(CallError::Failed(format!("the server asked for further input {ROUNDS_MAX} times")))
}

/// One request of a call.
async fn once(
    connection: &Connection,
    request: ClientRequest,
    order: &Order<'_>,
    asking: &Arc<Asking>,
    mut most: std::pin::Pin<&mut tokio::time::Sleep>,
) -> Result<ServerResult, CallError> {
    let Limits { idle, most: hard } = order.limits;
    let sending = connection.news.sending.read().await;
    let sent = connection.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await;
    let mut handle = sent.map_err(|error| failed(connection, order.repeat, error))?;
    let progress = connection.news.progress.of(handle.progress_token.clone(), handle.id.clone(), asking);
    drop(sending);
    let mut flight = InFlight::of(&handle);
    let mut too_large = connection.too_large();
    let (mut asked, mut stands_since) = (order.ask.waits(), None);
    loop {
        let stands = *asked.borrow_and_update() > 0;
        match (stands, stands_since) {
            (true, None) => stands_since = Some(Instant::now()),
            (false, Some(since)) => {
                let until = most.deadline() + since.elapsed();
                most.as_mut().reset(until);
                stands_since = None;
            }
            _ => {}
        }
        tokio::select! {
            biased;
            answer = &mut handle.rx => {
                flight.landed();
                let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
                return answer.map_err(|error| failed(connection, order.repeat, error));
            }
            () = &mut most, if !stands => {
                let seconds = hard.as_secs();
                return Err(CallError::TimedOut(format!(
                    "it was not done within {seconds} s (call_timeout_max); ask it for less"
                )));
            }
            () = tokio::time::sleep(idle), if !stands => {
                let seconds = idle.as_secs();
                return Err(CallError::TimedOut(format!(
                    "no answer and no sign of progress within {seconds} s (call_timeout); ask it for less"
                )));
            }
            () = progress.moved() => {}
            Ok(()) = asked.changed() => {}
            // Whose answer that was nobody can say, unless there was one call.
            Ok(()) = too_large.changed() => {
                if connection.news.progress.alone() {
                    let mib = crate::MESSAGE_BYTES_MAX >> 20;
                    return Err(CallError::Failed(format!("its answer has more than {mib} MiB; ask for less")));
                }
            }
        }
    }
}

/// What is answered to a server that wants input for a call that it has begun: people are asked, one question after the other.
async fn answered(
    asking: &Asking,
    wanted: InputRequiredResult,
) -> Result<(Option<InputResponses>, Option<String>), CallError> {
    let mut responses = InputResponses::new();
    for (key, request) in wanted.input_requests.unwrap_or_default() {
        let response = match request {
            InputRequest::Elicitation(wanted) => {
                serde_json::to_value(asking.elicit(wanted.params).await).unwrap_or_default()
            }
            InputRequest::ListRoots(_) => json!({"roots": []}),
            _ => {
                let why = "the server asks for a model's answer, which this node does not give to servers";
                return Err(CallError::Failed(why.to_owned()));
            }
        };
        responses.insert(key, response);
    }
    Ok(((!responses.is_empty()).then_some(responses), wanted.request_state))
}

fn failed(connection: &Connection, repeat: Repeat, error: ServiceError) -> CallError {
    match error {
        ServiceError::McpError(error) => {
            let told = connection.veil.clipped(&error.message, limit::NOTE_BYTES_MAX);
            if error.code == ErrorCode::INVALID_PARAMS {
                CallError::InvalidArguments(told)
            } else {
                CallError::Failed(format!("{told} ({})", error.code.0))
            }
        }
        ServiceError::Cancelled { .. } => CallError::Failed("the server gave the call up".to_owned()),
        // It never got there, or got lost there.
        error => {
            let why = connection.why_lost().unwrap_or_else(|| crate::causes(&error, &connection.veil));
            lost(repeat, &why)
        }
    }
}

/// What a call ends with whose server is gone.
fn lost(repeat: Repeat, why: &str) -> CallError {
    match repeat {
        Repeat::ReadOnly => CallError::Failed(format!("the server was lost during the call: {why}")),
        Repeat::Idempotent | Repeat::Effectful => {
            CallError::Uncertain(format!("the server was lost during the call, which may have been done: {why}"))
        }
    }
}
