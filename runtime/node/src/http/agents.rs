//! `/mcp`: the node as an MCP server, over streamable HTTP.
//!
//! It is no row of the interface's table, and not in `/openapi.json`: what is spoken there is another protocol, and what its tools do is
//! asked of the table. A token of any scope may come; each tool needs what its request needs.

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use sortie_mcp::serve::Mount;

use super::auth::{self, Tokens};
use super::{App, body};
use crate::mcp::{Bearer, Own, Service};

/// What a message has beside the largest envelope.
const AROUND: usize = 64 << 10;

type Agents = Mount<Service<Own>>;

/// The server, which asks `own`.
pub(super) fn mount(app: &App, own: Router) -> Agents {
    let service = Service::new(Own(own), Some(app.called.instance_id.to_string()));
    Mount::new(service, app.called.names.iter().cloned(), app.body_bytes + AROUND)
}

/// Its place in the router.
pub(super) fn router(agents: Agents, body_bytes: usize, tokens: &Tokens) -> Router {
    let answer = any(move |request| answer(agents.clone(), body_bytes + AROUND, request));
    let guard = axum::middleware::from_fn_with_state((tokens.clone(), None), auth::guard);
    Router::new().route("/mcp", answer).route_layer(guard)
}

async fn answer(agents: Agents, limit: usize, request: Request) -> Response {
    let (mut parts, sent) = request.into_parts();
    let bearer = parts.headers.get(header::AUTHORIZATION).cloned();
    let request = Request::from_parts(parts.clone(), sent);
    // Bounded in time, too.
    let sent = match body::whole(request, limit).await {
        Ok(sent) => sent,
        Err(problem) => return problem.into_response(),
    };
    if let Some(bearer) = bearer {
        parts.extensions.insert(Bearer(bearer));
    }
    agents.answer(Request::from_parts(parts, axum::body::Body::from(sent))).await.into_response()
}
