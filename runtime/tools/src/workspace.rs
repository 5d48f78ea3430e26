//! A session's workspace: the only files that a mission can name.
//!
//! Confinement is `cap-std`'s: every path is resolved below an open directory, so that no `..`, no absolute path and
//! no symbolic link leads out of it, whoever races with whom. What this file adds are the rules of form (so that a
//! mistake is told as one), bounded reads, and writes that happen wholly or not at all.
//!
//! It does not decide who may read or write. How much a workspace holds in all is its quota's business.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, File, OpenOptions, OpenOptionsExt as _};
use sortie_contract::limit;
use sortie_contract::tool::CallError;

mod carry;
mod copy;
mod foreign;
mod own;
mod path;
mod quota;
mod walk;

pub use carry::{
    Carried, CarriedKind, CarryError, Contents, FileRead, FileState, Remade, RemadeFile, remove_folder, state_now,
};
pub use copy::{Copied, CopyError};
pub(crate) use foreign::{Measure, Survey};
pub(crate) use path::{Place, normal};
use quota::Quota;
pub use quota::{NodeRoom, WorkspaceBounds};

/// What the names of half-written files begin with. A crash can leave one behind; `Glob` and `Grep` do not see them.
const TEMPORARY_PREFIX: &str = ".sortie-write-";

/// The files of one session. Cheap to clone; clones are the same workspace.
#[derive(Debug, Clone)]
pub struct Workspace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Opened at the first use: most small missions touch no file.
    dir: OnceLock<Dir>,
    /// Held while a file is read, changed and written back, so that edits side by side do not lose each other.
    edits: Mutex<()>,
    /// What it may hold; without one, whatever the disk takes.
    quota: Option<Quota>,
}

/// A workspace that is there for as long as somebody works in it.
#[derive(Debug, Clone)]
pub struct WeakWorkspace(Weak<Inner>);

impl WeakWorkspace {
    /// The workspace, if somebody does.
    #[must_use]
    pub fn upgrade(&self) -> Option<Workspace> {
        self.0.upgrade().map(Workspace)
    }
}

/// Why a file of a workspace cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Not a path that can be below a workspace.
    #[error("`{path}` is no path in the workspace: {why}")]
    Path {
        /// The path, shortened.
        path: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A symbolic link on the way leads out.
    #[error("`{path}` leads out of the workspace over a symbolic link; only files inside can be used")]
    Outside {
        /// The path.
        path: String,
    },
    /// Nothing is there.
    #[error("`{path}` does not exist in the workspace; Glob lists what does")]
    NotFound {
        /// The path.
        path: String,
    },
    /// A directory, a pipe, a device or a socket.
    #[error("`{path}` is not a regular file{}", but_what(.what))]
    NotAFile {
        /// The path.
        path: String,
        /// What it is, where that is known.
        what: &'static str,
    },
    /// More than the caller can take.
    #[error("`{path}` has {bytes} bytes; at most {max} can be taken")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size.
        bytes: u64,
        /// The bound.
        max: usize,
    },
    /// The operating system said no.
    #[error("`{path}` cannot be {verb}: {source}")]
    Io {
        /// The path.
        path: String,
        /// What was tried: `read`, `written`, `listed`.
        verb: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

fn but_what(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(", it is {what}") }
}

/// What people call what is no file.
pub(crate) fn kind_of(kind: cap_std::fs::FileType) -> &'static str {
    use cap_std::fs::FileTypeExt as _;
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe, which would wait for whoever writes into it"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        ""
    }
}

impl From<WorkspaceError> for CallError {
    fn from(error: WorkspaceError) -> Self {
        let text = error.to_string();
        match error {
            WorkspaceError::Path { .. } | WorkspaceError::Outside { .. } => Self::Denied(text),
            WorkspaceError::NotFound { .. }
            | WorkspaceError::NotAFile { .. }
            | WorkspaceError::TooLarge { .. }
            | WorkspaceError::Io { .. } => Self::Failed(text),
        }
    }
}

