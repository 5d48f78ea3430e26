//! Who reads and who sends: one task takes up what happened for all channels, and each channel has one that tells it.
//!
//! Nothing here is waited for by a mission. What a task holds is bounded; one that panics is told and begun again; a disk that takes no
//! ledger means that a crash would tell again what was told since.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use parking_lot::Mutex;
use sortie_ambient::Surroundings;
use sortie_contract::LaneId;
use sortie_egress::NamedSecrets;
use tokio::sync::{Notify, watch};

use crate::config::{self, ConfigError, Meant, NotifyConfig};
use crate::ledger::{Failed, Groups, Ledger};
use crate::link::{Grant, Key, NotALink};
use crate::message::{Message, Telling};
use crate::news::{Item, Kind, News, Wanted};
use crate::store;

mod view;

pub use view::View;

/// How long what is recorded is gathered before it is read: a busy node commits a thousand times in that time.
const GATHER: Duration = Duration::from_millis(500);

/// How often it is looked whether something happened that is no record of a mission, and what the clock says.
const ROUND: Duration = Duration::from_secs(15);

/// How often a place is put down that moved over nothing to be told.
const PUT_DOWN: Duration = Duration::from_secs(60);

/// How long it is waited behind what could not be read, and behind a task that broke off.
const TROUBLE: Duration = Duration::from_secs(30);

/// How far back the times of schedules are looked through anew: they are stamped before they are written.
const OVERLAP: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Most of them that are remembered.
const SEEN_MAX: usize = 2_000;

/// What happened on a node, as it is read of its journal. All but [`Source::follow`] block.
pub trait Source: Send + Sync + 'static {
    /// The position up to which there is something, as it grows.
    fn follow(&self) -> watch::Receiver<u64>;

    /// What happened to missions after a position: some of it.
    ///
    /// # Errors
    /// [`SourceError`], where nothing can be read now.
    fn after(&self, position: u64) -> Result<Step, SourceError>;

    /// What of schedules has been recorded as missed since then: each with when it was recorded, its schedule and its number there.
    ///
    /// # Errors
    /// [`SourceError`]
    fn missed(&self, since: Timestamp) -> Result<Vec<(Timestamp, String, u64, Item)>, SourceError>;

    /// Changes where [`Source::missed`] may say something new.
    fn missed_mark(&self) -> u64;

    /// The last night in a line, and who needs people.
    ///
    /// # Errors
    /// [`SourceError`]
    fn night(&self) -> Result<(String, Vec<Item>), SourceError>;

    /// When the clock of the node's zone next shows that time, after a moment.
    fn next(&self, time: Time, after: Timestamp) -> Timestamp;

    /// A moment by the clock of the node's zone.
    fn local(&self, at: Timestamp) -> String;
}

/// What was read of a node.
#[derive(Debug, Default)]
pub struct Step {
    /// Up to here.
    pub position: u64,
    /// Whether there was more at that moment.
    pub more: bool,
    /// What is worth something, with its position and its lane.
    pub news: Vec<(u64, LaneId, News)>,
}

/// Why nothing can be read.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// What a notifier is made with.
pub struct Setup<'a> {
    /// `[[notify]]`
    pub channels: &'a [NotifyConfig],
    /// The node.
    pub node: String,
    /// Where it is asked for pages.
    pub public_url: Option<String>,
    /// Where ledgers are.
    pub folder: PathBuf,
    /// What headers may name.
    pub secrets: Arc<NamedSecrets>,
    /// What links are signed with.
    pub key: Key,
}

/// The channels of a node.
pub struct Notifier {
    channels: Vec<Arc<Channel>>,
    shared: Arc<Shared>,
}

/// What all channels work with.
struct Shared {
    node: String,
    public_url: Option<String>,
    folder: PathBuf,
    secrets: Arc<NamedSecrets>,
    key: Key,
    ambient: Surroundings,
}

struct Channel {
    meant: Meant,
    /// Nothing, before it is known where the node's records end.
    ledger: Mutex<Option<Ledger>>,
    /// Something is owed that was not.
    news: Notify,
    /// Who writes its file.
    saving: tokio::sync::Mutex<Saved>,
}

