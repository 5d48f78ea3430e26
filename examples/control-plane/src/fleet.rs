//! The nodes, and how a mission comes to one of them for certain.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long is waited between two rounds through all nodes.
const PAUSE: Duration = Duration::from_millis(250);

/// How long one node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The nodes of a fleet, each of which takes what is for any of them.
#[derive(Debug, Clone)]
pub struct Fleet {
    nodes: Vec<String>,
    token: String,
    client: Client,
}

/// A dispatch that was taken.
#[derive(Debug, Clone)]
pub struct Dispatched {
    /// Which node answered.
    pub node: String,
    /// Whether it had been taken before: by an attempt whose answer was lost, or by another's.
    pub replayed: bool,
    /// The answer.
    pub answer: Value,
}

/// Why a mission could not be dispatched, or a question not asked.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// A node says that it is wrong: no other will say otherwise.
    #[error("{node} answers {status}: {body}")]
    Refused {
        /// Which node.
        node: String,
        /// The status.
        status: StatusCode,
        /// The problem that it tells.
        body: String,
    },
    /// No node took it in time.
    #[error("no node answered within {within:?}; the last said: {last}")]
    Late {
        /// How long it was tried.
        within: Duration,
        /// What the last node said.
        last: String,
    },
}

impl Fleet {
    /// These nodes, by their addresses (`http://host:port`), who all know this token.
    ///
    /// # Errors
    /// Where there is no client for HTTP.
    pub fn new(nodes: impl IntoIterator<Item = String>, token: &str) -> reqwest::Result<Self> {
        // Whoever has set another one has made a choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nodes = nodes.into_iter().map(|node| node.trim_end_matches('/').to_owned()).collect();
        let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { nodes, token: token.to_owned(), client })
    }

    /// Dispatches an envelope, beginning with node number `first`. A node that is away, busy or cut off in the middle is no answer: the
    /// same envelope goes to the next one, and its idempotency key sees to it that it is one mission.
    ///
    /// # Errors
    /// [`Unanswered`]
    pub async fn dispatch(&self, envelope: &Value, first: usize, within: Duration) -> Result<Dispatched, Unanswered> {
        let body = envelope.to_string();
        let request = |node: &str| self.client.post(format!("{node}/v1/missions")).body(body.clone());
        let (node, status, answer) = self.asked(first, within, request).await?;
        Ok(Dispatched { node, replayed: status == StatusCode::OK, answer })
    }

    /// How a mission stands, as whichever node says that answers.
    ///
    /// # Errors
    /// [`Unanswered`]
    pub async fn look(&self, mission_id: &str, first: usize, within: Duration) -> Result<Value, Unanswered> {
        let request = |node: &str| self.client.get(format!("{node}/v1/missions/{mission_id}"));
        self.asked(first, within, request).await.map(|(_, _, answer)| answer)
    }

    async fn asked(
        &self,
        first: usize,
        within: Duration,
        request: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> Result<(String, StatusCode, Value), Unanswered> {
        let begun = Instant::now();
        let mut last = "there is no node".to_owned();
        loop {
            for turn in 0..self.nodes.len() {
                let node = &self.nodes[(first + turn) % self.nodes.len()];
                match request(node).bearer_auth(&self.token).send().await {
                    Ok(answer) => {
                        let status = answer.status();
                        let body = answer.text().await.unwrap_or_default();
                        if status.is_success()
                            && let Ok(json) = serde_json::from_str(&body)
                        {
                            return Ok((node.clone(), status, json));
                        }
                        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
                            return Err(Unanswered::Refused { node: node.clone(), status, body });
                        }
                        last = format!("{node} answers {status}: {body}");
                    }
                    Err(error) => last = format!("{node}: {error}"),
                }
            }
            if begun.elapsed() >= within {
                return Err(Unanswered::Late { within, last });
            }
            sleep(PAUSE).await;
        }
    }
}
