//! The receiver of events, in weather of one's choice: what at least once means is seen where answers are lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::deliver::Delivery;
use crate::ledger::Ledger;

/// How deliveries fare on their way: counted over all of one event, so that each comes through in the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Of how many events the first delivery is refused, unseen: one of so many; 0: none.
    pub refuse_one_of: u64,
    /// Of how many the first delivery is taken, and its answer lost.
    pub lose_one_of: u64,
}

struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    /// Of what `Authorization` must be: the digest.
    secret: Option<[u8; 32]>,
    weather: Weather,
    /// How often each event was delivered. Grows with what whoever has the secret sends: a program that goes on for longer forgets some.
    deliveries: Mutex<BTreeMap<String, u64>>,
    heard: watch::Sender<u64>,
}

/// A receiver of events on a port of its own.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    heard: watch::Receiver<u64>,
}

impl Receiver {
    /// Listens; what comes goes into `ledger`. With a secret, what does not show it is refused, and counted. Without one anybody is believed:
    /// that is for an afternoon on one's own machine.
    ///
    /// # Errors
    /// Where nobody can listen there.
    pub async fn start(
        listen: SocketAddr,
        ledger: Arc<Mutex<Ledger>>,
        secret: Option<String>,
        weather: Weather,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (heard, hears) = watch::channel(0);
        let secret = secret.map(|secret| digest(&format!("Bearer {secret}")));
        let shared = Arc::new(Shared { ledger, secret, weather, deliveries: Mutex::default(), heard });
        let app = Router::new().route("/factory/events", post(receive)).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, heard: hears })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What an envelope names as its callback's `status_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/factory/events", self.address)
    }

    /// Changes with each delivery.
    #[must_use]
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.heard.clone()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let delivery = Delivery {
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        mission_id: header("x-mission-id"),
        trace_id: header("x-trace-id"),
        body,
    };
    // Before anything else is looked at. Digests: how much of a guess is right is not seen in how long that takes.
    if shared.secret.is_some_and(|secret| secret != digest(&delivery.authorization)) {
        lock(&shared.ledger).turn_away();
        return (StatusCode::UNAUTHORIZED, "the secret of the callback is missing or wrong").into_response();
    }
    let (is_first, turn) = {
        let mut deliveries = lock(&shared.deliveries);
        let turn = deliveries.len() as u64;
        let count = deliveries.entry(delivery.idempotency_key.clone()).or_default();
        *count += 1;
        (*count == 1, turn)
    };
    let comes_up = |one_of: u64| is_first && one_of > 0 && turn % one_of == one_of - 1;
    if comes_up(shared.weather.refuse_one_of) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let taken = lock(&shared.ledger).take(&delivery);
    shared.heard.send_modify(|heard| *heard += 1);
    match taken {
        Err(violation) => (StatusCode::UNPROCESSABLE_ENTITY, violation.to_string()).into_response(),
        Ok(_) if comes_up(shared.weather.lose_one_of) => StatusCode::BAD_GATEWAY.into_response(),
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What a panic left is as good as it was: nothing is changed in halves.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[tokio::test]
    async fn who_does_not_show_the_secret_leaves_nothing_but_a_count() {
        let shared = Arc::new(Shared {
            ledger: Arc::default(),
            secret: Some(digest("Bearer hush")),
            weather: Weather::default(),
            deliveries: Mutex::default(),
            heard: watch::channel(0).0,
        });
        let delivered = async |shown: &'static str| {
            let mission = (HeaderName::from_static("x-mission-id"), HeaderValue::from_static("m"));
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(shown)), mission]);
            receive(State(Arc::clone(&shared)), headers, Bytes::from_static(b"{}")).await.status()
        };
        for shown in ["", "hush", "Bearer ", "Bearer hus", "Bearer hush!"] {
            assert_eq!(delivered(shown).await, StatusCode::UNAUTHORIZED, "{shown}");
        }
        let counted = || {
            let ledger = lock(&shared.ledger);
            (ledger.strangers(), ledger.violations().len())
        };
        assert_eq!(counted(), (5, 0));
        assert!(lock(&shared.deliveries).is_empty());
        assert_eq!(delivered("Bearer hush").await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(counted(), (5, 1));
    }
}
