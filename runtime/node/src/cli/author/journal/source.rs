//! Where recorded missions lie: on a node, in the data directory of one that does not run, in a backup.
//!
//! Nothing is changed in any of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::FutureExt as _;
use sortie_contract::digest::Digest;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::ToolInfo;
use sortie_contract::{MissionNo, Timestamp, limit};
use sortie_engine::rehearsal::{Audience, Enough, Step};
use sortie_journal::{Claim, Journal, claim, is_in_use, peek};
use sortie_sandbox::BoxFuture;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::super::super::client::{Client, with_causes};
use super::super::super::replay::{NEVER, artifact_of, records_of, tools_of};
use super::super::super::text::Progress;
use super::super::super::{Failure, named};
use crate::{backup, bounded};

/// The journal of a data directory.
const JOURNAL: &str = "journal.redb";

/// What stands in its place where the missions are in a database.
const IDENTITY: &str = crate::store::IDENTITY;

/// What a node holds of it, for as long as it runs.
const MARK: &str = "journal.redb.mark";

/// Missions that are asked for at once: as many as a node answers with.
const PAGE: usize = 500;

/// A mission to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    /// In a journal; nodes know it by its id.
    no: Option<MissionNo>,
}

/// Which missions there are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Those of the plugin, or of nobody knows which, the newest first.
    pub(super) missions: Vec<Named>,
    /// How many there are of others.
    pub(super) others: usize,
    /// There are older ones.
    pub(super) more: bool,
}

impl Listing {
    /// Of those that somebody named.
    pub(super) fn of(ids: Vec<String>) -> Self {
        Self { missions: ids.into_iter().map(|id| Named { id, no: None }).collect(), ..Self::default() }
    }
}

/// Where they lie.
pub(super) enum Source {
    Node(Client),
    Folder(Box<Folder>),
}

/// A journal that nobody writes, and the artifacts beside it.
pub(super) struct Folder {
    journal: Journal,
    artifacts: Artifacts,
    /// The numbers of missions that others have dispatched, once one is asked for.
    children: OnceCell<BTreeMap<String, MissionNo>>,
    /// The moment that a backup shows.
    moment: Option<Timestamp>,
    /// Keeps a node from starting meanwhile.
    _claim: Option<Claim>,
}

/// Where artifacts lie.
enum Artifacts {
    /// In a data directory.
    There(PathBuf),
    /// In a backup, of which they are taken once one is asked for.
    Packed { archive: PathBuf, folder: TempDir, unpacked: OnceCell<bool> },
}

impl Source {
    /// What these words mean: missions of a node, or one place where there are missions.
    pub(super) async fn open(
        words: Vec<String>,
        client: impl FnOnce() -> Result<Client, Failure>,
    ) -> Result<(Option<Vec<String>>, Self), Failure> {
        if let [place] = words.as_slice()
            && let Some(folder) = at(Path::new(place)).await?
        {
            return Ok((None, Self::Folder(Box::new(folder))));
        }
        for word in &words {
            if word.contains('/') {
                return Err(Failure::unusable(format!(
                    "{word} is no mission, and neither a folder nor a file that is there"
                )));
            }
            named(word).map_err(Failure::unusable)?;
        }
        Ok(((!words.is_empty()).then_some(words), Self::Node(client()?)))
    }