/// A regular file, opened, and its size at that moment.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Workspace {
    /// The workspace at `root`, which is made when a file is first asked for, and holds whatever the disk takes.
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::with_quota(root, None)
    }

    /// The workspace at `root`, which holds so much, and no more than the node has room for. Whoever works in it at the same time
    /// must share it: see [`Workspace::downgrade`].
    pub fn bounded(root: &Path, bounds: WorkspaceBounds, node: Arc<dyn NodeRoom>) -> io::Result<Self> {
        Self::with_quota(root, Some(Quota::new(bounds, node)))
    }

    /// The same workspace, for whoever may come to share it.
    #[must_use]
    pub fn downgrade(&self) -> WeakWorkspace {
        WeakWorkspace(Arc::downgrade(&self.0))
    }

    fn with_quota(root: &Path, quota: Option<Quota>) -> io::Result<Self> {
        let dir = OnceLock::new();
        match Dir::open_ambient_dir(root, ambient_authority()) {
            Ok(open) => drop(dir.set(open)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self(Arc::new(Inner { root: root.to_owned(), dir, edits: Mutex::new(()), quota })))
    }

    /// Reads a file of at most `max` bytes. Blocks on the disk.
    pub fn read_file(&self, path: &str, max: usize) -> Result<Vec<u8>, WorkspaceError> {
        let place = normal(path)?;
        let opened = self.open_file(&place)?;
        let too_large = |bytes| WorkspaceError::TooLarge { path: place.to_string(), bytes, max };
        if opened.bytes > max as u64 {
            return Err(too_large(opened.bytes));
        }
        let bytes = read_at_most(opened.file, max.saturating_add(1)).map_err(|source| place.io("read", source))?;
        // It may have grown meanwhile.
        if bytes.len() > max { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
    }

    /// Opens a regular file for reading, without ever waiting for the other end of a pipe.
    pub(crate) fn open_file(&self, place: &Place) -> Result<Opened, WorkspaceError> {
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = self.dir(place)?.open_with(place.as_path(), &options).map_err(|source| place.io("read", source))?;
        let metadata = file.metadata().map_err(|source| place.io("read", source))?;
        if !metadata.is_file() {
            return Err(WorkspaceError::NotAFile { path: place.to_string(), what: kind_of(metadata.file_type()) });
        }
        Ok(Opened { file, bytes: metadata.len() })
    }

    /// Replaces or creates a file, parents included: whoever reads it sees the old or the new content, also after a
    /// power cut. `last_word` is asked before the file takes its place, and may still stop it.
    pub(crate) fn write_file(
        &self,
        place: &Place,
        content: &[u8],
        last_word: impl FnOnce() -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let root = self.dir(place)?;
        let target = followed(root, place)?;
        let failed = |source| place.io("written", source);
        let (parent, name) = target.split();
        if name.is_empty() {
            let what = "the workspace itself";
            return Err(WorkspaceError::NotAFile { path: place.to_string(), what }.into());
        }
        // Before anything is made.
        let taken = self.take_room(root, &target, content.len())?;
        let opened;
        let parent = match parent {
            None => root,
            Some(parent) => {
                opened = open_or_create(root, parent).map_err(failed)?;
                &opened
            }
        };
        let mode = match parent.symlink_metadata(name) {
            Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
            Ok(metadata) => {
                let what = kind_of(metadata.file_type());
                return Err(WorkspaceError::NotAFile { path: place.to_string(), what }.into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error).into()),
        };
        let temporary = Temporary::create(parent).map_err(failed)?;
        let mut file = &temporary.file;
        let written = file
            .write_all(content)
            .and_then(|()| mode.map_or(Ok(()), |mode| file.set_permissions(mode)))
            // A result that the journal keeps must be true after a power cut, too.
            .and_then(|()| file.sync_data());
        written.map_err(failed)?;
        last_word()?;
        temporary.rename_to(name).map_err(failed)?;
        if let Some(taken) = taken {
            taken.keep();
        }
        // A directory of cap-std is only a place to start from; to be synced it must be open for reading.
        parent.open(".").and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(())
    }

    /// Room for a file of `bytes` at `target`.
    fn take_room(&self, root: &Dir, target: &Place, bytes: usize) -> Result<Option<quota::Taken<'_>>, CallError> {
        let Some(quota) = &self.0.quota else { return Ok(None) };
        let before = root.symlink_metadata(target.as_path()).ok().map(|metadata| metadata.len());
        let above = target.split().0.into_iter().flat_map(Path::ancestors);
        let missing =
            above.take_while(|folder| !folder.as_os_str().is_empty() && root.symlink_metadata(folder).is_err());
        let folders = missing.count() as u64;
        quota.take(&self.0.root, before, bytes as u64, folders).map(Some)
    }

    /// Waits for its turn to read, change and write a file.
    pub(crate) fn editing(&self) -> MutexGuard<'_, ()> {
        // It guards no data, so that a panic elsewhere leaves nothing half done behind.
        self.0.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, place: &Place) -> Result<&Dir, WorkspaceError> {
        if let Some(dir) = self.0.dir.get() {
            return Ok(dir);
        }
        let opened = private_root(&self.0.root)
            .and_then(|()| Dir::open_ambient_dir(&self.0.root, ambient_authority()))
            .map_err(|source| place.io("reached", source))?;
        Ok(self.0.dir.get_or_init(|| opened))
    }
}

