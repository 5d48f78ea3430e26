//! The node's own interface, as pages ask it: within the process, in the name of whoever signed in.

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_service::Service as _;

use super::Web;
use super::door::Viewer;
use super::frame::Refused;
use crate::http::auth::{self, Holder};
use crate::http::query;
use crate::mcp::api::{self, Api, Ask, Away, Trouble};

/// The interface of the node in this process.
#[derive(Clone)]
pub(super) struct Inside(pub(super) Router);

#[async_trait]
impl Api for Inside {
    type Caller = Holder;

    async fn send(&self, caller: &Holder, ask: Ask) -> Result<Response<Body>, Away> {
        self.call(caller, ask.request()?).await
    }
}

/// The same, with a body that is handed on as it comes.
struct Bearing {
    inside: Inside,
    body: Mutex<Option<Body>>,
}

#[async_trait]
impl Api for Bearing {
    type Caller = Holder;

    async fn send(&self, caller: &Holder, ask: Ask) -> Result<Response<Body>, Away> {
        let mut request = ask.request()?;
        *request.body_mut() = self.body.lock().take().unwrap_or_default();
        self.inside.call(caller, request).await
    }
}

impl Inside {
    async fn call(&self, caller: &Holder, mut request: Request<Body>) -> Result<Response<Body>, Away> {
        request.extensions_mut().insert(auth::Inside(caller.clone()));
        match self.0.clone().call(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

impl Web {
    /// What the interface answers to this, or why it refuses.
    pub(super) async fn ask(&self, viewer: &Viewer, ask: Ask) -> Result<Value, Refused> {
        api::json(&self.inside, &viewer.holder, ask).await.map_err(|trouble| Refused::trouble(viewer, trouble))
    }

    /// The same, read into what has a place for each of its members.
    pub(super) async fn ask_for<T: DeserializeOwned>(&self, viewer: &Viewer, ask: Ask) -> Result<T, Refused> {
        api::read(&self.inside, &viewer.holder, ask).await.map_err(|trouble| Refused::trouble(viewer, trouble))
    }

    /// The same; with what the interface has against what was sent, for the form that it came from.
    pub(super) async fn try_ask(&self, viewer: &Viewer, ask: Ask) -> Result<Result<Value, Value>, Refused> {
        match api::json(&self.inside, &viewer.holder, ask).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Trouble::Refused(problem))
                if matches!(problem["status"].as_u64(), Some(400 | 409 | 412 | 413 | 422)) =>
            {
                Ok(Err(problem))
            }
            Err(trouble) => Err(Refused::trouble(viewer, trouble)),
        }
    }

    /// What lies at that path.
    pub(super) async fn get(&self, viewer: &Viewer, path: &[&str]) -> Result<Value, Refused> {
        self.ask(viewer, Ask::new(Method::GET, path.iter().copied())).await
    }

    /// Hands something in that is no JSON.
    pub(super) async fn hand_in(&self, viewer: &Viewer, path: &[&str], body: Body) -> Result<Value, Refused> {
        let bearing = Bearing { inside: self.inside.clone(), body: Mutex::new(Some(body)) };
        let handed = api::json(&bearing, &viewer.holder, Ask::new(Method::POST, path.iter().copied())).await;
        handed.map_err(|trouble| Refused::trouble(viewer, trouble))
    }

    /// An answer that is not JSON, or not only.
    pub(super) async fn send(&self, viewer: &Viewer, ask: Ask) -> Result<Response<Body>, Refused> {
        api::good(&self.inside, &viewer.holder, ask).await.map_err(|trouble| Refused::trouble(viewer, trouble))
    }
}

/// The parameters of a page, read as strictly as those of the interface.
pub(super) struct Read<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Web> for Read<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Refused> {
        let read = query::read(parts.uri.query().unwrap_or_default());
        read.map(Self).map_err(|problem| Refused::problem(None, &problem.body()))
    }
}

/// The items of a page of a list.
pub(super) fn items(page: &Value) -> &[Value] {
    page["items"].as_array().map_or(&[], Vec::as_slice)
}
