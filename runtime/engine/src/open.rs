//! Putting a driver together, and taking it apart again.
//!
//! Owned here: the parts that a driver is handed, the order in which it starts and stops, and how long it takes to stop. Never here:
//! what any of the parts does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::SignedDuration;
use rustc_hash::FxHashSet;
use sortie_ambient::Surroundings;
use sortie_callback::{Courier, Outbox};
use sortie_contract::envelope::OnExpiry;
use sortie_contract::plugin::PluginRef;
use sortie_contract::{LaneId, MissionNo, Timestamp, limit};
use sortie_journal::{Append, Head, Log};
use sortie_mission::queue::Queue;
use sortie_mission::wider::WiderBudget;
use sortie_mission::{Command, NodeRules, Retentions};
use sortie_models::Models;
use sortie_tools::Providers;
use tokio::sync::broadcast;

use super::act::PauseMark;
use super::artifact_store::Artifacts;
use super::check::Checks;
use super::clocks::Clocks;
use super::commit::Commit;
use super::deliveries::Deliveries;
use super::desk::Desk;
use super::guests::Guests;
use super::hours::NodeHours;
use super::live::Wait;
use super::lives::Lives;
use super::measured::Measured;
use super::outbox::EngineOutbox;
use super::pins::Pins;
use super::providers::FirstLook;
use super::quarantine::{self, Found, Unread};
use super::recover::{Inventory, Others};
use super::restored::Outward;
use super::results::Results;
use super::schedules::{Runs, Schedules};
use super::shared_store::SharedStore;
use super::supervise::Life;
use super::timer::Timer;
use super::views::Views;
use super::wider::WiderBooks;
use super::workspaces::Workspaces;
use super::{Counters, Engine, NEWS_CAPACITY, ReadError, Removals};

/// How often it is looked whether they have.
const LAST_CALLS_LOOK: Duration = Duration::from_millis(20);

/// Takes in missions whose heads cannot be read: nobody would find them by name, and a second dispatch would be a second mission.
/// Those that are in quarantine.
fn admit_unread(
    log: &dyn Log,
    wider: &WiderBooks,
    inventory: &mut Inventory,
    others: Others,
    wall: Timestamp,
) -> Result<BTreeSet<MissionNo>, ReadError> {
    let mut known: BTreeSet<MissionNo> = log.quarantined()?.into_iter().collect();
    for no in log.headless() {
        let (head, written) = match quarantine::diagnose(log, no, wall)? {
            Found::Headless(head) => {
                let written = log.mend(Append::new(no, 0, &[]), no, &head);
                tracing::warn!(%no, mission_id = %head.mission_id, "a head that could not be read was made anew");
                (Some(*head), written)
            }
            Found::Unreadable(case) => {
                known.insert(no);
                (case.head().cloned(), case.hand_over(log, wider, no))
            }
            Found::Nameless => {
                known.insert(no);
                quarantine::nameless(no);
                continue;
            }
            Found::Well => continue,
        };
        if let Err(error) = written {
            tracing::error!(%no, %error, "a mission without a readable head is left for the next start");
            continue;
        }
        head.iter().for_each(|head| inventory.add(no, head, others));
    }
    Ok(known)
}

/// Removes what was handed over to missions that never were, when a process was killed before the log had them: their
/// numbers are given again, and whoever gets them has nothing of it.
fn settle(log: &dyn Log, artifacts: &dyn Artifacts, known: &BTreeSet<MissionNo>) {
    let headless = log.headless();
    for no in artifacts.unsettled() {
        let is_nobody = !known.contains(&no) && !headless.contains(&no) && matches!(log.head(no), Ok(None));
        let removed = if is_nobody { artifacts.remove(no) } else { Ok(()) };
        match removed {
            Ok(()) => artifacts.settle(no),
            Err(error) => tracing::warn!(%no, %error, "artifacts of a mission that did not begin stay"),
        }
    }
}