/// What was last put down of a channel.
#[derive(Default)]
struct Saved {
    /// The position.
    position: u64,
    /// When, by the steady clock.
    at: Duration,
    /// Whether that it cannot be was told.
    is_troubled: bool,
}

/// Why a test message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// There is no such channel.
    #[error("there is no channel of that name")]
    Unknown,
    /// It did not go through.
    #[error("{0}")]
    Failed(String),
}

impl Notifier {
    /// The channels of a configuration. Nothing is read or sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] for what cannot be meant.
    pub fn new(setup: Setup<'_>, ambient: Surroundings) -> Result<Self, ConfigError> {
        let Setup { channels, node, public_url, folder, secrets, key } = setup;
        let channels = config::all(channels, &secrets, public_url.is_some())?;
        let channel = |meant| {
            Arc::new(Channel { meant, ledger: Mutex::default(), news: Notify::new(), saving: Default::default() })
        };
        let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        let shared = Shared { node, public_url, folder, secrets, key, ambient };
        Ok(Self { channels: channels.into_iter().map(channel).collect(), shared: Arc::new(shared) })
    }

    /// Whether there is any channel.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }

    /// How the channels are.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.channels.iter().map(|channel| channel.view()).collect()
    }

    /// What a link lets somebody decide: only while its channel has links.
    ///
    /// # Errors
    /// [`NotALink`]
    pub fn grant(&self, link: &str) -> Result<Grant, NotALink> {
        let grant = self.shared.key.read(link, self.shared.ambient.wall())?;
        let stands = self.channels.iter().any(|channel| channel.meant.links && channel.meant.name == grant.channel);
        if stands { Ok(grant) } else { Err(NotALink::Over) }
    }

    /// Sends a message that says nothing, now, whatever is owed.
    ///
    /// # Errors
    /// [`TestError`]
    pub async fn test(&self, name: &str) -> Result<(), TestError> {
        let channel = self.channels.iter().find(|channel| channel.meant.name == name).ok_or(TestError::Unknown)?;
        let local = |at: Timestamp| at.to_string();
        let now = self.shared.ambient.wall();
        let message = self.shared.telling(channel, now, &local, &|_, _| None).of_test(name);
        self.shared.attempt(channel, &message).await.map_err(|failed| TestError::Failed(failed.why))
    }

    /// Tells what happens from now on, or since the place that was put down; but nothing to anybody before `may_begin` resolves. Never ends
    /// by itself.
    pub async fn run(self: Arc<Self>, source: Arc<dyn Source>, may_begin: impl Future<Output = ()> + Send) {
        self.take_up(&source).await;
        may_begin.await;
        let mut tasks = Vec::with_capacity(self.channels.len());
        for channel in &self.channels {
            let (shared, channel, source) = (Arc::clone(&self.shared), Arc::clone(channel), Arc::clone(&source));
            let again = move || tell(Arc::clone(&shared), Arc::clone(&channel), Arc::clone(&source));
            tasks.push(self.shared.ambient.spawn(kept(Arc::clone(&self.shared.ambient), again)));
        }
        let (ambient, this) = (Arc::clone(&self.shared.ambient), Arc::clone(&self));
        kept(ambient, move || read(Arc::clone(&this), Arc::clone(&source))).await;
        drop(tasks);
    }

    /// Where each channel left off.
    async fn take_up(&self, source: &Arc<dyn Source>) {
        let (end, now) = (*source.follow().borrow(), self.shared.ambient.wall());
        for channel in &self.channels {
            let (folder, name) = (self.shared.folder.clone(), channel.meant.name.clone());
            let found = self.shared.ambient.unblock(move || store::last_of(&folder, &name)).await;
            let channel_name = &channel.meant.name;
            let ledger = match found {
                Ok(Ok(Some(ledger))) => ledger.resumed(),
                Ok(Ok(None)) => Ledger::new(end, now),
                Ok(Err(error)) => {
                    tracing::error!(
                        channel = channel_name,
                        error = &error as &dyn std::error::Error,
                        "what was put down of a channel cannot be read: it begins anew, with what happens from now on"
                    );
                    Ledger::new(end, now)
                }
                // What runs tasks is on its way out.
                Err(_) => return,
            };
            *channel.ledger.lock() = Some(ledger);
            self.shared.save(channel, true).await;
        }
    }
}

