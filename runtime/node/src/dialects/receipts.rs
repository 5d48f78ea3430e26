//! Receipts: what became of a mission, in the workspace that it had. They follow the journal, from where they last were; so a crash leaves
//! none out, and one that is written again is the same.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::MissionNo;
use sortie_contract::record::Record;
use sortie_dialect::Receipt;
use sortie_engine::Engine;
use sortie_journal::{Log, ReadError};

/// Where a data directory keeps up to where they are written.
const PLACE: &str = "receipts.json";

/// Frames that are read at once.
const FRAMES: usize = 1_000;

/// How long it is waited behind what failed.
const TROUBLE: Duration = Duration::from_secs(10);

type Trouble = Box<dyn std::error::Error + Send + Sync>;

#[derive(Serialize, Deserialize)]
struct Place {
    position: u64,
}

/// Writes them for as long as there is a node. Of what ended before there were any nothing is written.
pub(super) fn write(engine: &Arc<Engine>, data_dir: &Path, is_alone: bool) -> impl Future<Output = ()> + Send + use<> {
    let (of, place) = (Arc::downgrade(engine), data_dir.join(PLACE));
    let (mut durable, ambient) = (engine.log().follow(), Arc::clone(engine.ambient()));
    let may_begin = engine.reaches_out();
    async move {
        let end = *durable.borrow();
        let path = place.clone();
        let begun = ambient.unblock(move || begin(&path, end)).await;
        let Ok(mut position) = begun else { return std::future::pending().await };
        may_begin.await;
        loop {
            let end = *durable.borrow_and_update();
            if end <= position {
                if durable.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            }
            let (engine, path) = (Weak::clone(&of), place.clone());
            match ambient.unblock(move || step(&engine, &path, position, is_alone)).await {
                // What was there was pruned.
                Ok(Ok(to)) => position = if to > position { to } else { end },
                Ok(Err(error)) => {
                    tracing::error!(error = &*error as &dyn std::error::Error, "receipts cannot be written yet");
                    ambient.sleep(TROUBLE).await;
                }
                Err(_) => return std::future::pending().await,
            }
        }
    }
}

/// Where to go on: from where they were, or from here.
fn begin(place: &Path, end: u64) -> u64 {
    let found = std::fs::read(place).ok().and_then(|bytes| serde_json::from_slice::<Place>(&bytes).ok());
    // One that lies ahead is of a journal that is not this one any more.
    let position = found.map(|place| place.position).filter(|position| *position <= end);
    position.unwrap_or_else(|| {
        if let Err(error) = put_down(place, end) {
            tracing::warn!(%error, "up to where receipts are written cannot be put down");
        }
        end
    })
}

fn put_down(place: &Path, position: u64) -> io::Result<()> {
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".receipts").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(&Place { position })?)?;
    file.as_file().sync_all()?;
    file.persist(place).map_err(|error| error.error)?;
    Ok(())
}

/// Writes those of the next frames; up to where that is.
fn step(engine: &Weak<Engine>, place: &Path, position: u64, is_alone: bool) -> Result<u64, Trouble> {
    let engine = engine.upgrade().ok_or("the node is stopping")?;
    let frames = engine.log().feed_after(position, FRAMES)?;
    let Some(last) = frames.last().map(|frame| frame.position) else { return Ok(position) };
    let mut written = false;
    for frame in frames {
        if ends(&**engine.log(), frame.mission, frame.first, frame.count)? {
            written |= of_mission(&engine, frame.mission, is_alone)?;
        }
    }
    if written {
        put_down(place, last)?;
    }
    Ok(last)
}

/// Whether the records of a frame end their mission. One mission's damage is its own: of it there is no receipt.
fn ends(log: &dyn Log, no: MissionNo, first: u32, count: u32) -> Result<bool, Trouble> {
    let mut next = first;
    let behind = first.saturating_add(count);
    while next < behind {
        let records = match log.read(no, next, 64 << 10) {
            Ok(records) => records,
            Err(ReadError::Row { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if records.is_empty() {
            return Ok(false);
        }
        let of_frame = usize::try_from(behind - next).unwrap_or(usize::MAX);
        if records.iter().take(of_frame).any(|stamped| matches!(stamped.record, Record::Finished { .. })) {
            return Ok(true);
        }
        next = next.saturating_add(u32::try_from(records.len()).unwrap_or(u32::MAX));
    }
    Ok(false)
}

/// Writes that of a mission; whether there is one.
fn of_mission(engine: &Engine, no: MissionNo, is_alone: bool) -> Result<bool, Trouble> {
    let mission = match engine.mission(no) {
        Ok(mission) => mission,
        // Removed meanwhile, or damaged: its own.
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a mission has no receipt");
            return Ok(false);
        }
    };
    let Some(completed_at) = mission.ended_at() else { return Ok(false) };
    let shown = engine.show(no)?;
    let (envelope, session) = (mission.envelope(), mission.session());
    let place: PathBuf = engine.workspaces().place(&envelope.vp_id, session);
    // Where several nodes share a log, the one that ran it has the folder.
    if !is_alone && !place.is_dir() {
        return Ok(false);
    }
    let asked = super::kept(&**engine.log(), no).ok().flatten().unwrap_or_default();
    let mission_type = asked.get("mission_type").and_then(Value::as_str).filter(|name| !name.is_empty());
    let receipt = Receipt {
        mission_id: shown.mission_id,
        vp_id: shown.vp_id,
        status: shown.status.as_str().to_owned(),
        objective: shown.objective,
        mission_type: mission_type.unwrap_or(shown.mission_type.as_str()).to_owned(),
        result_ref: format!("workspace://{}", place.display()),
        created_at: shown.created_at,
        started_at: shown.started_at,
        completed_at,
        message: shown.summary,
        reason: shown.reason.map(|reason| reason.to_string()),
        asked,
    };
    let workspace = match engine.workspaces().open(&envelope.vp_id, session) {
        Ok(workspace) => workspace,
        Err(error) => return Ok(told_of(&receipt.mission_id, &error)),
    };
    for (name, bytes) in receipt.files() {
        if let Err(error) = workspace.put_own(name, &bytes) {
            return Ok(told_of(&receipt.mission_id, &error));
        }
    }
    Ok(true)
}

/// One workspace that cannot be written keeps no other from its receipts.
fn told_of(mission_id: &str, error: &(dyn std::error::Error + 'static)) -> bool {
    tracing::warn!(mission_id, error, "the receipt of a mission cannot be written into its workspace");
    true
}
