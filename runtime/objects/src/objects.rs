//! The part of a store that is ours: objects by their keys, and what can go wrong with them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{BackoffConfig, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig};
use sortie_contract::{Timestamp, limit};

use crate::config::{ArtifactConfig, Bucket, ConfigError, Place};
use crate::connect::{Connector, KeyRing, Signing, payload};
use crate::folder::Folder;

/// For so long a request is repeated before the store counts as away.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest that the next piece of an object may take to come.
const PIECE_MAX: Duration = Duration::from_secs(30);

/// So many objects are removed side by side.
const REMOVED_AT_ONCE: usize = 8;

/// What a probe writes.
const PROBE: &[u8] = b"sortie looks whether it can write here";

/// Part of an object store. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: Store,
    /// For people.
    place: String,
    counters: Counters,
}

enum Store {
    Bucket { store: Box<dyn ObjectStore>, prefix: Path },
    Folder(Folder),
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
    removed: AtomicU64,
    failed: AtomicU64,
    is_away: AtomicU64,
}

/// What was done since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Objects that were written.
    pub written: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Objects that were removed.
    pub removed: u64,
    /// What was tried for as long as it is, and failed.
    pub failed: u64,
    /// Whether what was tried last failed so.
    pub is_away: bool,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key, below the prefix.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub written_at: Timestamp,
    /// It is an object. In a folder something else may lie in the place of one, which cannot be read.
    pub is_object: bool,
}

/// What came of it instead.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such object.
    #[error("it is not there")]
    Missing,
    /// There is one already.
    #[error("something else is there already")]
    Taken,
    /// It has more bytes than whoever reads it takes.
    #[error("it has more than {max} bytes")]
    TooLarge {
        /// What is taken.
        max: u64,
    },
    /// Something that is no object lies in its place: somebody has to see to that.
    #[error("{0}")]
    Odd(String),
    /// It is there, and is not what was stored.
    #[error("{0}")]
    Damaged(String),
    /// The store does not answer, or not as it should, or lets nobody in with these keys: it may later.
    #[error("{0}")]
    Away(String),
    /// What is read cannot be written to where it was to be.
    #[error("what was read cannot be kept")]
    Here(#[source] io::Error),
}

impl Fault {
    /// Whether it may be well later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    fn of(error: object_store::Error) -> Self {
        use object_store::Error;
        match error {
            // A bucket that is not there says nothing of what is in it, as a share that is not mounted.
            Error::NotFound { ref source, .. } if told(&**source).contains(NO_BUCKET) => Self::Away(told(&error)),
            Error::NotFound { .. } => Self::Missing,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Self::Taken,
            other => match told(&other) {
                // Asked for a part that begins behind its end.
                told if told.contains(TOO_SHORT) => Self::Missing,
                told => Self::Away(told),
            },
        }
    }
}

/// What a server says where the bucket is not there: the object's own absence has another word.
const NO_BUCKET: &str = "NoSuchBucket";

/// What the client says where a part was asked for, and there is none.
const TOO_SHORT: &str = "status code: 416";

/// An error with its causes in one line.
fn told(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Many say what they are caused by themselves.
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    let line: Vec<&str> = text.split_whitespace().collect();
    limit::clip(&line.join(" "), limit::NOTE_BYTES_MAX)
}