/// Has a task go on for ever: one that broke off is told, and begun again.
async fn kept<F: Future<Output = ()> + Send + 'static>(ambient: Surroundings, begin: impl Fn() -> F + Send) {
    loop {
        let outcome = ambient.spawn(begin()).await;
        if matches!(outcome, Err(sortie_ambient::Gone::Stopped)) {
            return;
        }
        tracing::error!(?outcome, "a task that tells people has broken off; it begins again");
        ambient.sleep(TROUBLE).await;
    }
}

/// What of a mark has been looked at. What it counts may be on its way to the disk while it is counted: it is looked twice.
#[derive(Default)]
struct Mark {
    at: Option<u64>,
    looks: u32,
}

impl Mark {
    fn is_seen(&self, now: u64) -> bool {
        self.at == Some(now) && self.looks >= 2
    }

    fn saw(&mut self, now: u64) {
        self.looks = if self.at == Some(now) { self.looks + 1 } else { 1 };
        self.at = Some(now);
    }
}

/// Takes up what happens, for all channels.
async fn read(notifier: Arc<Notifier>, source: Arc<dyn Source>) {
    let (shared, mut follow, mut mark) = (&notifier.shared, source.follow(), Mark::default());
    loop {
        let end = *follow.borrow_and_update();
        let outcome = notifier.read_to(&source, end).await;
        let missed = notifier.read_missed(&source, &mut mark).await;
        for error in [outcome.err(), missed.err()].into_iter().flatten() {
            tracing::error!(
                error = &*error as &(dyn std::error::Error + 'static),
                "what happened cannot be read, and nobody is told yet"
            );
            shared.ambient.sleep(TROUBLE).await;
        }
        shared.ambient.sleep(GATHER).await;
        // A node that stops needs nobody told any more; its next start goes on here.
        if let Some(Err(_)) = shared.ambient.timeout(ROUND, follow.changed()).await {
            std::future::pending::<()>().await;
        }
    }
}

impl Notifier {
    async fn read_to(&self, source: &Arc<dyn Source>, end: u64) -> Result<(), SourceError> {
        for channel in &self.channels {
            if let Some(ledger) = channel.ledger.lock().as_mut()
                && ledger.position > end
            {
                tracing::warn!(
                    channel = channel.meant.name,
                    "the journal ends before what a channel was told of: an older copy was put back; it goes on from its end"
                );
                ledger.position = end;
            }
        }
        loop {
            let places = self.channels.iter().filter_map(|channel| Some(channel.ledger.lock().as_ref()?.position));
            let Some(first) = places.min().filter(|first| *first < end) else { return Ok(()) };
            let from = Arc::clone(source);
            let step = self.shared.ambient.unblock(move || from.after(first)).await??;
            let to = step.position.max(first);
            for channel in &self.channels {
                let changed = channel.take(&step.news, to);
                if changed {
                    channel.news.notify_one();
                }
                self.shared.save(channel, changed).await;
            }
            if !step.more {
                return Ok(());
            }
        }
    }

    /// Takes up the times of schedules that nobody saw to, where there may be new ones. All channels are told of those, or had no wish to
    /// be: none begins further back later, whatever it wishes then.
    async fn read_missed(&self, source: &Arc<dyn Source>, mark: &mut Mark) -> Result<(), SourceError> {
        let (now, looked_at) = (source.missed_mark(), self.shared.ambient.wall());
        if !mark.is_seen(now) {
            self.take_missed(source).await?;
            mark.saw(now);
        }
        for channel in &self.channels {
            if let Some(ledger) = channel.ledger.lock().as_mut() {
                ledger.fires_until = ledger.fires_until.max(Some(looked_at));
            }
        }
        Ok(())
    }

    async fn take_missed(&self, source: &Arc<dyn Source>) -> Result<(), SourceError> {
        let wants = |channel: &&Arc<Channel>| channel.meant.rules.on.contains(&Kind::Missed);
        let until = |channel: &Arc<Channel>| channel.ledger.lock().as_ref().and_then(|ledger| ledger.fires_until);
        let Some(since) = self.channels.iter().filter(wants).filter_map(until).min() else { return Ok(()) };
        let since = since.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN);
        let from = Arc::clone(source);
        let missed = self.shared.ambient.unblock(move || from.missed(since)).await??;
        for channel in self.channels.iter().filter(wants) {
            if channel.take_missed(&missed) {
                channel.news.notify_one();
                self.shared.save(channel, true).await;
            }
        }
        Ok(())
    }
}

