//! Snapshots of folders in a shared store: what a workspace is made again from, wherever that is.
//!
//! Each folder has a place. In `log/` there its snapshots are numbered, and a number is given once: an object is created where there is none, so
//! that of two writers who both know the same newest number one gets the next, and the other learns that it is a writer no more. Whoever takes a
//! folder over takes a number first, with a claim, which is never removed: a writer that was thought dead finds the number behind its own last
//! one taken, whenever it comes back.
//!
//! The bytes lie in packs: files are cut into chunks, chunks that are new since the last snapshot go into packs, and a snapshot says where each
//! of its chunks lies. So what has not changed is not written again, and a small change is two small objects.
//!
//! What of that is gone or is not what was written is said, with where it should be, and never guessed at: whoever has the folder itself writes
//! all of it again behind what there was, and whoever has not waits, or begins with nothing once people say so.
//!
//! It does not know what a file is: names, modes and links are its user's, who hands them over as they are to be handed back.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;

use crate::objects::{Fault, Objects};

/// Below this they are.
const WORKSPACES: &str = "workspaces";

/// Most bytes of a chunk.
pub const CHUNK_BYTES: usize = 1 << 20;

/// At so many bytes a pack is written.
const PACK_BYTES: usize = 8 << 20;

/// Most bytes of what is in `log/`: names of some hundred thousand files.
const ENTRY_BYTES_MAX: u64 = 256 << 20;

/// Packs are written anew where they hold more than this beyond what is used of them, and more than once that.
const DEAD_BYTES_FREE: u64 = 16 << 20;

/// Or where there are so many of them.
const PACKS_MAX: usize = 256;

/// How often a list is read again because what it named went away meanwhile.
const READS: usize = 5;

/// What is in `log/` under a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    format: u32,
    /// Who wrote it: a process, by chance.
    writer: String,
    /// For people.
    node: String,
    /// The files, as whoever wrote it says them; none in a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<serde_json::Value>,
    /// Where each of its chunks lies.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    chunks: HashMap<String, Lies>,
    /// The snapshot that a claim takes over; none, where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
}

const FORMAT: u32 = 1;

/// Where a chunk lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lies {
    pack: String,
    at: u64,
    len: u64,
}

/// The snapshots of folders.
#[derive(Debug, Clone)]
pub struct Snapshots {
    objects: Objects,
    /// This process.
    writer: String,
    node: String,
}

/// What has gone wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store.
    #[error(transparent)]
    Store(#[from] Fault),
    /// Another writer has the folder.
    #[error("another node has taken the workspace over")]
    TakenOver,
    /// What is there cannot be what was written.
    #[error("what the shared store has of the workspace cannot be read: {0}")]
    Damaged(String),
    /// What is read or made here cannot be.
    #[error(transparent)]
    Here(#[from] std::io::Error),
}

/// A folder, as far as this process knows what the store has of it.
#[derive(Debug)]
pub struct Line {
    place: String,
    /// The newest number that is taken; 0 where none is.
    tip: u64,
    /// That is a claim of this process.
    is_claimed: bool,
    /// That was a snapshot of this process when it was looked.
    is_own: bool,
    /// The snapshot that holds, and its files.
    newest: Option<(u64, serde_json::Value)>,
    /// The number of the list that was read for it last, whether it could be or not.
    read: u64,
    /// Chunks that lie there, those of the newest snapshot and what was written since.
    chunks: HashMap<Digest, Lies>,
    packs_written: u64,
    /// What the store has in packs, in bytes, as far as it is known.
    pack_bytes: HashMap<String, u64>,
    /// Why the snapshot that holds cannot be read, where its list cannot be.
    damage: Option<String>,
    /// All of it is to be written again.
    begins_anew: bool,
}

/// Chunks on their way into packs.
struct Packing {
    buffer: Vec<u8>,
    inside: Vec<(Digest, u64, u64)>,
}

/// What a new snapshot is written through.
pub struct Draft<'a> {
    snapshots: &'a Snapshots,
    line: &'a mut Line,
    packing: Packing,
    used: HashSet<Digest>,
    /// All is written again.
    anew: bool,
}

