//! Reading an archive: each member is held against its digest while it passes, and all of them against the list at the end.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use sortie_contract::digest::Digest;
use tar::{Entry, EntryType};

use super::{END, End, FORMAT, MANIFEST, Manifest, Member};

/// The most that the first and the last member may have.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// How much is read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// An archive that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    /// What it is.
    pub(crate) manifest: Manifest,
    /// What was in it.
    pub(crate) end: End,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else.
    #[error("this is no backup of a node: {0}")]
    Foreign(String),
    /// Of a later form.
    #[error("a newer Sortie ({version}) wrote this backup: use that one, or a later one")]
    Newer {
        /// Its version.
        version: String,
    },
    /// It ends too early.
    #[error("the backup was cut off {0}; take another copy of it")]
    Cut(String),
    /// A member is not what was written.
    #[error("`{0}` in the backup is not what was backed up: its checksum differs; take another copy of it")]
    Changed(String),
    /// What follows a member is no header of a member.
    #[error("the backup is damaged behind `{after}`; take another copy of it")]
    Damaged {
        /// The last member that is whole.
        after: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// Something that no checksum covers.
    #[error("the backup goes on behind its end, with what nobody wrote there; take another copy of it")]
    Behind,
    /// A member that cannot be in an archive.
    #[error("`{member}` has no place in a backup: {why}")]
    Strange {
        /// Its name.
        member: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Members are missing, or there are others.
    #[error("the backup has other members than its `{END}` says: something was taken out or put in")]
    Other,
    /// What is read cannot be written.
    #[error("`{member}` cannot be written")]
    Out {
        /// Which.
        member: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where members go that are read.
pub(super) trait Sink {
    /// What it goes into.
    type Out: Write;

    /// A member begins.
    fn begin(&mut self, member: &Member) -> io::Result<Self::Out>;

    /// It has passed, and is what was written.
    fn end(&mut self, out: Self::Out) -> io::Result<()>;
}

/// Whoever only wants to know.
struct Nowhere;

impl Sink for Nowhere {
    type Out = io::Sink;

    fn begin(&mut self, _: &Member) -> io::Result<io::Sink> {
        Ok(io::sink())
    }

    fn end(&mut self, _: io::Sink) -> io::Result<()> {
        Ok(())
    }
}

/// Holds an archive against its checksums. Nothing is written.
pub(crate) fn check(path: &Path) -> Result<Checked, ArchiveError> {
    read(path, &mut Nowhere)
}

/// Reads an archive into `sink`, which has nothing to be relied on before this returns.
pub(super) fn read(path: &Path, sink: &mut impl Sink) -> Result<Checked, ArchiveError> {
    let file = File::open(path).map_err(|source| ArchiveError::Io { path: path.to_owned(), source })?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(CHUNK_BYTES, file));
    let entries = archive.entries().map_err(|source| ArchiveError::Io { path: path.to_owned(), source })?;
    let mut reading = Reading {
        manifest: None,
        digest: Digest::of(b""),
        last: String::new(),
        end: None,
        list: Sha256::new(),
        members: 0,
        bytes: 0,
    };
    for entry in entries {
        let entry = entry.map_err(|source| reading.broken(source))?;
        reading.take(entry, sink)?;
    }
    let checked = reading.finish()?;
    nothing_follows(archive.into_inner())
        .map_err(|source| ArchiveError::Io { path: path.to_owned(), source })?
        .then_some(checked)
        .ok_or(ArchiveError::Behind)
}

/// Whether there is nothing but the zeros of a last block behind the end of an archive.
fn nothing_follows(mut rest: impl Read) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = rest.read(&mut chunk)?;
        if read == 0 {
            return Ok(true);
        }
        if chunk[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
}

/// What each member adds to the list.
pub(super) fn line(name: &str, bytes: u64, digest: Digest) -> String {
    format!("{digest} {bytes} {name}\n")
}

/// The list of members, and what is said of them in all.
pub(super) fn digest_of_list(mut list: Sha256, end: &End) -> Digest {
    let End { members, bytes, artifacts, components, left_out, manifest, sha256: _ } = end;
    list.update(format!("{manifest} {members} {bytes} {artifacts} {components} {left_out}\n"));
    let digest: [u8; 32] = list.finalize().into();
    Digest::from(digest)
}

/// How far an archive was read.
struct Reading {
    manifest: Option<Manifest>,
    /// Of the manifest.
    digest: Digest,
    /// The last member that is whole.
    last: String,
    end: Option<End>,
    list: Sha256,
    members: u64,
    bytes: u64,
}

impl Reading {
    fn take<R: Read>(&mut self, mut entry: Entry<'_, R>, sink: &mut impl Sink) -> Result<(), ArchiveError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let strange = |why| ArchiveError::Strange { member: sortie_contract::limit::clip(&name, 120).to_owned(), why };
        if self.end.is_some() {
            return Err(strange("it follows the end"));
        }
        if entry.header().entry_type() != EntryType::Regular {
            return Err(strange("it is no file"));
        }
        let bytes = entry.size();
        let Some(manifest) = &self.manifest else {
            if name != MANIFEST {
                return Err(ArchiveError::Foreign(format!("it does not begin with `{MANIFEST}`")));
            }
            let (text, digest) = small(&mut entry, &name)?;
            self.manifest = Some(manifest_of(&text)?);
            self.digest = digest;
            self.count(name, bytes, digest);
            return Ok(());
        };
        if name == END {
            let (text, _) = small(&mut entry, &name)?;
            self.end = Some(json(&text).map_err(|_| ArchiveError::Changed(name))?);
            return Ok(());
        }
        let member = Member::parse(&name).ok_or_else(|| strange("there is no such member"))?;
        let expected = member.digest(manifest).ok_or_else(|| strange("the manifest does not know it"))?;
        let written = |source| ArchiveError::Out { member: name.clone(), source };
        let mut out = sink.begin(&member).map_err(written)?;
        let digest = pass(&mut entry, &name, &mut out)?;
        if digest != expected {
            return Err(ArchiveError::Changed(name));
        }
        sink.end(out).map_err(written)?;
        self.count(name, bytes, digest);
        Ok(())
    }

    fn count(&mut self, name: String, bytes: u64, digest: Digest) {
        self.list.update(line(&name, bytes, digest));
        self.members += 1;
        self.bytes += bytes;
        self.last = name;
    }

    fn finish(self) -> Result<Checked, ArchiveError> {
        let Some(manifest) = self.manifest else {
            return Err(ArchiveError::Foreign("it is empty".to_owned()));
        };
        let end = self.end.ok_or_else(|| ArchiveError::Cut(format!("behind `{}`", self.last)))?;
        if end.manifest != self.digest {
            return Err(ArchiveError::Changed(MANIFEST.to_owned()));
        }
        let counted = (end.members, end.bytes) == (self.members, self.bytes);
        if !counted || end.sha256 != digest_of_list(self.list, &end) {
            return Err(ArchiveError::Other);
        }
        Ok(Checked { manifest, end })
    }

    /// What a header that cannot be read means.
    fn broken(&self, source: io::Error) -> ArchiveError {
        if self.manifest.is_none() {
            return ArchiveError::Foreign(format!("it is no tar file ({source})"));
        }
        if source.kind() == io::ErrorKind::UnexpectedEof || source.to_string().contains("entire block") {
            return ArchiveError::Cut(format!("behind `{}`", self.last));
        }
        ArchiveError::Damaged { after: self.last.clone(), source }
    }
}

/// Passes a member on, and says what its digest is.
fn pass<R: Read>(entry: &mut Entry<'_, R>, name: &str, out: &mut impl Write) -> Result<Digest, ArchiveError> {
    let (mut hasher, mut passed, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = match entry.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|source| ArchiveError::Damaged { after: name.to_owned(), source })?,
        };
        if read == 0 {
            break;
        }
        passed += read as u64;
        hasher.update(&chunk[..read]);
        out.write_all(&chunk[..read]).map_err(|source| ArchiveError::Out { member: name.to_owned(), source })?;
    }
    if passed != entry.size() {
        return Err(ArchiveError::Cut(format!("in the middle of `{name}`")));
    }
    let digest: [u8; 32] = hasher.finalize().into();
    Ok(Digest::from(digest))
}

/// A member that is held in memory.
fn small<R: Read>(entry: &mut Entry<'_, R>, name: &str) -> Result<(Vec<u8>, Digest), ArchiveError> {
    if entry.size() > TEXT_BYTES_MAX {
        return Err(ArchiveError::Strange { member: name.to_owned(), why: "it is too large" });
    }
    let mut text = Vec::new();
    let digest = pass(entry, name, &mut text)?;
    Ok((text, digest))
}

/// The manifest. Its form is looked at first: what a later one has in it nobody here knows.
fn manifest_of(text: &[u8]) -> Result<Manifest, ArchiveError> {
    let whole: serde_json::Value = json(text)?;
    match whole["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => Err(ArchiveError::Newer {
            version: whole["version"].as_str().unwrap_or("of an unknown version").to_owned(),
        }),
        _ => json(text),
    }
}

fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(text)
        .map_err(|error| ArchiveError::Foreign(format!("its `{MANIFEST}` cannot be read: {error}")))
}