impl Channel {
    fn take(&self, news: &[(u64, LaneId, News)], to: u64) -> bool {
        let mut ledger = self.ledger.lock();
        let Some(ledger) = ledger.as_mut() else { return false };
        let (mut changed, before) = (false, ledger.position);
        for (position, lane, news) in news.iter().filter(|(position, ..)| *position > before) {
            debug_assert!(*position <= to, "what was read lies before where reading ended");
            changed |= ledger.take(&self.meant.rules, Some(lane), news.clone());
        }
        ledger.position = ledger.position.max(to);
        changed
    }

    fn take_missed(&self, missed: &[(Timestamp, String, u64, Item)]) -> bool {
        let mut ledger = self.ledger.lock();
        let Some(ledger) = ledger.as_mut() else { return false };
        let begun = ledger.fires_until.and_then(|until| until.checked_sub(OVERLAP).ok());
        let mut changed = false;
        for (at, schedule, number, item) in missed {
            let is_old = begun.is_some_and(|begun| *at <= begun);
            if is_old || ledger.fires_seen.iter().any(|(_, id, no)| (id, no) == (schedule, number)) {
                continue;
            }
            ledger.fires_seen.push_back((*at, schedule.clone(), *number));
            let news = News::Told { kinds: &[Kind::Missed], lasting: None, item: item.clone() };
            changed |= ledger.take(&self.meant.rules, None, news);
            ledger.fires_until = ledger.fires_until.max(Some(*at));
        }
        let keep = ledger.fires_until.and_then(|until| until.checked_sub(OVERLAP).ok());
        ledger.fires_seen.retain(|(at, ..)| keep.is_none_or(|keep| *at > keep));
        let surplus = ledger.fires_seen.len().saturating_sub(SEEN_MAX);
        ledger.fires_seen.drain(..surplus);
        changed
    }
}

/// What a channel is to be told now.
enum Due {
    Groups,
    /// That was due then.
    Night(Timestamp),
    /// Nothing before then.
    Later(Option<Timestamp>),
}

/// What a message is made of.
enum Told {
    Groups(Groups),
    Night(String, Vec<Item>),
}

/// Tells a channel what it is owed, for ever.
async fn tell(shared: Arc<Shared>, channel: Arc<Channel>, source: Arc<dyn Source>) {
    loop {
        let now = shared.ambient.wall();
        // A message that is made again is made as it was, as of the same moment: its receiver knows it by that.
        let (told, made_at) = match channel.due(&source, now) {
            Due::Later(at) => {
                let wait =
                    at.map_or(ROUND, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default().min(ROUND));
                let _ = shared.ambient.timeout(wait.max(Duration::from_millis(10)), channel.news.notified()).await;
                continue;
            }
            Due::Night(due) => {
                let from = Arc::clone(&source);
                match shared.ambient.unblock(move || from.night()).await {
                    Ok(Ok((line, needs))) => (Told::Night(line, needs), due),
                    outcome => {
                        tracing::error!(?outcome, "the night cannot be read, and nobody is told of it yet");
                        shared.ambient.sleep(TROUBLE).await;
                        continue;
                    }
                }
            }
            Due::Groups => {
                let sending = channel.ledger.lock().as_mut().map(|ledger| ledger.send(now));
                // All of it may have been settled in this moment.
                let Some((groups, made_at)) = sending.filter(|(groups, _)| !groups.is_empty()) else { continue };
                shared.save(&channel, true).await;
                (Told::Groups(groups), made_at)
            }
        };
        let is_night = matches!(told, Told::Night(..));
        let name = &channel.meant.name;
        let local = |at: Timestamp| source.local(at);
        let link = |mission: &str, wanted: Wanted| shared.link(&channel, mission, wanted, made_at);
        let message = match &told {
            Told::Night(line, needs) => shared.telling(&channel, made_at, &local, &link).of_night(line, needs),
            Told::Groups(groups) => shared.telling(&channel, made_at, &local, &link).of_groups(groups),
        };
        let outcome = shared.attempt(&channel, &message).await;
        let (now, chance) = (shared.ambient.wall(), shared.ambient.chance());
        if let Some(ledger) = channel.ledger.lock().as_mut() {
            match outcome {
                Ok(()) => {
                    tracing::debug!(channel = name, title = message.title, "people were told");
                    if is_night {
                        ledger.digest_at = Some(source.next(channel.meant.digest_at, now));
                        ledger.arrived(now);
                    } else {
                        ledger.told(&channel.meant.rules, now);
                    }
                }
                Err(failed) => {
                    tracing::warn!(channel = name, why = failed.why, "people could not be told; it is tried again");
                    ledger.failed(failed, now, chance);
                }
            }
        }
        shared.save(&channel, true).await;
    }
}

