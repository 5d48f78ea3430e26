//! The store that nodes share, as the driver uses it: blocking, on threads where that is allowed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sortie_contract::digest::Digest;
use sortie_contract::{MissionId, limit};
use sortie_engine::{ArtifactError, SharedStore};
use sortie_objects::{Bounds, Fault, Objects, PutError, Shelves};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};

/// How the names of marks begin, beside the folders of missions: a place in the store that is nobody's.
const LEFT: &str = ".left-";

/// So many artifacts are fetched at once for readers: each is a file of the data directory's disk meanwhile.
const FETCHED_AT_ONCE: usize = 8;

/// The artifacts of missions with the scope `shared`.
#[derive(Debug)]
pub(crate) struct Shared {
    shelves: Shelves,
    /// Where marks and what is fetched are.
    folder: PathBuf,
    handle: Handle,
    fetching: Semaphore,
    /// The process ends: nobody waits for a store any more.
    stop: CancellationToken,
}

impl Shared {
    /// The store that the configuration names, if it names one. To be called on the runtime.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub(crate) fn open(config: &Config, data_dir: &Path) -> Result<Option<Arc<Self>>, ConfigError> {
        let Some(objects) = Objects::open(&config.artifact)? else { return Ok(None) };
        let bounds = Bounds {
            bytes_max: config.limits.mission_artifacts_mib.saturating_mul(1 << 20),
            files_max: 4 * limit::ARTIFACTS_MAX,
            one_max: limit::ARTIFACT_BYTES_MAX as u64,
        };
        Ok(Some(Arc::new(Self {
            shelves: Shelves::new(objects, bounds),
            folder: data_dir.join("artifacts"),
            handle: Handle::current(),
            fetching: Semaphore::new(FETCHED_AT_ONCE),
            stop: CancellationToken::new(),
        })))
    }

    /// The store itself.
    pub(crate) fn objects(&self) -> &Objects {
        self.shelves.objects()
    }

    /// Where the bytes of an artifact are, for people.
    pub(crate) fn address(&self, place: &str, sha256: &Digest) -> String {
        format!("{}/{}", self.objects().place().trim_end_matches('/'), sortie_objects::key(place, sha256))
    }

    /// Whoever waits for the store is told that it is away.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for what is asked of the store, where blocking is allowed.
    pub(crate) fn wait<T, E: From<Fault>>(&self, asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.handle.block_on(async {
            let asked = self.stop.run_until_cancelled(asked).await;
            asked.unwrap_or_else(|| Err(Fault::Away("the node is stopping".to_owned()).into()))
        })
    }

    /// What a fault means to whoever stores or reads that artifact.
    fn told(&self, fault: Fault, place: &str, sha256: &Digest) -> ArtifactError {
        let at = || format!("`{}` in the store that nodes share", sortie_objects::key(place, sha256));
        match fault {
            Fault::Away(why) => ArtifactError::Away(why),
            Fault::Here(error) => ArtifactError::Folder(error),
            Fault::Missing => ArtifactError::Missing { at: at() },
            lasting @ (Fault::Odd(_) | Fault::Damaged(_) | Fault::Taken | Fault::TooLarge { .. }) => {
                ArtifactError::Damaged { at: at(), why: lasting.to_string() }
            }
        }
    }

    fn mark(&self, place: &str) -> PathBuf {
        self.folder.join(format!("{LEFT}{place}"))
    }
}

impl SharedStore for Shared {
    fn put(&self, place: &str, bytes: &[u8]) -> Result<Digest, ArtifactError> {
        let put = self.wait(self.shelves.put(place, bytes.to_vec().into()));
        put.map_err(|error| match error {
            PutError::Store(fault) => self.told(fault, place, &Digest::of(bytes)),
            full @ (PutError::Bytes(_) | PutError::Files(_)) => ArtifactError::Full(full.to_string()),
        })
    }

