//! Heartbeats: the headquarters hears again and again that this node is there, and whether it takes missions.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::Surroundings;
use sortie_contract::envelope::SecretRef;
use sortie_egress::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sortie_egress::{Client, Guard, Limits, Method, Request, SecretError, may_carry_secrets, resolve};
use url::Url;

use crate::access::{OPS_TOKEN, secret};
use crate::bridge::Standing;
use crate::config::{ConfigError, HeartbeatConfig};

/// Where an operator lists the addresses that are not public, for those who are refused.
const ALLOW_PRIVATE: &str = "[dialect.heartbeat] allow_private";

/// What is asked for below the headquarters' address.
const PATH: &str = "api/v1/factory/registrations";

/// The longest wait behind attempts that failed: the headquarters takes a node for stale after five minutes.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What is told of a node at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    /// It starts no missions.
    pub is_paused: bool,
    /// What it can do.
    pub capabilities: Vec<String>,
}

/// What a section comes to.
pub(crate) struct Read {
    address: Url,
    guard: Guard,
    ops_token: Option<SecretRef>,
    bearer: Option<SecretRef>,
}

/// Tells the headquarters.
pub struct Heartbeat {
    config: HeartbeatConfig,
    address: Url,
    ops_token: Option<SecretRef>,
    bearer: Option<SecretRef>,
    factory_id: String,
    host: String,
    client: Client,
    ambient: Surroundings,
    began: Duration,
    standing: Mutex<Standing>,
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Heartbeat {
    /// As the configuration has it, of the node of this name on the machine of that. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] for what cannot be meant.
    pub fn new(config: &HeartbeatConfig, node: &str, host: &str, ambient: Surroundings) -> Result<Self, ConfigError> {
        let Read { address, guard, ops_token, bearer } = Self::examine(config)?;
        let limits = Limits { connect_timeout: config.timeout, idle_per_host: 1, decompress: false };
        Ok(Self {
            address,
            ops_token,
            bearer,
            factory_id: config.factory_id.clone().unwrap_or_else(|| node.to_owned()),
            host: host.to_owned(),
            client: Client::new(guard, limits),
            began: ambient.steady(),
            ambient,
            standing: Mutex::default(),
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            config: config.clone(),
        })
    }

    /// Whether it can be meant, and what it comes to.
    pub(crate) fn examine(config: &HeartbeatConfig) -> Result<Read, ConfigError> {
        let wrong = |why: String| ConfigError::new("heartbeat.hq", why);
        let form = || {
            wrong("must be an address such as `https://hq.example`, without a query, a name or a password".to_owned())
        };
        let hq: Url = config.hq.parse().map_err(|_| form())?;
        let is_plain =
            hq.username().is_empty() && hq.password().is_none() && hq.query().is_none() && hq.fragment().is_none();
        if !matches!(hq.scheme(), "http" | "https") || !hq.has_host() || !is_plain {
            return Err(form());
        }
        let mut address = hq;
        address.set_path(&format!("{}/{PATH}", address.path().trim_end_matches('/')));
        let guard = Guard::new(&config.allow_private, ALLOW_PRIVATE)
            .map_err(|error| ConfigError::new("heartbeat.allow_private", error.to_string()))?;
        guard.literal(&address).map_err(|refused| wrong(refused.to_string()))?;
        let [ops_token, bearer] = [("heartbeat.ops_token", &config.ops_token), ("heartbeat.bearer", &config.bearer)]
            .map(|(key, text)| text.as_deref().map(|text| secret(key, text)).transpose());
        let (ops_token, bearer) = (ops_token?, bearer?);
        let has_secret = ops_token.is_some() || bearer.is_some();
        if has_secret && !may_carry_secrets(&address, !config.allow_private.is_empty()) {
            return Err(wrong(
                "would carry a token in the clear: use https, or list the private addresses that it is at in `allow_private`".to_owned(),
            ));
        }
        if !(Duration::from_secs(1)..=WAIT_MAX).contains(&config.every) {
            return Err(ConfigError::new(
                "heartbeat.every",
                "must be 1s to 300s: the headquarters takes a node for stale after five minutes",
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&config.timeout) {
            return Err(ConfigError::new("heartbeat.timeout", "must be 1s to 60s"));
        }
        Ok(Read { address, guard, ops_token, bearer })
    }

    /// How it stands: connected while the last attempt was taken.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// How many were taken, and how many failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.failed.load(Relaxed))
    }

    /// Where they go.
    #[must_use]
    pub fn address(&self) -> &str {
        self.address.as_str()
    }

    /// The secrets that have no usable value right now.
    pub async fn unavailable(&self) -> Vec<SecretError> {
        let mut found = Vec::new();
        for reference in self.ops_token.iter().chain(&self.bearer) {
            found.extend(resolve(reference).await.err());
        }
        found
    }

    /// Tells for as long as there is a node, but nothing before `may_begin` resolves; `vitals` says what.
    pub async fn run(
        self: Arc<Self>,
        vitals: impl Fn() -> Vitals + Send + Sync,
        may_begin: impl Future<Output = ()> + Send,
    ) {
        may_begin.await;
        let (mut latency, mut failures) = (None, 0_u32);
        loop {
            let began = self.ambient.steady();
            let body = self.body(&vitals(), latency, began.saturating_sub(self.began));
            let sending = self.send(body);
            let limit = self.config.timeout;
            let sent = self.ambient.timeout(limit, sending).await;
            let outcome = sent.unwrap_or_else(|| Err(format!("no answer within {limit:?}")));
            if outcome.is_ok() {
                latency = Some(self.ambient.steady().saturating_sub(began));
                failures = 0;
            } else {
                failures = failures.saturating_add(1);
            }
            self.seen(outcome);
            self.ambient.sleep(wait(self.config.every, failures)).await;
        }
    }

    fn seen(&self, outcome: Result<(), String>) {
        let mut standing = self.standing.lock();
        let was = (standing.is_connected, standing.since.is_some());
        let count = if outcome.is_ok() { &self.sent } else { &self.failed };
        count.fetch_add(1, Relaxed);
        if (outcome.is_ok(), true) != was {
            standing.since = Some(self.ambient.wall());
            match &outcome {
                Ok(()) => tracing::info!(address = %self.address, "the headquarters hears of this node"),
                // Once: a night without headquarters is no night of warnings.
                Err(why) => tracing::warn!(why, "the headquarters does not hear of this node; it is tried again"),
            }
        }
        standing.is_connected = outcome.is_ok();
        standing.error = outcome.err();
    }

    async fn send(&self, body: Value) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let told = |error: SecretError| error.to_string();
        if let Some(reference) = &self.ops_token {
            let token = resolve(reference).await.map_err(told)?;
            let mut value =
                HeaderValue::try_from(token.expose()).map_err(|_| "the token cannot be sent in a header")?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(OPS_TOKEN), value);
        }
        if let Some(reference) = &self.bearer {
            let token = resolve(reference).await.map_err(told)?;
            headers.insert(AUTHORIZATION, token.bearer().map_err(told)?);
        }
        let request =
            Request { method: Method::POST, url: self.address.clone(), headers, body: Bytes::from(body.to_string()) };
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(format!("the headquarters answered {status}")),
        }
    }

    fn body(&self, vitals: &Vitals, latency: Option<Duration>, uptime: Duration) -> Value {
        let mut capabilities = vitals.capabilities.clone();
        capabilities.extend(self.config.capabilities.iter().filter(|own| !vitals.capabilities.contains(own)).cloned());
        json!({
            "factory_id": self.factory_id,
            "factory_role": self.config.role,
            "deployment_profile": self.config.deployment_profile,
            "registration_status": if vitals.is_paused { "paused" } else { "online" },
            "heartbeat_latency_ms": latency.map(|latency| tenths(latency.as_secs_f64() * 1e3)),
            "capabilities": capabilities,
            "metadata": {
                "hostname": self.host,
                "pid": std::process::id(),
                "uptime_seconds": tenths(uptime.as_secs_f64()),
                "platform": platform(),
                "heartbeat_source": "sortie",
            },
        })
    }
}

