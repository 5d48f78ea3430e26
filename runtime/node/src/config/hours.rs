//! `hours` and `closed` of the node and of its lanes: what they say, with the calendars that they name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sortie_contract::{Mistake, Pointer};
use sortie_engine::NodeHours;
use sortie_schedule::{Calendars, Hours, Zone};

use super::{Config, ConfigError};

impl Config {
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
            let text = std::fs::read_to_string(&path).map_err(|why| {
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