    fn get(&self, place: &str, sha256: &Digest) -> Result<Vec<u8>, ArtifactError> {
        self.wait(self.shelves.get(place, sha256)).map(Into::into).map_err(|fault| self.told(fault, place, sha256))
    }

    fn fetch(&self, place: &str, sha256: &Digest) -> Result<File, ArtifactError> {
        let mut file = tempfile::tempfile_in(&self.folder)?;
        self.wait(async {
            let _turn = self.fetching.acquire().await;
            self.shelves.read_into(place, sha256, &mut file).await
        })
        .map_err(|fault| self.told(fault, place, sha256))?;
        Ok(file)
    }

    fn copy(&self, from: &str, to: &str, stored: &[Digest]) -> Result<(), ArtifactError> {
        stored.iter().try_for_each(|sha256| {
            self.wait(self.shelves.copy(from, to, sha256)).map_err(|fault| self.told(fault, from, sha256))
        })
    }

    fn remove(&self, place: &str) -> Result<(), ArtifactError> {
        self.wait(self.shelves.remove(place)).map_err(|fault| match fault {
            Fault::Odd(why) => ArtifactError::Damaged { at: format!("the place `{place}`"), why },
            other => ArtifactError::Away(other.to_string()),
        })
    }

    fn is_over(&self, place: &str) {
        self.shelves.is_over(place);
    }

    fn leave(&self, place: &str, mission: &MissionId) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        io::Write::write_all(&mut file, mission.as_str().as_bytes())?;
        file.as_file().sync_data()?;
        file.persist(self.mark(place)).map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }

    fn left(&self) -> Vec<(String, MissionId)> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let left = names.filter_map(|entry| {
            let place = entry.file_name().to_str()?.strip_prefix(LEFT)?.to_owned();
            let mission = crate::bounded::text(&entry.path()).ok()?;
            Some((place, MissionId::new(mission).ok()?))
        });
        left.collect()
    }

    fn forget(&self, place: &str) {
        match fs::remove_file(self.mark(place)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(place, %error, "it is looked again for what a mission left in the shared store");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_nobodys_is_kept_in_mind_through_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("artifacts")).expect("made");
        fs::create_dir(dir.path().join("shared")).expect("made");
        let mut config = Config::default();
        config.artifact.shared = Some(format!("file://{}", dir.path().join("shared").display()));
        let open = || Shared::open(&config, dir.path()).expect("fits").expect("is named");
        let id = MissionId::new("m:1").expect("valid");
        let shared = open();
        shared.leave("m_1-0123", &id).expect("marked");
        shared.leave("m_1-0123", &id).expect("marked again");
        drop(shared);
        let shared = open();
        assert_eq!(shared.left(), [("m_1-0123".to_owned(), id)]);
        shared.forget("m_1-0123");
        shared.forget("m_1-0123");
        assert!(open().left().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_artifact_goes_there_and_comes_back_and_is_gone_with_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("artifacts")).expect("made");
        fs::create_dir(dir.path().join("shared")).expect("made");
        let mut config = Config::default();
        config.artifact.shared = Some(format!("file://{}", dir.path().join("shared").display()));
        let shared = Shared::open(&config, dir.path()).expect("fits").expect("is named");
        let told = tokio::task::spawn_blocking(move || {
            let sha256 = shared.put("one", b"report").expect("stored");
            assert_eq!(shared.get("one", &sha256).expect("there"), b"report");
            assert_eq!(io::read_to_string(shared.fetch("one", &sha256).expect("there")).expect("text"), "report");
            shared.copy("one", "two", &[sha256]).expect("copied");
            shared.remove("one").expect("removed");
            assert!(matches!(shared.get("one", &sha256), Err(ArtifactError::Missing { .. })));
            assert_eq!(shared.get("two", &sha256).expect("there"), b"report");
            shared.stop();
            shared.get("two", &sha256).expect_err("nobody waits")
        });
        assert!(told.await.expect("no panic").may_pass());
    }
}