/// How long until the next, behind so many failures in a row.
fn wait(every: Duration, failures: u32) -> Duration {
    every.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(WAIT_MAX.max(every))
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// The system, as Python's `platform.system()` has it.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(text: &str) -> Result<Heartbeat, ConfigError> {
        let ambient: Surroundings = Arc::new(sortie_ambient::System::new(tokio::runtime::Handle::current()));
        Heartbeat::new(&toml::from_str(text).expect("a section"), "factory-1", "machine", ambient)
    }

    #[test]
    fn waits_grow_to_five_minutes() {
        let seconds = |failures| wait(Duration::from_secs(60), failures).as_secs();
        assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(seconds), [60, 120, 240, 300, 300, 300]);
    }

    #[tokio::test]
    async fn a_heartbeat_says_what_the_headquarters_reads() {
        let told = heartbeat("hq = \"https://hq.example/base/\"\ncapabilities = [\"gpu\", \"vp_coder\"]")
            .expect("it can be meant");
        assert_eq!(told.address(), "https://hq.example/base/api/v1/factory/registrations");
        let vitals = Vitals { is_paused: true, capabilities: vec!["vp_coder".to_owned()] };
        let body = told.body(&vitals, Some(Duration::from_micros(12_340)), Duration::from_millis(1_960));
        assert_eq!(body["registration_status"], "paused");
        assert_eq!((&body["factory_id"], &body["factory_role"]), (&json!("factory-1"), &json!("LOCAL_WORKER")));
        assert_eq!((&body["heartbeat_latency_ms"], &body["metadata"]["uptime_seconds"]), (&json!(12.3), &json!(2.0)));
        assert_eq!(
            (&body["capabilities"], &body["metadata"]["hostname"]),
            (&json!(["vp_coder", "gpu"]), &json!("machine"))
        );
        let first = told.body(&Vitals::default(), None, Duration::ZERO);
        assert_eq!((&first["registration_status"], &first["heartbeat_latency_ms"]), (&json!("online"), &Value::Null));
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_meant_is_refused_and_no_secret_repeated() {
        for (text, told) in [
            ("hq = \"hq.example\"", "https://hq.example"),
            ("hq = \"https://a:hush@hq.example\"", "https://hq.example"),
            ("hq = \"https://hq.example?key=hush\"", "https://hq.example"),
            ("hq = \"http://127.0.0.1:9000\"", "allow_private"),
            ("hq = \"http://hq.example\"\nops_token = \"env://A\"", "in the clear"),
            ("hq = \"https://hq.example\"\nops_token = \"hush\"", "heartbeat.ops_token"),
            ("hq = \"https://hq.example\"\nevery = \"6m\"", "heartbeat.every"),
            ("hq = \"https://hq.example\"\ntimeout = \"0s\"", "heartbeat.timeout"),
        ] {
            let error = heartbeat(text).map(drop).expect_err(text).to_string();
            assert!(error.contains(told) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