    /// The moment that it shows, where that is not now.
    pub(super) fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::Node(_) => None,
            Self::Folder(folder) => folder.moment,
        }
    }

    /// The newest missions of a plugin that were accepted since then.
    pub(super) async fn list(&self, plugin: &str, from: Timestamp, limit: usize) -> Result<Listing, Failure> {
        let _looking = Progress::of("missions are looked for");
        match self {
            Self::Node(client) => of_node(client, plugin, from, limit).await,
            Self::Folder(folder) => {
                let (journal, plugin) = (folder.journal.clone(), plugin.to_owned());
                let listed = tokio::task::spawn_blocking(move || of_journal(&journal, &plugin, from, limit)).await?;
                Ok(listed?)
            }
        }
    }

    /// The tools of the node, for records that do not say what tools were said to be.
    pub(super) async fn tools(&self) -> Result<Vec<ToolInfo>, Failure> {
        match self {
            Self::Node(client) => tools_of(client).await,
            Self::Folder(_) => Ok(Vec::new()),
        }
    }

    /// The records of a mission, or why they cannot be read.
    pub(super) async fn records(&self, mission: &Named) -> Result<Vec<Stamped>, String> {
        match (self, mission.no) {
            (Self::Node(client), _) => {
                let read = records_of(&mission.id, client).await;
                read.map_err(|failure| with_causes(failure.error.as_ref()))
            }
            (Self::Folder(folder), Some(no)) => {
                let journal = folder.journal.clone();
                let read = tokio::task::spawn_blocking(move || journal.read(no)).await;
                read.map_err(|error| error.to_string())?.map_err(|error| with_causes(&error))
            }
            (Self::Folder(_), None) => Err("it has no place in the journal".to_owned()),
        }
    }

    async fn artifact(&self, mission: &Named, name: &str, sha256: Option<Digest>) -> Option<Vec<u8>> {
        match self {
            Self::Node(client) => artifact_of(&mission.id, name, client).await,
            Self::Folder(folder) => {
                let lies = folder.artifacts.folder().await?;
                let no = match mission.no {
                    Some(no) => no,
                    None => folder.number_of_child(&mission.id).await?,
                };
                let path = lies.join(no.to_string()).join(sha256?.to_string());
                let read = move || bounded::bytes(bounded::file(&path)?, limit::ARTIFACT_BYTES_MAX as u64);
                tokio::task::spawn_blocking(read).await.ok()?.ok()
            }
        }
    }
}

impl Folder {
    /// The number of a mission that another has dispatched: what it left lies there by that.
    async fn number_of_child(&self, id: &str) -> Option<MissionNo> {
        let look = async || {
            let journal = self.journal.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let mut numbers = BTreeMap::new();
                let seen = journal.scan_all(|no, head| {
                    if let Some(head) = head.filter(|head| head.mission_id.is_of_a_child()) {
                        numbers.insert(head.mission_id.to_string(), no);
                    }
                });
                seen.map(|()| numbers).unwrap_or_default()
            });
            looked.await.unwrap_or_default()
        };
        self.children.get_or_init(look).await.get(id).copied()
    }
}

impl Artifacts {
    async fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::There(folder) => Some(folder.clone()),
            Self::Packed { archive, folder, unpacked } => {
                let unpack = async || {
                    let (archive, to) = (archive.clone(), folder.path().to_owned());
                    tokio::task::spawn_blocking(move || backup::take_artifacts(&archive, &to))
                        .await
                        .is_ok_and(|it| it.is_ok())
                };
                let there = *unpacked.get_or_init(unpack).await;
                there.then(|| folder.path().join("artifacts"))
            }
        }
    }
}

/// The journal of a data directory or a backup; none where there is nothing of that name.
async fn at(place: &Path) -> Result<Option<Folder>, Failure> {
    if place.is_dir() {
        return of_folder(place.to_owned()).await.map(Some);
    }
    if !place.exists() {
        return Ok(None);
    }
    // It is read more than once.
    if let Err(error) = bounded::file(place) {
        return Err(Failure::unusable(format!("{}: {error}", place.display())));
    }
    let (archive, folder) = (place.to_owned(), tempfile::tempdir()?);
    let to = folder.path().to_owned();
    let taken = tokio::task::spawn_blocking({
        let archive = archive.clone();
        move || backup::take_journal(&archive, &to)
    });
    let taken_at = Progress::during("reading the backup", taken)
        .await?
        .map_err(|error| Failure::unusable(format!("{}: {}", place.display(), with_causes(&error))))?;
    let journal = peeked(folder.path().join(JOURNAL)).await?;
    let artifacts = Artifacts::Packed { archive, folder, unpacked: OnceCell::new() };
    Ok(Some(Folder { journal, artifacts, children: OnceCell::new(), moment: Some(taken_at), _claim: None }))
}

async fn of_folder(folder: PathBuf) -> Result<Folder, Failure> {
    let path = folder.join(JOURNAL);
    let place = folder.display();
    // What the node has in a database is not read past it: it may be another node's by now.
    if !path.exists() && folder.join(IDENTITY).exists() {
        return Err(Failure::unusable(format!(
            "the missions of the node of {place} are in the database that its `[node] store` names, and not in this folder: ask the node (`--journal` \
             without a directory, or with the missions' ids), or check a backup of it (`sortie backup FILE`)"
        )));
    }
    if !path.is_file() {
        return Err(Failure::unusable(format!("{place} is no node's data directory: there is no {JOURNAL} in it")));
    }
    let in_use = || {
        Failure::from(format!(
            "a node works on {place}: ask it (`--journal` without a directory, or with the missions' ids), or stop it first"
        ))
    };
    if is_in_use(&path)? {
        return Err(in_use());
    }
    // A mark is not made here: it would be this user's, and the node's could not open it.
    let claim = match folder.join(MARK).exists().then(|| claim(&path)) {
        // One began since it was asked.
        Some(Ok(None)) => return Err(in_use()),
        Some(Ok(Some(claim))) => Some(claim),
        // Of a folder that takes no file, as a copy may be, nobody can start a node either.
        None | Some(Err(_)) => None,
    };
    let journal = peeked(path).await?;
    let artifacts = Artifacts::There(folder.join("artifacts"));
    Ok(Folder { journal, artifacts, children: OnceCell::new(), moment: None, _claim: claim })
}

