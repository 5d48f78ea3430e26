//! `[[lane]]`, and when lanes and the node are open: what is said of both, with the calendars that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sortie_contract::{LaneId, Mistake, Pointer};
use sortie_engine::NodeHours;
use sortie_schedule::{Calendars, Hours, Zone};

use super::{Config, ConfigError};

/// `[[lane]]`: missions of a `vp_runtime_id`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneConfig {
    /// The `vp_runtime_id`.
    pub id: String,
    /// Most of its missions running at the same time.
    pub concurrency: usize,
    /// Whether envelopes that name no lane go here; else the first of the list takes them.
    #[serde(default)]
    pub default: bool,
    /// When it is open; without any, always. The node's hold beside them.
    #[serde(default)]
    pub hours: Vec<String>,
    /// Days on which it is closed: dates, ranges of dates, calendars.
    #[serde(default)]
    pub closed: Vec<String>,
}

impl Config {
    /// The lanes with their concurrency, the default one first.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn lanes(&self) -> Result<Vec<(LaneId, usize)>, ConfigError> {
        if self.lane.is_empty() {
            let id = LaneId::new("default").expect("a valid id");
            return Ok(vec![(id, self.node.max_running)]);
        }
        if self.lane.iter().filter(|lane| lane.default).count() > 1 {
            return Err(ConfigError::value("lane.default", "only one lane can be the default"));
        }
        let mut lanes = Vec::with_capacity(self.lane.len());
        for lane in &self.lane {
            let id = LaneId::new(lane.id.as_str()).map_err(|why| ConfigError::value("lane.id", why.to_string()))?;
            if lane.concurrency == 0 {
                return Err(ConfigError::value("lane.concurrency", "must be at least 1"));
            }
            if lanes.iter().any(|(other, _)| *other == id) {
                return Err(ConfigError::value("lane.id", format!("`{id}` is there twice")));
            }
            if lane.default { lanes.insert(0, (id, lane.concurrency)) } else { lanes.push((id, lane.concurrency)) }
        }
        Ok(lanes)
    }

    /// The zone of the node: of hours that name none, of closed days, and of nights.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn time_zone(&self) -> Result<Zone, ConfigError> {
        Zone::named(&self.node.time_zone).map_err(|why| ConfigError::value("node.time_zone", why.to_string()))
    }

    /// When the node and its lanes are open.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for what are no hours, and for a calendar that cannot be read.
    pub fn hours(&self) -> Result<NodeHours, ConfigError> {
        let zone = self.time_zone()?;
        let node = self.hours_of("node", &self.node.hours, &self.node.closed, &zone)?;
        let mut hours = NodeHours { zone: zone.clone(), node, lanes: BTreeMap::new() };
        for lane in &self.lane {
            if let (Ok(id), Some(own)) = (lane.id.parse(), self.hours_of("lane", &lane.hours, &lane.closed, &zone)?) {
                hours.lanes.insert(id, own);
            }
        }
        Ok(hours)
    }

    /// Those of one table; `None` where it has none.
    fn hours_of(
        &self,
        table: &str,
        hours: &[String],
        closed: &[String],
        zone: &Zone,
    ) -> Result<Option<Hours>, ConfigError> {
        if hours.is_empty() && closed.is_empty() {
            return Ok(None);
        }
        let mut calendars = Calendars::none();
        for name in closed.iter().filter(|name| Calendars::is_named_by(name)) {
            let path = self.beside(name);
            let text = crate::bounded::text(&path).map_err(|why| {
                let why = format!("the calendar {} cannot be read: {why}", path.display());
                ConfigError::value(&format!("{table}.closed"), why)
            })?;
            calendars = calendars.with(name.as_str(), text);
        }
        let wrong = |mistakes: Vec<Mistake>| {
            let first = &mistakes[0];
            let key = first.pointer.as_str().trim_start_matches('/').replace('/', ".");
            ConfigError::value(&key, first.detail.clone())
        };
        Hours::parse(hours, closed, zone, &calendars, &Pointer::root().join(table)).map(Some).map_err(wrong)
    }

    /// A file that the configuration names: beside it.
    fn beside(&self, name: &str) -> PathBuf {
        self.folder.as_deref().unwrap_or(Path::new(".")).join(name)
    }
}