/// What the configuration says.
pub struct Settings {
    /// The node's rules.
    pub rules: NodeRules,
    /// Which plugin runs missions, by type or VP.
    pub plugins_by: BTreeMap<String, PluginRef>,
    /// The lanes, and how many missions each runs side by side.
    pub lanes: Vec<(LaneId, usize)>,
    /// Whether nodes of one store run so many of them together; otherwise each runs so many.
    pub lanes_are_shared: bool,
    /// When the node and its lanes are open.
    pub hours: Arc<NodeHours>,
    /// How many missions run side by side, in all lanes.
    pub max_running: usize,
    /// How long a request waits for its answer.
    pub request_expiry: SignedDuration,
    /// What becomes of one that nobody answers, where its envelope does not say.
    pub on_expiry: OnExpiry,
    /// What is removed, and when.
    pub retention: Retentions,
    /// So many crashes of the node in a row, with the same mission alone at the same place, and it is given up.
    pub crashes_alone_max: u32,
    /// How many missions a mission dispatches, and how many stand above one.
    pub children: sortie_mission::child::Bounds,
    /// What results of calls may hold of the memory, in bytes.
    pub result_bytes_max: usize,
    /// How many schedules there may be.
    pub schedules_max: usize,
    /// The share of each limit that is kept for landing, in thousandths.
    pub landing_share: u16,
    /// The longest that a call waits for a provider that refuses for now.
    pub hold_max: Duration,
    /// The budgets that are wider than one mission.
    pub budgets: Vec<WiderBudget>,
}

/// What a driver is put together of: everything that it asks and acts upon comes from outside.
pub struct Parts {
    /// What the configuration says.
    pub settings: Settings,
    /// Opens the log.
    pub log: OpenLog,
    /// What runs plugins.
    pub guests: Arc<dyn Guests>,
    /// Where tools come from: what granted calls do.
    pub tools: Providers,
    /// The models that plugins may ask.
    pub models: Arc<dyn Models>,
    /// Where artifacts' bytes are.
    pub artifacts: Arc<dyn Artifacts>,
    /// Where those of missions are whose `storage_scope` is `shared`, if there is such a store.
    pub shared: Option<Arc<dyn SharedStore>>,
    /// Where sessions work.
    pub workspaces: Arc<dyn Workspaces>,
    /// Where it is kept in mind that the node is paused.
    pub pause_mark: Arc<dyn PauseMark>,
    /// Clocks, tasks and chance.
    pub ambient: Surroundings,
}

/// Opens a log, and shows the head of each mission in it, oldest first: what is built from them is built while they are read
/// anyway.
pub type OpenLog =
    Box<dyn FnOnce(&mut dyn FnMut(MissionNo, Head)) -> Result<Arc<dyn Log>, sortie_journal::ReadError> + Send>;