async fn peeked(path: PathBuf) -> Result<Journal, Failure> {
    let opened = tokio::task::spawn_blocking(move || peek(&path));
    Ok(Progress::during("opening the journal", opened).await??.0)
}

/// Of a node, page by page, as far back as there are enough.
async fn of_node(client: &Client, plugin: &str, from: Timestamp, limit: usize) -> Result<Listing, Failure> {
    let mut listing = Listing::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("created_after", from.to_string()), ("limit", PAGE.to_string())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = client.page(&["v1", "missions"], &query).await?;
        for item in page["items"].as_array().into_iter().flatten() {
            let Some(id) = item["mission_id"].as_str() else { continue };
            // An older Sortie did not write down which: its record says it.
            if item["plugin"]["name"].as_str().is_some_and(|name| name != plugin) {
                listing.others += 1;
            } else if listing.missions.len() < limit {
                listing.missions.push(Named { id: id.to_owned(), no: None });
            } else {
                listing.more = true;
                return Ok(listing);
            }
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(listing);
        }
    }
}

/// The same of a journal. Blocks.
fn of_journal(
    journal: &Journal,
    plugin: &str,
    from: Timestamp,
    limit: usize,
) -> Result<Listing, sortie_journal::ReadError> {
    // By number: a later mission has a greater one.
    let (mut found, mut headless, mut others) = (BTreeMap::new(), Vec::new(), 0);
    journal.scan_all(|no, head| match head {
        None => headless.push(no),
        Some(head) if head.accepted_at < from => {}
        Some(head) => match head.overview.map(|overview| overview.plugin.name) {
            Some(name) if name != plugin => others += 1,
            _ => drop(found.insert(no, head.mission_id.to_string())),
        },
    })?;
    for no in headless {
        // What its first record says, where that can be read.
        let first = journal.read_some(no, 0, 0).ok().and_then(|records| records.into_iter().next());
        match first.map(|stamped| (stamped.at, stamped.record)) {
            Some((at, _)) if at < from => {}
            Some((_, Record::Accepted(accepted))) if accepted.plugin.name != plugin => others += 1,
            Some((_, Record::Accepted(accepted))) => drop(found.insert(no, id_in(&accepted.envelope))),
            _ => drop(found.insert(no, format!("mission {no}"))),
        }
    }
    let more = found.len() > limit;
    let newest = found.into_iter().rev().take(limit);
    Ok(Listing { missions: newest.map(|(no, id)| Named { id, no: Some(no) }).collect(), others, more })
}

fn id_in(envelope: &str) -> String {
    let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap_or_default();
    envelope["mission_id"].as_str().unwrap_or_default().to_owned()
}

/// Looks on and says nothing: a difference is told at the end.
pub(super) fn audience(source: &Arc<Source>, mission: &Named) -> Arc<dyn Audience> {
    Arc::new(Quiet { source: Arc::clone(source), mission: mission.clone() })
}

struct Quiet {
    source: Arc<Source>,
    mission: Named,
}

impl Audience for Quiet {
    fn sees(&self, _: &Step<'_>) -> Result<(), Enough> {
        Ok(())
    }

    fn artifact(&self, name: String, sha256: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let (source, mission) = (Arc::clone(&self.source), self.mission.clone());
        async move { source.artifact(&mission, &name, sha256).await }.boxed()
    }

    fn artifact_of(
        &self,
        mission: String,
        name: String,
        sha256: Option<Digest>,
    ) -> BoxFuture<'static, Option<Vec<u8>>> {
        let (source, mission) = (Arc::clone(&self.source), Named { id: mission, no: None });
        async move { source.artifact(&mission, &name, sha256).await }.boxed()
    }

    fn patience(&self) -> BoxFuture<'static, ()> {
        tokio::time::sleep(NEVER).boxed()
    }
}