impl Channel {
    fn due(&self, source: &Arc<dyn Source>, now: Timestamp) -> Due {
        let mut ledger = self.ledger.lock();
        let Some(ledger) = ledger.as_mut() else { return Due::Later(None) };
        ledger.clock_is(now);
        let rules = &self.meant.rules;
        let night = rules.on.contains(&Kind::Digest).then(|| {
            let next = source.next(self.meant.digest_at, now);
            // One that is overdue is owed; one that a clock was set back from, or that another time was configured for, comes at the next.
            let at = ledger.digest_at.map_or(next, |at| at.min(next));
            ledger.digest_at = Some(at);
            ledger.may_at(at)
        });
        let groups = ledger.due(rules).map(|due| ledger.may_at(due));
        match (night, groups) {
            (Some(night), _) if night <= now => Due::Night(ledger.digest_at.unwrap_or(now).min(now)),
            (_, Some(groups)) if groups <= now => Due::Groups,
            (night, groups) => Due::Later(night.into_iter().chain(groups).min()),
        }
    }
}

impl Shared {
    fn telling<'a>(
        &'a self,
        channel: &Channel,
        now: Timestamp,
        local: &'a dyn Fn(Timestamp) -> String,
        link: &'a dyn Fn(&str, Wanted) -> Option<String>,
    ) -> Telling<'a> {
        let public_url = self.public_url.as_deref();
        Telling { node: &self.node, now, texts: channel.meant.texts, public_url, link, local }
    }

    /// The link to a decision, where the channel has them, of a message that was made then.
    fn link(&self, channel: &Channel, mission: &str, wanted: Wanted, made_at: Timestamp) -> Option<String> {
        let public_url = self.public_url.as_deref().filter(|_| channel.meant.links)?;
        let Wanted { request, expires_at } = wanted;
        let grant = Grant { channel: channel.meant.name.clone(), mission: mission.to_owned(), request, expires_at };
        Some(format!("{public_url}/go/{}", self.key.sign(&grant, made_at)))
    }

    async fn attempt(&self, channel: &Channel, message: &Message) -> Result<(), Failed> {
        let Meant { guard, route, timeout, .. } = &channel.meant;
        let sending = route.send(guard, &self.secrets, message, self.ambient.wall());
        let late = || Failed { why: format!("no answer within {timeout:?}"), retry_after: None };
        self.ambient.timeout(*timeout, sending).await.unwrap_or_else(|| Err(late()))
    }

    /// Puts a ledger down: at once, where what is owed has changed; else now and then.
    async fn save(&self, channel: &Arc<Channel>, is_due: bool) {
        let mut saved = channel.saving.lock().await;
        let now = self.ambient.steady();
        let (position, text) = {
            let ledger = channel.ledger.lock();
            let Some(ledger) = ledger.as_ref() else { return };
            let moved = ledger.position != saved.position && now.saturating_sub(saved.at) >= PUT_DOWN;
            if !is_due && !moved {
                return;
            }
            (ledger.position, serde_json::to_vec(ledger).expect("a ledger is plain data"))
        };
        let path = store::place(&self.folder, &channel.meant.name);
        let written = self.ambient.unblock(move || store::write(&path, &text)).await;
        match written {
            Ok(Ok(())) => *saved = Saved { position, at: now, is_troubled: false },
            Ok(Err(error)) if !saved.is_troubled => {
                saved.is_troubled = true;
                tracing::error!(channel = channel.meant.name, %error, "what a channel is owed cannot be put down: if the node is killed now, it is told some of it again");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "notifier_tests.rs"]
mod tests;