impl Objects {
    /// The store that the configuration names; none, where it names none. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn open(config: &ArtifactConfig) -> Result<Option<Self>, ConfigError> {
        let Some(place) = config.place()? else { return Ok(None) };
        let named = config.shared.clone().unwrap_or_default();
        let store = match place {
            Place::Bucket(bucket) => {
                let prefix = Path::parse(&bucket.prefix).map_err(|error| ConfigError::of("shared", &error))?;
                Store::Bucket { store: Box::new(reached(&bucket)?), prefix }
            }
            Place::Folder(folder) => Store::Folder(Folder::new(folder)),
        };
        Ok(Some(Self(Arc::new(Inner { store, place: named, counters: Counters::default() }))))
    }

    /// Where it is, as it was named.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// What was done since the start.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let counters = &self.0.counters;
        Counted {
            written: counters.written.load(Relaxed),
            written_bytes: counters.written_bytes.load(Relaxed),
            read_bytes: counters.read_bytes.load(Relaxed),
            removed: counters.removed.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            is_away: counters.is_away.load(Relaxed) != 0,
        }
    }

    /// Writes an object, in the place of whatever is there: wholly or not at all. To do it twice is to do it once.
    ///
    /// # Errors
    /// [`Fault::Away`]: it may be there or not.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Fault> {
        self.put_so(key, bytes, false).await
    }

    /// Writes an object where there is none. Of all who try, one does.
    ///
    /// # Errors
    /// [`Fault::Taken`]: there is one, which may be what an attempt of one's own wrote whose answer was lost. [`Fault::Away`]: it may be
    /// there or not.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<(), Fault> {
        self.put_so(key, bytes, true).await
    }

    async fn put_so(&self, key: &str, bytes: Bytes, only_new: bool) -> Result<(), Fault> {
        let size = bytes.len() as u64;
        let put = match &self.0.store {
            Store::Bucket { store, prefix } => {
                let mode = if only_new { PutMode::Create } else { PutMode::Overwrite };
                let put = store.put_opts(&below(prefix, key)?, payload(bytes), mode.into()).await;
                put.map(drop).map_err(Fault::of)
            }
            Store::Folder(folder) => {
                let key = key.to_owned();
                in_folder(folder, move |folder| folder.put(&key, &bytes, only_new)).await
            }
        };
        self.settled(put)?;
        self.0.counters.written.fetch_add(1, Relaxed);
        self.0.counters.written_bytes.fetch_add(size, Relaxed);
        Ok(())
    }

    /// The bytes of an object, of `max` at most.
    ///
    /// # Errors
    /// [`Fault`]
    pub async fn get(&self, key: &str, max: u64) -> Result<Bytes, Fault> {
        let mut whole = Vec::new();
        let read = |piece: &[u8]| {
            whole.extend_from_slice(piece);
            Ok(())
        };
        self.read(key, None, max, read).await?;
        Ok(whole.into())
    }

    /// The bytes of an object from `first` on, so many.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Missing`] where it is not that long.
    pub async fn get_part(&self, key: &str, first: u64, len: u64) -> Result<Bytes, Fault> {
        let mut part = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        let read = |piece: &[u8]| {
            part.extend_from_slice(piece);
            Ok(())
        };
        self.read(key, Some(first..first.saturating_add(len)), len, read).await?;
        if part.len() as u64 == len { Ok(part.into()) } else { Err(Fault::Missing) }
    }

    /// Reads an object piece by piece, and says how many bytes that were. Where the connection breaks in the middle it goes on from there.
    ///
    /// # Errors
    /// [`Fault`]: some of the pieces may have been handed out.
    pub async fn read(
        &self,
        key: &str,
        part: Option<std::ops::Range<u64>>,
        max: u64,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u64, Fault> {
        let mut bytes = 0_u64;
        let (store, prefix) = match &self.0.store {
            Store::Bucket { store, prefix } => (store, prefix),
            Store::Folder(folder) => {
                let (key, (send, mut pieces)) = (key.to_owned(), tokio::sync::mpsc::channel(2));
                let reader = in_folder(folder, move |folder| {
                    // Whoever takes them and wants no more says why.
                    let sent =
                        |piece: &[u8]| send.blocking_send(Bytes::copy_from_slice(piece)).map_err(|_| Fault::Missing);
                    folder.read(&key, part, max, sent)
                });
                let taker = async move {
                    while let Some(piece) = pieces.recv().await {
                        bytes += piece.len() as u64;
                        if bytes > max {
                            return Err(Fault::TooLarge { max });
                        }
                        each(&piece).map_err(Fault::Here)?;
                    }
                    Ok(bytes)
                };
                let (read, taken) = tokio::join!(reader, taker);
                let (taken, ()) = (taken?, self.settled(read)?);
                self.0.counters.read_bytes.fetch_add(taken, Relaxed);
                return Ok(taken);
            }
        };
        let options = GetOptions { range: part.map(GetRange::Bounded), ..GetOptions::default() };
        let is_whole = options.range.is_none();
        let got = store.get_opts(&below(prefix, key)?, options).await;
        let got = self.settled(got.map_err(Fault::of))?;
        if is_whole && got.meta.size > max {
            return Err(Fault::TooLarge { max });
        }
        let mut pieces = got.into_stream();
        loop {
            let piece = tokio::time::timeout(PIECE_MAX, pieces.try_next()).await;
            let piece = piece.unwrap_or_else(|_| {
                let why = format!("nothing came for {} seconds", PIECE_MAX.as_secs());
                Err(object_store::Error::Generic { store: "store", source: why.into() })
            });
            let Some(piece) = self.settled(piece.map_err(Fault::of))? else { break };
            bytes += piece.len() as u64;
            if bytes > max {
                return Err(Fault::TooLarge { max });
            }
            each(&piece).map_err(Fault::Here)?;
        }
        self.0.counters.read_bytes.fetch_add(bytes, Relaxed);
        Ok(bytes)
    }

    /// What is below a key, what lies in the place of objects included.
    ///
    /// # Errors
    /// [`Fault::Away`], [`Fault::Odd`]
    pub async fn list(&self, under: &str) -> Result<Vec<Found>, Fault> {
        let (store, prefix) = match &self.0.store {
            Store::Bucket { store, prefix } => (store, prefix),
            Store::Folder(folder) => {
                let under = under.to_owned();
                return self.settled(in_folder(folder, move |folder| folder.list(&under)).await);
            }
        };
        let under = below(prefix, under)?;
        let found: Result<Vec<_>, _> = store.list(Some(&under)).try_collect().await;
        let found = self.settled(found.map_err(Fault::of))?;
        let own = |meta: object_store::ObjectMeta| {
            let key = meta.location.prefix_match(prefix)?;
            let key = key.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            let written_at = Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).ok()?;
            Some(Found { key, bytes: meta.size, written_at, is_object: true })
        };
        Ok(found.into_iter().filter_map(own).collect())
    }

    /// Writes what is at one key to another, as it is. `max` holds where the bytes come by here.
    ///
    /// # Errors
    /// [`Fault`]
    pub async fn copy(&self, from: &str, to: &str, max: u64) -> Result<(), Fault> {
        let copied = match &self.0.store {
            Store::Bucket { store, prefix } => {
                store.copy(&below(prefix, from)?, &below(prefix, to)?).await.map_err(Fault::of)
            }
            Store::Folder(folder) => {
                let (from, to) = (from.to_owned(), to.to_owned());
                in_folder(folder, move |folder| folder.copy(&from, &to, max)).await
            }
        };
        self.settled(copied)
    }

    /// Removes objects. One that is gone is no error.
    ///
    /// # Errors
    /// [`Fault::Away`]: some may be left.
    pub async fn remove(&self, keys: impl IntoIterator<Item = String>) -> Result<(), Fault> {
        let one = |key: String| async move {
            let removed = match &self.0.store {
                Store::Bucket { store, prefix } => store.delete(&below(prefix, &key)?).await.map_err(Fault::of),
                Store::Folder(folder) => in_folder(folder, move |folder| folder.remove(&key)).await,
            };
            match removed {
                Err(Fault::Missing) => Ok(()),
                other => self.settled(other),
            }
        };
        let mut removed = futures_util::stream::iter(keys).map(one).buffer_unordered(REMOVED_AT_ONCE);
        while let Some(one) = removed.next().await {
            one?;
            self.0.counters.removed.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Removes all that is below a key.
    ///
    /// # Errors
    /// [`Fault::Away`]: some may be left.
    pub async fn remove_below(&self, under: &str) -> Result<(), Fault> {
        let found = self.list(under).await?;
        self.remove(found.into_iter().map(|found| found.key)).await
    }

    /// Writes, reads and removes something small. `name` is of whoever looks, so that two who do are not in each other's way.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub async fn probe(&self, name: &str) -> Result<(), Fault> {
        let key = format!("probe/{name}");
        self.put(&key, Bytes::from_static(PROBE)).await?;
        let read = self.get(&key, PROBE.len() as u64).await?;
        self.remove([key]).await?;
        if read == PROBE { Ok(()) } else { Err(Fault::Away("what was written is not what is read".to_owned())) }
    }

    /// Whether the store gives a name once, to whoever asks first: not all that speak as S3 does heed that something is to be written only where
    /// nothing is. `name` is of whoever looks.
    ///
    /// # Errors
    /// [`Fault::Odd`]: it does not. [`Fault::Away`]: it cannot be told.
    pub async fn gives_once(&self, name: &str) -> Result<(), Fault> {
        let key = format!("probe/{name}-once");
        // An answer may have been lost, and then it is there by now.
        match self.create(&key, Bytes::from_static(PROBE)).await {
            Ok(()) | Err(Fault::Taken) => {}
            Err(other) => return Err(other),
        }
        let again = self.create(&key, Bytes::from_static(PROBE)).await;
        self.remove([key]).await?;
        match again {
            Err(Fault::Taken) => Ok(()),
            Err(other) => Err(other),
            Ok(()) => Err(Fault::Odd(
                "it writes over what is there where it is asked to write only where nothing is (`If-None-Match`)"
                    .to_owned(),
            )),
        }
    }

    /// Counts what came of an attempt.
    fn settled<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        let is_away = matches!(outcome, Err(Fault::Away(_)));
        self.0.counters.is_away.store(is_away.into(), Relaxed);
        self.0.counters.failed.fetch_add(is_away.into(), Relaxed);
        outcome
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.0.place).finish()
    }
}

