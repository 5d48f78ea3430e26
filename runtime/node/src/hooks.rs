//! The hooks of a node, and what came of their deliveries since it started.

use jiff::SignedDuration;
use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_hook::{ConfigError, Hook, HookConfig};

/// How often the log tells of what is not signed.
const SAID_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// All of them, by name.
#[derive(Debug, Default)]
pub(crate) struct Hooks(Vec<Kept>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) hook: Hook,
    tally: Mutex<Tally>,
    /// When the log last told of one that was not signed.
    said: Mutex<Option<Timestamp>>,
}

/// What came of its deliveries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Became missions.
    pub(crate) accepted: u64,
    /// Had become missions before.
    pub(crate) replayed: u64,
    /// Were not meant.
    pub(crate) not_meant: u64,
    /// Were refused, though they were signed.
    pub(crate) refused: u64,
    /// Were not signed.
    pub(crate) unsigned: u64,
    /// The last one that was signed.
    pub(crate) last: Option<Last>,
}

/// What came of a delivery.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) mission_id: Option<String>,
    /// Why it was refused.
    pub(crate) error: Option<String>,
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is a mission now.
    Accepted,
    /// It was sent before, and is a mission.
    Replayed,
    /// The hook's `when` is not true of it.
    NotMeant,
    /// It came to nothing.
    Refused,
}

impl Hooks {
    /// Those of the configuration.
    ///
    /// # Errors
    /// One that cannot be meant, or two of one name.
    pub(crate) fn new(configs: &[HookConfig]) -> Result<Self, ConfigError> {
        let mut hooks: Vec<Kept> = Vec::with_capacity(configs.len());
        for config in configs {
            let hook = Hook::new(config)?;
            if hooks.iter().any(|kept| kept.hook.name() == hook.name()) {
                let why = "there are two of this name: a delivery could not say which it is for".to_owned();
                return Err(ConfigError { hook: config.name.clone(), why });
            }
            hooks.push(Kept { hook, tally: Mutex::default(), said: Mutex::default() });
        }
        Ok(Self(hooks))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Kept> {
        self.iter().find(|kept| kept.hook.name() == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter()
    }

    /// Tells the log of each whose secret cannot be read: its deliveries are refused until it can be.
    pub(crate) async fn warn(&self) {
        for Kept { hook, .. } in self.iter() {
            if let Err(error) = hook.is_usable().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    hook = hook.name(),
                    error,
                    "the secret of a hook cannot be read, and its deliveries are refused"
                );
            }
        }
    }
}

impl Kept {
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Anybody may send what is not signed: it is counted, told now and then, and hides nothing of what was.
    pub(crate) fn came_unsigned(&self, at: Timestamp, why: &str) {
        self.tally.lock().unsigned += 1;
        let mut said = self.said.lock();
        if said.is_none_or(|said| at.duration_since(said) >= SAID_EVERY) {
            *said = Some(at);
            tracing::warn!(hook = self.hook.name(), why, "what was sent to a hook is not signed as it must be");
        }
    }

    pub(crate) fn came(&self, at: Timestamp, outcome: Outcome, mission_id: Option<&str>, error: Option<String>) {
        let mut tally = self.tally.lock();
        let count = match outcome {
            Outcome::Accepted => &mut tally.accepted,
            Outcome::Replayed => &mut tally.replayed,
            Outcome::NotMeant => &mut tally.not_meant,
            Outcome::Refused => &mut tally.refused,
        };
        *count += 1;
        let mission_id = mission_id.map(str::to_owned);
        tally.last = Some(Last { at, outcome, mission_id, error });
    }
}