/// Why a driver cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A journal that is there, but does not read as one.
    #[error("the journal cannot be read")]
    Unreadable(#[source] ReadError),
    /// The callbacks.
    #[error("callbacks cannot be set up")]
    Callback(#[from] sortie_callback::ConfigError),
}

impl Engine {
    /// Puts a driver together. `others` says what becomes of the missions that are in the journal; `courier` makes what
    /// delivers from where the deliveries come from.
    ///
    /// Nothing runs yet; [`Engine::start`] does that.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(
        parts: Parts,
        others: Others,
        courier: impl FnOnce(Arc<dyn Outbox>) -> Result<Courier, sortie_callback::ConfigError>,
    ) -> Result<Arc<Self>, OpenError> {
        let Parts { settings, log, guests, tools, models, artifacts, shared, workspaces, pause_mark, ambient } = parts;
        let mut queue = Queue::new(settings.lanes.iter().cloned(), settings.max_running);
        queue.pause(pause_mark.is_set());
        let mut inventory = Inventory::new(queue);
        let unreadable = |error: sortie_journal::ReadError| OpenError::Unreadable(error.into());
        let log = log(&mut |no, head| inventory.add(no, &head, others)).map_err(unreadable)?;
        if log.fleet().is_some() && settings.lanes_are_shared {
            inventory.queue.share_out();
        }
        let wider = WiderBooks::of(&*log, &settings.hours.zone, settings.budgets.clone());
        let wider = wider.map_err(unreadable)?;
        let known = admit_unread(&*log, &wider, &mut inventory, others, ambient.wall());
        let known = known.map_err(OpenError::Unreadable)?;
        settle(&*log, &*artifacts, &known);
        let undelivered = match others {
            Others::GoOn => log.undelivered().map_err(unreadable)?.into_iter().map(|(no, _)| no).collect(),
            Others::Wait => FxHashSet::default(),
        };
        let runs = Arc::new(Runs::default());
        let schedules = Schedules::of(&*log, others, Arc::clone(&runs), ambient.wall()).map_err(unreadable)?;
        let kept = log.clocks().map_err(unreadable)?.into_iter().filter(|(no, _)| inventory.standings.has(*no));
        let clocks = Clocks::new(kept.collect());
        let pins = Pins::of(&*log).map_err(unreadable)?;
        let this = Arc::new(OnceLock::new());
        let courier = courier(Arc::new(EngineOutbox::of(Arc::clone(&this))))?;
        let (news, _) = broadcast::channel(NEWS_CAPACITY);
        let engine = Arc::new(Self {
            commit: Commit::new(Arc::clone(&log), inventory.suspended, inventory.standings, runs, wider),
            log,
            changing: super::change::Changing::of(&settings),
            desk: Desk::new(inventory.queue, Arc::clone(&settings.hours)),
            lives: Lives::new(),
            guests,
            results: Arc::new(Results::new(settings.result_bytes_max)),
            timer: Timer::default(),
            deliveries: Deliveries::new(undelivered, courier),
            views: Views::default(),
            tonight: crate::night::Tonight::default(),
            news,
            checks: Checks::default(),
            first_look: FirstLook::new(tools.others().count()),
            tools,
            models,
            artifacts,
            shared,
            workspaces,
            pause_mark,
            ambient,
            clocks,
            counters: Counters::default(),
            measured: Measured::default(),
            unread: Unread::new(known),
            life: Life::default(),
            schedules,
            removals: Removals::default(),
            pins,
            outward: Outward::default(),
            fleet: super::fleet::Membership::default(),
            forking: tokio::sync::Mutex::default(),
            found: inventory.found,
            drives_what_it_is_told: others == Others::Wait,
            settings,
        });
        this.set(Arc::downgrade(&engine)).expect("set once");
        engine.keep_in_mind_what_was_adopted().map_err(unreadable)?;
        inventory.asleep.into_iter().for_each(|(no, at)| engine.wake_at(no, at));
        engine.watch_sleepers(inventory.sleepers);
        engine.commit.children().take_in(inventory.families);
        Ok(engine)
    }

    /// Starts running missions and delivering events; where the data were restored, without what reaches outside by itself.
    pub fn start(self: &Arc<Self>) {
        let reaches_out = !self.pause_mark.is_restored() && self.begins_to_reach_out();
        if reaches_out {
            self.start_timer();
        }
        self.start_herald();
        self.start_sweep();
        self.start_clocks();
        self.start_quarantine();
        if reaches_out {
            self.start_courier();
        }
        self.start_providers();
        if reaches_out {
            self.start_schedules();
        }
        self.start_payments();
        self.start_pools();
        self.start_children();
        self.pump();
    }

    /// From now on nothing is taken and no turn is given; watchers are told.
    pub fn say_goodbye(&self) {
        self.life.stops();
        self.first_look.give_up();
    }

    /// Stops everything that runs, after its calls in flight have had a moment to end, and closes the journal.
    pub async fn stop(self: Arc<Self>) {
        let begun = self.ambient.steady();
        self.say_goodbye();
        let running = || {
            let lives = self.lives.all();
            lives.into_iter().filter(|live| live.with(sortie_mission::Mission::run).is_some()).collect::<Vec<_>>()
        };
        // A call whose tool asks people is none that ends by itself: it breaks off with its run, and asks anew.
        let busy = async {
            while running().iter().any(|live| live.with(sortie_mission::Mission::is_busy)) {
                self.ambient.sleep(LAST_CALLS_LOOK).await;
            }
        };
        // Calls that take longer are found without a result after the next start; so are all, where nothing is recorded any more.
        let calls = futures_util::future::select(Box::pin(busy), self.log.failed());
        let _ = self.ambient.timeout(limit::STOP_CALLS, calls).await;
        let interrupted = running();
        let calls: usize = interrupted.iter().map(|live| live.with(sortie_mission::Mission::calls_in_flight)).sum();
        for live in &interrupted {
            if let Err(error) = self.command(live, Command::StopNode, Wait::No) {
                tracing::debug!(no = %live.no, error = &error as &dyn std::error::Error, "its run will look like one that crashed");
            }
            live.interrupt();
        }
        futures_util::future::join(self.courier().stop(), self.close_providers()).await;
        let log = Arc::clone(&self.log);
        if let Ok(Err(error)) = self.ambient.unblock(move || log.close()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the journal was not closed cleanly");
        }
        let took = self.ambient.steady().saturating_sub(begun);
        tracing::info!(
            go_on = interrupted.len(),
            calls_in_flight = calls,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "stopped: what ran goes on after the next start"
        );
    }
}