fn below(prefix: &Path, key: &str) -> Result<Path, Fault> {
    let whole = if prefix.as_ref().is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
    Path::parse(whole).map_err(|error| Fault::Away(error.to_string()))
}

/// Does something to a folder, off the async threads: a share may take its time.
async fn in_folder<T: Send + 'static>(
    folder: &Folder,
    does: impl FnOnce(&Folder) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let folder = folder.clone();
    let done = tokio::task::spawn_blocking(move || does(&folder)).await;
    done.unwrap_or_else(|error| Err(Fault::Away(error.to_string())))
}

fn reached(bucket: &Bucket) -> Result<object_store::aws::AmazonS3, ConfigError> {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(1), base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_region(&bucket.region)
        .with_credentials(Arc::new(KeyRing(bucket.keys.clone())))
        .with_crypto_provider(Arc::new(Signing))
        .with_http_connector(Connector::new(bucket.guard.clone()))
        .with_retry(RetryConfig { backoff, max_retries: 5, retry_timeout: PATIENCE });
    if let Some(endpoint) = &bucket.endpoint {
        builder =
            builder.with_endpoint(endpoint.as_str().trim_end_matches('/')).with_allow_http(endpoint.scheme() == "http");
    }
    builder.build().map_err(|error| ConfigError::of("shared", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(dir: &std::path::Path) -> Objects {
        let config = ArtifactConfig { shared: Some(format!("file://{}", dir.display())), ..ArtifactConfig::default() };
        Objects::open(&config).expect("a store").expect("one is named")
    }

    #[test]
    fn an_object_is_missing_only_where_its_bucket_is_there() {
        for (code, may_pass) in [("NoSuchKey", false), ("NoSuchBucket", true)] {
            let source = format!("status code: 404 Not Found: <Error><Code>{code}</Code></Error>").into();
            let fault = Fault::of(object_store::Error::NotFound { path: "a".to_owned(), source });
            assert_eq!((fault.may_pass(), matches!(fault, Fault::Missing)), (may_pass, !may_pass), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_said_to_be() {
        let dir = tempfile::tempdir().expect("a folder");
        let objects = objects(&dir.path().join("share"));
        let error = objects.put("a/one", Bytes::from_static(b"1")).await.expect_err("refused");
        assert!(error.may_pass() && error.to_string().contains("mounted"), "{error}");
        assert!(objects.counted().is_away && objects.counted().failed == 1);
        assert!(objects.get("a/one", 1).await.is_err_and(|error| error.may_pass()), "nothing says that it is lost");
        assert!(objects.list("a").await.is_err_and(|error| error.may_pass()));
        std::fs::create_dir(dir.path().join("share")).expect("mounted");
        objects.put("a/one", Bytes::from_static(b"1")).await.expect("written");
        assert!(!objects.counted().is_away);
    }
}
