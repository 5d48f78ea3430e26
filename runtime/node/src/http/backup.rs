//! `GET /v1/backup`: the node as it is at one moment, sent as it is made.
//!
//! The journal is copied to the node's disk first, beside what goes on, so that a client that reads slowly holds no page of it. One
//! backup is taken at a time. Nothing that belongs to a mission is removed meanwhile.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_engine::{Engine, Hold};
use sortie_journal::Copied;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::App;
use super::error::Problem;
use super::query::NoParameters;
use crate::backup::{self, DRAFTS, LAST, Source, TakeError};

/// What is sent at once, and how many of those wait for the client.
const CHUNK_BYTES: usize = 128 << 10;
const CHUNKS: usize = 8;

/// Where backups are made of, and whose turn it is.
#[derive(Debug, Clone)]
pub(crate) struct Backups {
    data_dir: Arc<Path>,
    place: Arc<Semaphore>,
    last: Arc<Mutex<Option<Timestamp>>>,
}

impl Backups {
    /// Of that data folder.
    pub(crate) fn of(data_dir: &Path) -> Self {
        let last = std::fs::read_to_string(data_dir.join(LAST)).ok().and_then(|text| text.trim().parse().ok());
        Self { data_dir: data_dir.into(), place: Arc::new(Semaphore::new(1)), last: Arc::new(Mutex::new(last)) }
    }

    /// The moment that the last one shows which was sent whole.
    pub(super) fn last(&self) -> Option<Timestamp> {
        *self.last.lock()
    }

    /// One was sent whole. Where that cannot be kept it is known until the node stops.
    fn were_taken(&self, at: Timestamp) {
        *self.last.lock() = Some(at);
        let kept = tempfile::NamedTempFile::new_in(&self.data_dir).and_then(|mut file| {
            writeln!(file, "{at}")?;
            Ok(file.persist(self.data_dir.join(LAST))?)
        });
        if let Err(error) = kept {
            tracing::warn!(error = &error as &dyn std::error::Error, "when the last backup was taken cannot be kept");
        }
    }
}

/// `GET /v1/backup`
pub(super) async fn take(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let backups = app.backups.clone();
    let Ok(place) = Arc::clone(&backups.place).try_acquire_owned() else {
        let detail = "a backup of this node is being taken; take another one when that is done";
        return Err(Problem::new(StatusCode::CONFLICT, "backup_runs", detail));
    };
    let draft = Draft::make(&app, Arc::clone(&backups.data_dir), place).await?;
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let to = BufWriter::with_capacity(CHUNK_BYTES, Outgoing(sender.clone()));
        let taken_at = draft.taken_at;
        match draft.write(to) {
            Ok(end) => {
                tracing::info!(bytes = end.bytes, artifacts = end.artifacts, "a backup was taken");
                backups.were_taken(taken_at);
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a backup was not taken to its end");
                // What was sent has no end, and whoever reads it sees that.
                let _ = sender.blocking_send(Err(io::Error::other("the backup broke off")));
            }
        }
    });
    let body = Body::from_stream(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)));
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"sortie-backup.tar\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

/// A copy of the journal, and whatever must hold for as long as what belongs to it is read.
struct Draft {
    data_dir: Arc<Path>,
    instance_id: String,
    taken_at: Timestamp,
    folder: TempDir,
    copied: Copied,
    _hold: Hold,
    _place: OwnedSemaphorePermit,
}

impl Draft {
    async fn make(app: &App, data_dir: Arc<Path>, place: OwnedSemaphorePermit) -> Result<Self, Problem> {
        let (engine, disk) = (Arc::clone(&app.engine), Arc::clone(app.artifacts.shared_room().disk()));
        // No later step may find removed what the copy names: those that were handed over are done first.
        let hold = tokio::task::spawn_blocking(move || engine.removals().hold());
        let hold = hold.await.map_err(|error| Problem::task_failed(&error))?;
        let barrier = app.engine.log().barrier().map_err(|error| Problem::internal(&error))?;
        barrier.await.map_err(|error| Problem::internal(&error))?;
        let engine = Arc::clone(&app.engine);
        let made = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::metadata(data_dir.join("journal.redb")).map_or(0, |metadata| metadata.len());
            if !disk.takes(bytes) {
                let detail = format!(
                    "a backup needs {} MiB on the node's disk for a while, and they are not there",
                    bytes >> 20
                );
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disk_low", detail));
            }
            Self::copy(&engine, data_dir, hold, place).map_err(|error| Problem::internal(&error))
        });
        made.await.map_err(|error| Problem::task_failed(&error))?
    }

    /// Blocks for as long as the journal takes to be read and written once.
    fn copy(engine: &Engine, data_dir: Arc<Path>, hold: Hold, place: OwnedSemaphorePermit) -> Result<Self, TakeError> {
        let drafts = data_dir.join(DRAFTS);
        let unusable = |source| TakeError::File { path: drafts.clone(), source };
        std::fs::create_dir_all(&drafts).map_err(unusable)?;
        let folder = tempfile::tempdir_in(&drafts).map_err(unusable)?;
        let taken_at = engine.ambient().wall();
        let copied = engine.log().snapshot(&journal_in(&folder))?;
        let instance_id = engine.rules().instance_id.to_string();
        Ok(Self { data_dir, instance_id, taken_at, folder, copied, _hold: hold, _place: place })
    }

    fn write(self, to: impl Write) -> Result<backup::End, TakeError> {
        let journal = journal_in(&self.folder);
        let source = Source {
            data_dir: &self.data_dir,
            journal: &journal,
            copied: self.copied,
            instance_id: self.instance_id,
            taken_at: self.taken_at,
        };
        backup::write(&source, to)
    }
}

fn journal_in(folder: &TempDir) -> PathBuf {
    folder.path().join("journal.redb")
}

/// Hands what is written to the client, and waits for it.
struct Outgoing(mpsc::Sender<io::Result<Bytes>>);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it any more");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