/// Where a write ends: the place itself, or what a symbolic link there points to, inside of the workspace.
fn followed(root: &Dir, place: &Place) -> Result<Place, WorkspaceError> {
    let is_link = root.symlink_metadata(place.as_path()).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        return Ok(place.clone());
    }
    let target = root.canonicalize(place.as_path()).map_err(|source| place.io("written", source))?;
    target.to_str().map_or_else(|| Err(WorkspaceError::NotAFile { path: place.to_string(), what: "" }), normal)
}

fn open_or_create(root: &Dir, path: &Path) -> io::Result<Dir> {
    match root.open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.create_dir_with(path, &private_folders())?;
            root.open_dir(path)
        }
        other => other,
    }
}

/// What a workspace makes is for its owner alone.
fn private_folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

fn private_root(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)
}

/// Reads until the end, or until there are `max` bytes.
pub(crate) fn read_at_most(file: File, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that is not in its place yet. Dropped before it is, it is removed.
struct Temporary<'a> {
    parent: &'a Dir,
    name: Option<String>,
    file: File,
}

impl<'a> Temporary<'a> {
    fn create(parent: &'a Dir) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("{TEMPORARY_PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match parent.open_with(&name, OpenOptions::new().write(true).create_new(true).mode(0o600)) {
                Ok(file) => return Ok(Self { parent, name: Some(name), file }),
                // Left behind by a crashed process with the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename_to(mut self, target: &str) -> io::Result<()> {
        let name = self.name.as_deref().expect("taken only below and when dropped");
        self.parent.rename(name, self.parent, target)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && let Err(error) = self.parent.remove_file(&name)
        {
            tracing::warn!(name, %error, "a half-written file stays behind");
        }
    }
}

impl Place {
    /// What an answer of the operating system means for this place.
    pub(crate) fn io(&self, verb: &'static str, source: io::Error) -> WorkspaceError {
        let path = limit::clip(&self.to_string(), limit::QUOTE_BYTES_MAX);
        match source.kind() {
            io::ErrorKind::NotFound => WorkspaceError::NotFound { path },
            // cap-std's own refusal, which no system call made.
            io::ErrorKind::PermissionDenied if source.raw_os_error().is_none() => WorkspaceError::Outside { path },
            _ if matches!(source.raw_os_error(), Some(code) if code == rustix::io::Errno::NXIO.raw_os_error()) => {
                WorkspaceError::NotAFile { path, what: "a socket" }
            }
            _ => WorkspaceError::Io { path, verb, source },
        }
    }
}
