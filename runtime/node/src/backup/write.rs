//! Writing an archive, from a copy of the journal and the folders beside it.
//!
//! Artifacts are written before the journal names them, and whoever removes any waits while a backup is taken: so all that the copy
//! names is there when it is looked for, and nothing but that copy has to be of one moment.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::{Copied, ReadError, SnapshotError, WriteError};
use tar::{Builder, EntryType, Header};

use super::{END, End, FORMAT, JournalPart, MANIFEST, Manifest, Member, at, is_plugin};

/// How much is read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// What a backup is made of.
pub(crate) struct Source<'a> {
    /// The data folder.
    pub(crate) data_dir: &'a Path,
    /// A copy of its journal, which nobody changes.
    pub(crate) journal: &'a Path,
    /// What the copy holds.
    pub(crate) copied: Copied,
    /// What the node calls itself.
    pub(crate) instance_id: String,
    /// The moment of the copy.
    pub(crate) taken_at: Timestamp,
}

/// Why no backup was taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// The journal cannot be copied.
    #[error("the journal cannot be copied")]
    Snapshot(#[from] SnapshotError),
    /// The journal has failed.
    #[error("the journal takes nothing any more")]
    Journal(#[from] WriteError),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    /// A file that belongs to it.
    #[error("{} cannot be backed up", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why: reading it, or writing the archive.
        #[source]
        source: io::Error,
    },
    /// The archive.
    #[error("the backup cannot be written")]
    Out(#[source] io::Error),
}

impl From<(PathBuf, io::Error)> for TakeError {
    fn from((path, source): (PathBuf, io::Error)) -> Self {
        Self::File { path, source }
    }
}

/// Writes an archive. Where this fails, what was written has no end, and is refused by whoever reads it.
pub(crate) fn write(source: &Source<'_>, to: impl Write) -> Result<End, TakeError> {
    let mut archive = Archive::new(to, source.taken_at);
    let mut journal = File::open(source.journal).map_err(at(source.journal))?;
    let (sha256, bytes) = digest_of(&mut journal).map_err(at(source.journal))?;
    let plugins = Plugins::found(&source.data_dir.join("plugins"))?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: source.instance_id.clone(),
        taken_at: source.taken_at,
        journal: JournalPart::of(source.copied, bytes, sha256),
        plugins: plugins.installed.iter().map(|(name, text)| (name.clone(), Digest::of(text))).collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("plain fields");
    archive.end.manifest = Digest::of(&text);
    archive.text(MANIFEST, &text)?;
    archive.file(&Member::Journal, &mut journal, bytes, sha256).map_err(at(source.journal))?;
    for (name, text) in &plugins.installed {
        archive.text(&Member::Plugin(name.clone()).name(), text)?;
    }
    for digest in &plugins.components {
        let path = source.data_dir.join("plugins").join(format!("{digest}.wasm"));
        if archive.named_after_digest(&Member::Component(*digest), &path, *digest)? {
            archive.end.components += 1;
        }
    }
    artifacts(source, &mut archive)?;
    archive.finish()
}

/// All artifacts that lie there of missions that the copy may know: what is not on the disk any more is not missed here. What a mission stored a moment later than that is in nobody's way: no record
/// names it, and it goes with its mission.
fn artifacts<W: Write>(source: &Source<'_>, archive: &mut Archive<W>) -> Result<(), TakeError> {
    let root = source.data_dir.join("artifacts");
    let mut missions: Vec<u64> = names(&root)?.iter().filter_map(|name| name.parse().ok()).collect();
    missions.retain(|no| *no <= source.copied.last_no.0);
    missions.sort_unstable();
    for no in missions.into_iter().map(MissionNo) {
        let folder = root.join(no.to_string());
        let mut digests: Vec<Digest> = names(&folder)?.iter().filter_map(|name| name.parse().ok()).collect();
        digests.sort_unstable();
        for digest in digests {
            let path = folder.join(digest.to_string());
            if archive.named_after_digest(&Member::Artifact(no, digest), &path, digest)? {
                archive.end.artifacts += 1;
            }
        }
    }
    Ok(())
}

/// What lies in the plugin store.
#[derive(Default)]
struct Plugins {
    /// The files that say what is installed: small, and read at once, for they may be replaced at any moment.
    installed: Vec<(String, Vec<u8>)>,
    components: Vec<Digest>,
}

impl Plugins {
    fn found(folder: &Path) -> Result<Self, TakeError> {
        let mut found = Self::default();
        for name in names(folder)? {
            if let Some(digest) = name.strip_suffix(".wasm").and_then(|stem| stem.parse().ok()) {
                found.components.push(digest);
            } else if is_plugin(&name) {
                let path = folder.join(&name);
                found.installed.push((name, std::fs::read(&path).map_err(at(&path))?));
            }
        }
        found.installed.sort_unstable();
        found.components.sort_unstable();
        Ok(found)
    }
}

/// The names in a folder; none where it is not there.
fn names(folder: &Path) -> Result<Vec<String>, TakeError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // What is no text is no name of ours.
        names.extend(entry.map_err(at(folder))?.file_name().into_string());
    }
    Ok(names)
}

