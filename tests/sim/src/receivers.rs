//! Receivers of events and uploads: fast ones, slow ones, dead ones, and those whose answers are lost.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use sortie_callback::{Reply, Request, SendError, StatusCode, Transport};

use crate::executor::Executor;
use crate::ledger::digest;
use crate::outside::Answer;
use crate::scene::Scene;

/// What carries the deliveries of one life of a node.
pub(crate) struct Wire {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

#[async_trait]
impl Transport for Wire {
    async fn exchange(&self, request: Request) -> Result<Reply, SendError> {
        let executor = self.executor.upgrade().ok_or_else(|| SendError::Broken(String::new()))?;
        executor.pass().await;
        let host = request.url.host_str().expect("a receiver has a name").to_owned();
        let answer = self.answer(&host);
        if matches!(answer, Answer::Taken | Answer::Lost | Answer::Hangs) {
            self.take(&request);
        }
        self.scene.line(&format!("{host}: {answer:?}"));
        if answer == Answer::Hangs {
            std::future::pending::<()>().await;
        }
        if self.scene.one_in(3) {
            // The answer is on its way.
            executor.pass().await;
        }
        let reply = |status, retry_after| Ok(Reply { status, retry_after });
        match answer {
            Answer::Taken => reply(StatusCode::OK, None),
            Answer::Busy => reply(StatusCode::SERVICE_UNAVAILABLE, self.scene.one_in(2).then(|| "120".to_owned())),
            Answer::Refused => reply(StatusCode::GONE, None),
            Answer::Lost | Answer::Hangs => Err(SendError::Broken(String::new())),
            Answer::Silence => Err(SendError::Connect(String::new())),
        }
    }
}

impl Wire {
    fn answer(&self, host: &str) -> Answer {
        let steady = self.scene.clock.steady();
        let (is_down, faults) = self.scene.outside(|outside| {
            let receiver = outside.receivers.entry(host.to_owned()).or_default();
            (receiver.down_until > steady, outside.faults)
        });
        if is_down {
            self.scene.count("delivery to nobody");
            return Answer::Silence;
        }
        match self.scene.roll(|rng| rng.u8(..40)) {
            0..=2 => Answer::Lost,
            3 => Answer::Hangs,
            4 => Answer::Busy,
            5 if faults => Answer::Refused,
            _ => Answer::Taken,
        }
    }

    /// Something arrives: it was on disk, it is the same each time, and nothing overtakes it.
    fn take(&self, request: &Request) {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (mission, key) = (header("x-mission-id"), header("idempotency-key"));
        let client = self.scene.outside(|outside| outside.client_of(mission));
        let is_upload = request.method.as_str() == "PUT";
        let body = if is_upload { digest(&request.body) } else { String::from_utf8_lossy(&request.body).into_owned() };
        let place = self.scene.side(client, |side| {
            let place = side.items.iter().position(|item| item.key == key);
            let place = place.unwrap_or_else(|| panic!("{key} is delivered, and is not on disk"));
            assert_eq!(side.items[place].body, body, "{key} is delivered as something else");
            place
        });
        let item = place.unwrap_or_else(|| panic!("{key} is delivered, and its mission is not on disk")) as u64 + 1;
        let may_be_late = self.scene.outside(|outside| outside.is_fleet);
        let is_new = self.scene.client(client, |client| client.take(item, key, &body, may_be_late));
        self.scene.tell(client, &format!("item {item} arrives"));
        self.scene.count(if is_new { "delivered" } else { "delivered again" });
        if is_upload {
            self.scene.count("upload");
        }
    }
}
