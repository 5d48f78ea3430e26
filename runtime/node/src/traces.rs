//! Missions as traces: the journal, read for `sortie-trace`. What becomes a span is said there.

use std::path::Path;
use std::sync::{Arc, Weak};

use sortie_ambient::Surroundings;
use sortie_contract::{MissionNo, Stamped};
use sortie_engine::Engine;
use sortie_journal::ReadError;
use sortie_trace::{Entry, Exporter, Setup, Source, SourceError};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};

/// How much of a mission is read at once, in bytes of the journal.
const PIECE: usize = 1 << 20;

/// Where a data directory keeps how far the collector was told.
const PLACE: &str = "traces.json";

/// What tells the collector of a configuration; nothing, where there is none.
pub(crate) fn exporter(
    config: &Config,
    data_dir: &Path,
    ambient: &Surroundings,
) -> Result<Option<Arc<Exporter>>, ConfigError> {
    let Some(traces) = &config.telemetry.otlp else { return Ok(None) };
    let setup = Setup {
        config: traces,
        node: config.node.instance_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        place: data_dir.join(PLACE),
        secrets: config.secret.named().map_err(|error| ConfigError::from_secrets(&error))?,
        models: config.model.models.keys().cloned().collect(),
    };
    Ok(Some(Arc::new(Exporter::new(setup, Arc::clone(ambient))?)))
}

/// Has the collector told, where there is one; of a node that was restored, once it is let go on: what it did before stands in its traces.
pub(crate) fn start(engine: &Arc<Engine>, exporter: Option<&Arc<Exporter>>) {
    if let Some(exporter) = exporter {
        let source: Arc<dyn Source> =
            Arc::new(Journal { engine: Arc::downgrade(engine), position: engine.log().follow() });
        engine.supervise("traces", Arc::clone(exporter).run(source, engine.reaches_out()));
    }
}

/// The node's journal. It does not keep the driver.
struct Journal {
    engine: Weak<Engine>,
    position: watch::Receiver<u64>,
}

impl Source for Journal {
    fn follow(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    fn after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, SourceError> {
        let entries = self.engine()?.log().feed_after(position, limit)?;
        let entry = |entry: sortie_journal::FeedEntry| Entry {
            position: entry.position,
            mission: entry.mission,
            first: entry.first,
            count: entry.count,
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn read(&self, mission: MissionNo, first: u32) -> Result<Option<Vec<Stamped>>, SourceError> {
        match self.engine()?.log().read(mission, first, PIECE) {
            Ok(records) => Ok(Some(records)),
            // One mission's damage is its own.
            Err(ReadError::Row { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Journal {
    fn engine(&self) -> Result<Arc<Engine>, SourceError> {
        self.engine.upgrade().ok_or_else(|| "the node is stopping".into())
    }
}