/// The digest and the size of a file, which is then at its beginning again.
fn digest_of(file: &mut File) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                bytes += read as u64;
                hasher.update(&chunk[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.rewind()?;
    let digest: [u8; 32] = hasher.finalize().into();
    Ok((Digest::from(digest), bytes))
}

/// An archive that is being written.
struct Archive<W: Write> {
    tar: Builder<W>,
    at: u64,
    end: End,
    /// Over the list of members.
    list: Sha256,
}

impl<W: Write> Archive<W> {
    fn new(to: W, taken_at: Timestamp) -> Self {
        let (manifest, sha256) = (Digest::of(b""), Digest::of(b""));
        let end = End { members: 0, bytes: 0, artifacts: 0, components: 0, left_out: 0, manifest, sha256 };
        let at = u64::try_from(taken_at.as_second()).unwrap_or_default();
        Self { tar: Builder::new(to), at, end, list: Sha256::new() }
    }

    /// Puts a file under its digest into the archive. What is not what its name says is left out and told: one bad artifact must not
    /// keep everything else from being backed up. So is what went away since it was listed. `false` where it was left out.
    fn named_after_digest(&mut self, member: &Member, path: &Path, digest: Digest) -> Result<bool, TakeError> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(path = %path.display(), "it went away while the backup was taken, and is not in it");
                self.end.left_out += 1;
                return Ok(false);
            }
            file => file.map_err(at(path))?,
        };
        let (found, bytes) = digest_of(&mut file).map_err(at(path))?;
        if found != digest {
            tracing::error!(path = %path.display(), "it is damaged, and left out of the backup");
            self.end.left_out += 1;
            return Ok(false);
        }
        self.file(member, &mut file, bytes, digest).map_err(at(path))?;
        Ok(true)
    }

    fn text(&mut self, name: &str, text: &[u8]) -> Result<(), TakeError> {
        self.tar.append_data(&mut self.header(text.len() as u64), name, text).map_err(TakeError::Out)?;
        self.count(name, text.len() as u64, Digest::of(text));
        Ok(())
    }

    fn file(&mut self, member: &Member, file: &mut File, bytes: u64, digest: Digest) -> io::Result<()> {
        let name = member.name();
        let mut read = Counted { file: file.take(bytes), bytes: 0 };
        self.tar.append_data(&mut self.header(bytes), &name, &mut read)?;
        if read.bytes != bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.count(&name, bytes, digest);
        Ok(())
    }

    fn header(&self, bytes: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        header.set_size(bytes);
        header
    }

    fn count(&mut self, name: &str, bytes: u64, digest: Digest) {
        self.end.members += 1;
        self.end.bytes += bytes;
        self.list.update(super::read::line(name, bytes, digest));
    }

    fn finish(mut self) -> Result<End, TakeError> {
        self.end.sha256 = super::read::digest_of_list(self.list.clone(), &self.end);
        let text = serde_json::to_vec_pretty(&self.end).expect("plain fields");
        self.tar.append_data(&mut self.header(text.len() as u64), END, text.as_slice()).map_err(TakeError::Out)?;
        self.tar.into_inner().and_then(|mut to| to.flush()).map_err(TakeError::Out)?;
        Ok(self.end)
    }
}

/// Says how much was read.
struct Counted<R> {
    file: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