impl Snapshots {
    /// Those of a store. `writer` is of this process and no other, `node` is for people.
    #[must_use]
    pub fn new(objects: Objects, writer: String, node: String) -> Self {
        Self { objects, writer, node }
    }

    /// Removes all that the store has of a folder to which nobody comes back: its snapshots, their packs, and who had it.
    ///
    /// # Errors
    /// [`SnapshotError`]: some may be left.
    pub async fn remove(&self, place: &str) -> Result<(), SnapshotError> {
        self.objects.remove_below(&format!("{WORKSPACES}/{place}")).await?;
        Ok(())
    }

    /// Finds out what the store has of a folder.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub async fn line(&self, place: &str) -> Result<Line, SnapshotError> {
        let mut gone_before = None;
        for _ in 0..READS {
            let (mut line, gone) = self.look(place).await?;
            let Some(key) = gone else { return self.weighed(line).await };
            // Its writer was quicker: what it has written since is what holds. Where nobody has, it is lost.
            let gone = Some((line.tip, key));
            if let Some((_, key)) = gone.as_ref().filter(|_| gone == gone_before) {
                line.damage = Some(format!("{}: it is not there", self.at(key)));
                return self.weighed(line).await;
            }
            gone_before = gone;
        }
        Err(SnapshotError::Store(Fault::Away("it changes faster than it can be read".to_owned())))
    }

    /// With what there is in packs: looked at last, for what a list speaks of is there before the list.
    async fn weighed(&self, mut line: Line) -> Result<Line, SnapshotError> {
        if line.tip > 0 {
            let found = self.objects.list(&packs(&line.place)).await?;
            // What is no object is there to be removed, and has nothing that could be read.
            let named = found.into_iter().filter_map(|found| {
                Some((found.key.rsplit('/').next()?.to_owned(), if found.is_object { found.bytes } else { 0 }))
            });
            line.pack_bytes = named.collect();
        }
        Ok(line)
    }

    /// Where an object is, for people.
    fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.objects.place().trim_end_matches('/'))
    }

    /// What the store has, and the key of a list that should be there and is not.
    async fn look(&self, place: &str) -> Result<(Line, Option<String>), SnapshotError> {
        let log = self.objects.list(&log(place)).await?;
        let tip = log.iter().filter_map(|found| number_of(&found.key)).max().unwrap_or(0);
        let mut line = Line {
            place: place.to_owned(),
            tip,
            is_claimed: false,
            is_own: false,
            newest: None,
            read: tip,
            chunks: HashMap::new(),
            packs_written: 0,
            pack_bytes: HashMap::new(),
            damage: None,
            begins_anew: false,
        };
        if tip == 0 {
            return Ok((line, None));
        }
        let (mut number, mut is_first) = (tip, true);
        let entry = loop {
            let entry = match self.entry(place, number).await {
                Ok(entry) => entry,
                Err(SnapshotError::Store(Fault::Missing)) => return Ok((line, Some(entry_key(place, number)))),
                Err(SnapshotError::Damaged(why)) => {
                    line.damage = Some(why);
                    return Ok((line, None));
                }
                Err(other) => return Err(other),
            };
            if is_first {
                let is_ours = entry.writer == self.writer;
                line.is_claimed = is_ours && entry.files.is_none();
                line.is_own = is_ours && entry.files.is_some();
            }
            match entry.of.filter(|_| is_first) {
                Some(of) => (number, line.read, is_first) = (of, of, false),
                None => break entry,
            }
        };
        if let Some(files) = entry.files {
            line.newest = Some((number, files));
            for (digest, lies) in entry.chunks {
                let Ok(known) = digest.parse() else {
                    line.damage = Some(format!("{}: `{digest}` is no digest", self.at(&entry_key(place, number))));
                    continue;
                };
                line.chunks.insert(known, lies);
            }
        }
        Ok((line, None))
    }

    async fn entry(&self, place: &str, number: u64) -> Result<Entry, SnapshotError> {
        let key = entry_key(place, number);
        let damaged = |why: &str| SnapshotError::Damaged(format!("{}: {why}", self.at(&key)));
        let bytes = self.objects.get(&key, ENTRY_BYTES_MAX).await.map_err(|fault| match fault {
            passing @ (Fault::Missing | Fault::Away(_)) => passing.into(),
            lasting => damaged(&lasting.to_string()),
        })?;
        let text = sealed(&bytes).ok_or_else(|| damaged("it is not what was written"))?;
        let entry: Entry = serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
        if entry.format != FORMAT {
            return Err(damaged(&format!("it has the format {}, and this version reads {FORMAT}", entry.format)));
        }
        Ok(entry)
    }

    /// Takes a folder over: from here on nobody else writes its next snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::TakenOver`]: somebody else was quicker; to be looked at again.
    pub async fn claim(&self, line: &mut Line) -> Result<(), SnapshotError> {
        // Once is enough, however often what it has cannot be read.
        if line.is_claimed {
            return Ok(());
        }
        let newest = line.newest.as_ref().map(|(number, _)| *number);
        // What cannot be read is not forgotten with it.
        let of = newest.or((line.damage.is_some() || line.begins_anew).then_some(line.read));
        let claim = Entry { files: None, chunks: HashMap::new(), of, ..self.empty() };
        self.take(line, &claim).await.map(drop)
    }

    /// Gives up what the store has of a folder: from here on it is an empty one, and this process writes its next snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::TakenOver`]: somebody else was quicker; to be looked at again.
    pub async fn give_up(&self, line: &mut Line) -> Result<(), SnapshotError> {
        // What is given up may have a writer still, who must find the number behind its own taken for ever.
        self.claim(line).await?;
        let nothing = serde_json::Value::Array(Vec::new());
        let entry = Entry { files: Some(nothing.clone()), ..self.empty() };
        let number = self.take(line, &entry).await?;
        line.begin_behind(number);
        (line.newest, line.is_own, line.begins_anew) = (Some((number, nothing)), true, false);
        Ok(())
    }

    fn empty(&self) -> Entry {
        Entry {
            format: FORMAT,
            writer: self.writer.clone(),
            node: self.node.clone(),
            files: None,
            chunks: HashMap::new(),
            of: None,
        }
    }

    /// Takes the next number with an entry, and says which that is.
    async fn take(&self, line: &mut Line, entry: &Entry) -> Result<u64, SnapshotError> {
        let bytes = seal(&serde_json::to_vec(entry).expect("plain data"));
        loop {
            let number = line.tip + 1;
            match self.objects.create(&entry_key(&line.place, number), bytes.clone()).await {
                Ok(()) => {
                    line.tip = number;
                    return Ok(number);
                }
                Err(Fault::Taken) => {
                    let there = self.entry(&line.place, number).await?;
                    if there.writer != self.writer {
                        return Err(SnapshotError::TakenOver);
                    }
                    // An attempt of one's own whose answer was lost: this very one, or an earlier one, behind which this one comes.
                    line.tip = number;
                    if there == *entry {
                        return Ok(number);
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Begins a snapshot: each chunk is put into it, then it is finished.
    #[must_use]
    pub fn draft<'a>(&'a self, line: &'a mut Line) -> Draft<'a> {
        let anew = line.wants_packing();
        Draft {
            snapshots: self,
            line,
            packing: Packing { buffer: Vec::new(), inside: Vec::new() },
            used: HashSet::new(),
            anew,
        }
    }

    /// Reads chunks, in whatever order they lie in; each once.
    ///
    /// # Errors
    /// [`SnapshotError`]; where a chunk is not what was written, before it is handed out.
    pub async fn read(
        &self,
        line: &Line,
        wanted: &HashSet<Digest>,
        mut each: impl FnMut(&Digest, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), SnapshotError> {
        let mut by_pack: HashMap<&str, Vec<(&Digest, &Lies)>> = HashMap::new();
        for digest in wanted {
            let lies = line.chunks.get(digest);
            let lies = lies.ok_or_else(|| SnapshotError::Damaged(format!("nothing says where {digest} lies")))?;
            by_pack.entry(&lies.pack).or_default().push((digest, lies));
        }
        for (pack, mut chunks) in by_pack {
            chunks.sort_by_key(|(_, lies)| lies.at);
            let first = chunks.first().map_or(0, |(_, lies)| lies.at);
            let end = chunks.iter().map(|(_, lies)| lies.at.saturating_add(lies.len)).max().unwrap_or(0);
            let len = end.saturating_sub(first);
            if len > (PACK_BYTES + CHUNK_BYTES) as u64 {
                let key = self.at(&pack_key(&line.place, pack));
                return Err(SnapshotError::Damaged(format!("{key}: it is said to be longer than packs are")));
            }
            let key = pack_key(&line.place, pack);
            let damaged = |why: &str| SnapshotError::Damaged(format!("{}: {why}", self.at(&key)));
            let bytes = self.objects.get_part(&key, first, len).await.map_err(|fault| match fault {
                Fault::Missing => damaged("it is not there, or shorter than it was"),
                passing @ Fault::Away(_) => passing.into(),
                lasting => damaged(&lasting.to_string()),
            })?;
            for (digest, lies) in chunks {
                let (at, len) = (usize::try_from(lies.at - first), usize::try_from(lies.len));
                let chunk = at.ok().zip(len.ok()).and_then(|(at, len)| bytes.get(at..at.checked_add(len)?));
                match chunk {
                    Some(chunk) if Digest::of(chunk) == *digest => each(digest, chunk)?,
                    _ => return Err(damaged("some of it is not what was written")),
                }
            }
        }
        Ok(())
    }
}

impl Line {
    /// The newest number that is taken; 0 where none is.
    #[must_use]
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// Whether the newest was a snapshot that this process wrote, when it was looked: nobody has taken the folder over since.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The files of the snapshot that holds.
    #[must_use]
    pub fn files(&self) -> Option<&serde_json::Value> {
        self.newest.as_ref().map(|(_, files)| files)
    }

    /// Why the list of the snapshot that holds cannot be read; nothing, where it can be, or where there is none.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// What the store has does not count: whoever has the folder itself, as it was under that number or behind it, writes all of it again. The
    /// numbers that were given are not given once more.
    pub fn begin_behind(&mut self, number: u64) {
        self.tip = self.tip.max(number);
        self.newest = None;
        self.chunks.clear();
        (self.damage, self.begins_anew) = (None, true);
    }

    /// Whether all of it is to be written again, be it nothing.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.begins_anew
    }

    /// Whether some of it is to be written again because it is gone, or because too much of the packs is of no use any more.
    fn wants_packing(&self) -> bool {
        let is_gone =
            |lies: &Lies| self.pack_bytes.get(&lies.pack).is_none_or(|len| lies.at.saturating_add(lies.len) > *len);
        if self.begins_anew || self.chunks.values().any(is_gone) {
            return true;
        }
        let all: u64 = self.pack_bytes.values().sum();
        let used: u64 = self.chunks.values().map(|lies| lies.len).sum();
        let dead = all.saturating_sub(used);
        self.pack_bytes.len() > PACKS_MAX || (dead > DEAD_BYTES_FREE && dead > used)
    }
}

impl Draft<'_> {
    /// Whether the store has a chunk, so that it need not be read to be put.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        !self.anew && self.line.chunks.contains_key(digest)
    }

    /// Whether all of it is written again, and is to be finished though nothing has changed.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        self.anew
    }

    /// A chunk that the store has is part of this snapshot.
    pub fn keep(&mut self, digest: Digest) {
        self.used.insert(digest);
    }

    /// Puts a chunk into it.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub async fn put(&mut self, chunk: &[u8]) -> Result<Digest, SnapshotError> {
        let digest = Digest::of(chunk);
        let is_new = self.used.insert(digest);
        if is_new && !self.has(&digest) {
            self.packing.inside.push((digest, self.packing.buffer.len() as u64, chunk.len() as u64));
            self.packing.buffer.extend_from_slice(chunk);
            if self.packing.buffer.len() >= PACK_BYTES {
                self.flush().await?;
            }
        }
        Ok(digest)
    }

    async fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.packing.inside.is_empty() {
            return Ok(());
        }
        self.line.packs_written += 1;
        // Of this process and this moment: no other writer ever has the same name for anything.
        let pack = format!("{}-{}-{}", self.snapshots.writer, self.line.tip, self.line.packs_written);
        let bytes = Bytes::from(std::mem::take(&mut self.packing.buffer));
        let len = bytes.len() as u64;
        self.snapshots.objects.put(&pack_key(&self.line.place, &pack), bytes).await?;
        for (digest, at, len) in self.packing.inside.drain(..) {
            self.line.chunks.insert(digest, Lies { pack: pack.clone(), at, len });
        }
        self.line.pack_bytes.insert(pack, len);
        Ok(())
    }

    /// Writes the snapshot. When this returns, it is the one that holds; what it has no use for is removed, as far as that can be done now.
    ///
    /// # Errors
    /// [`SnapshotError::TakenOver`]: it does not hold, and none of this process will. [`Fault::Away`]: it may hold or not.
    pub async fn finish(mut self, files: serde_json::Value) -> Result<(), SnapshotError> {
        self.flush().await?;
        let Self { snapshots, line, used, .. } = self;
        let chunks = used.iter().filter_map(|digest| Some((digest.to_string(), line.chunks.get(digest)?.clone())));
        let entry = Entry { files: Some(files), chunks: chunks.collect(), of: None, ..snapshots.empty() };
        let before = line.newest.as_ref().map(|(number, _)| *number);
        let earliest = line.tip + 1;
        let number = snapshots.take(line, &entry).await?;
        line.newest = entry.files.map(|files| (number, files));
        line.begins_anew = false;
        line.chunks.retain(|digest, _| used.contains(digest));
        let in_use: HashSet<&str> = line.chunks.values().map(|lies| lies.pack.as_str()).collect();
        let dead: Vec<String> =
            line.pack_bytes.keys().filter(|pack| !in_use.contains(pack.as_str())).cloned().collect();
        // Those of one's own whose answers were lost, and the one before; claims stay for ever.
        let older = before.into_iter().chain(earliest..number).map(|number| entry_key(&line.place, number));
        let gone = older.chain(dead.iter().map(|pack| pack_key(&line.place, pack)));
        if snapshots.objects.remove(gone).await.is_ok() {
            line.pack_bytes.retain(|pack, _| !dead.contains(pack));
        }
        Ok(())
    }
}

/// A list as it is written: with its digest behind it, for what is read of it is believed.
fn seal(text: &[u8]) -> Bytes {
    let seal = format!("\n{}\n", Digest::of(text));
    [text, seal.as_bytes()].concat().into()
}

/// The list, where its digest is that of what stands before it. Those that were written before there were any have none.
fn sealed(bytes: &[u8]) -> Option<&[u8]> {
    let Some(text) = bytes.strip_suffix(b"\n") else { return Some(bytes) };
    let at = text.iter().rposition(|&byte| byte == b'\n')?;
    let digest = std::str::from_utf8(&text[at + 1..]).ok()?;
    (digest == Digest::of(&text[..at]).to_string()).then_some(&text[..at])
}

fn log(place: &str) -> String {
    format!("{WORKSPACES}/{place}/log")
}

fn packs(place: &str) -> String {
    format!("{WORKSPACES}/{place}/packs")
}

fn entry_key(place: &str, number: u64) -> String {
    format!("{WORKSPACES}/{place}/log/{number:016}")
}

fn pack_key(place: &str, pack: &str) -> String {
    format!("{WORKSPACES}/{place}/packs/{pack}")
}

fn number_of(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
