//! Missions that cannot be read: mended where what is left says all, else put in quarantine, so that each has its one end, and
//! nobody else waits for it.
//!
//! Owned here: that whoever cannot read a mission has it seen to, one after the other in the background; and which are in quarantine.
//! A head is a summary of records, and is made anew from them. Records that cannot be read are not: what stands in their place the
//! core says ([`Mission::quarantine`]), and the log keeps the bytes. A log that cannot be read as a whole is nobody's trouble here: the
//! node stops.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use serde_json::json;
use sortie_contract::envelope::Envelope;
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{MissionNo, Stamped, Status, Timestamp};
use sortie_journal::{Append, Cursor, Head, Log, Quarantine, WriteError};
use sortie_mission::{Booking, Mission, Remains};
use tokio::sync::Notify;

use super::live::shown_by;
use super::wider::WiderBooks;
use super::{Engine, ReadError, begin, fold};

/// Why a delivery waits whose address is lost.
const NO_ADDRESS: &str =
    "where it goes stood in a record that cannot be read any more; skip it once the control plane knows";

/// Missions that cannot be read, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Those in quarantine.
    known: Mutex<BTreeSet<MissionNo>>,
    /// Those that somebody could not read.
    wanted: Mutex<BTreeSet<MissionNo>>,
    told: Arc<Notify>,
}

/// What is found of a mission that somebody could not read.
pub(crate) enum Found {
    /// It reads, or is not there any more.
    Well,
    /// Its records do, and give the head that does not.
    Headless(Box<Head>),
    /// Its records do not: it goes into quarantine.
    Unreadable(Box<Case>),
    /// Neither its head nor its first record does: nobody knows whose it is.
    Nameless,
}

/// What is written of a mission that goes into quarantine.
pub(crate) struct Case {
    quarantine: Quarantine,
    /// Its head, where that says something else than before.
    head: Option<Head>,
    /// Its cursor, likewise.
    cursor: Option<Cursor>,
    status: Status,
    /// What can be read of it, with its end.
    mission: Mission,
    /// What its end moves in the books: nobody learns what those of its calls did cost that were being made.
    bookings: Vec<Booking>,
}

/// Whether it is one mission's trouble.
pub(crate) fn is_its_own(error: &ReadError) -> bool {
    use sortie_journal::ReadError as Journal;
    match error {
        ReadError::Journal(Journal::Row { table, .. }) => *table != "feed",
        ReadError::Journal(Journal::Frame { .. } | Journal::Gap { .. })
        | ReadError::Illegal(_)
        | ReadError::NoEnvelope => true,
        _ => false,
    }
}

/// An error with its causes, for people.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Looks at a mission that somebody could not read. Blocks.
pub(crate) fn diagnose(log: &dyn Log, no: MissionNo, wall: Timestamp) -> Result<Found, ReadError> {
    let head = match log.head(no).map_err(ReadError::from) {
        Err(error) if is_its_own(&error) => None,
        Ok(None) => return Ok(Found::Well),
        head => head?,
    };
    match (fold(log, no), head) {
        (Ok(_), Some(_)) => Ok(Found::Well),
        (Ok(mission), None) => {
            let first = log.read(no, 0, 0)?;
            Ok(Found::Headless(Box::new(head_of(&mission, first.first().ok_or(ReadError::Unknown)?)?)))
        }
        (Err(ReadError::Unknown), None) => Ok(Found::Nameless),
        (Err(error), head) if is_its_own(&error) => unreadable(log, no, head, &error, wall),
        (Err(error), _) => Err(error),
    }
}

/// The head that a mission's records come to.
fn head_of(mission: &Mission, first: &Stamped) -> Result<Head, ReadError> {
    let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope) };
    let parsed = Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
    let (session, lane) = (mission.session().clone(), mission.lane().clone());
    let mut head = Head::accepted(mission.envelope(), parsed.digest, session, lane, first.at);
    shown_by(&mut head, mission);
    Ok(head)
}

/// What is to be written of a mission whose records cannot all be read.
fn unreadable(
    log: &dyn Log,
    no: MissionNo,
    head: Option<Head>,
    error: &ReadError,
    wall: Timestamp,
) -> Result<Found, ReadError> {
    let remains = log.remains(no)?;
    let (mut whole, mut readable) = (None, 0);
    for stamped in &remains.records {
        let taken = match &mut whole {
            None => begin(stamped).map(|mission| whole = Some(mission)),
            Some(mission) => mission.apply(stamped).map_err(ReadError::from),
        };
        if taken.is_err() {
            break;
        }
        readable += 1;
    }
    let (mut mission, beginning) = match (whole, &head) {
        (Some(mission), _) => (mission, None),
        (None, Some(head)) => {
            let beginning = beginning_of(head);
            (begin(&beginning)?, Some(beginning))
        }
        (None, None) => return Ok(Found::Nameless),
    };
    let first = beginning.as_ref().or(remains.records.first()).ok_or(ReadError::NoEnvelope)?.clone();
    let cursor = log.cursor(no)?;
    let why = remains.why.as_ref().map_or_else(|| with_causes(error), |why| with_causes(why));
    let [gap, end] = mission.quarantine(&Remains {
        why: &why,
        until: remains.until.max(readable + 1),
        status: head.as_ref().map(|head| head.status),
        overview: head.as_ref().and_then(|head| head.overview.as_ref()),
        last: remains.last.as_ref().map(|last| &last.record),
        acked: cursor.as_ref().map_or(0, |cursor| cursor.acked),
        delivered: cursor.as_ref().is_none_or(|cursor| cursor.closed),
    });
    // One that had ended did so then.
    let ended_at = head.as_ref().and_then(|head| head.ended_at).unwrap_or(wall);
    let shown_ms = head.as_ref().and_then(|head| head.overview.as_ref()).map_or(0, |overview| overview.ran_ms);
    let ran_ms = mission.ran_ms().max(shown_ms);
    let (gap, end) = (Stamped { at: wall, ran_ms, record: gap }, Stamped { at: ended_at, ran_ms, record: end });
    mission.apply(&gap)?;
    // What had ended has nothing set aside. Of what is lost nobody knows: a call that ended there counts twice, so that no budget is passed.
    let has_ended = head.as_ref().is_some_and(|head| head.status.is_final())
        || remains.last.is_some_and(|last| matches!(last.record, Record::Finished { .. }));
    let bookings = if has_ended { Vec::new() } else { mission.bookings_beside(&end.record) };
    mission.apply(&end)?;
    let head = match head {
        // What it shows stays, but for how much is to be sent.
        Some(mut head) if head.status.is_final() => {
            let pending = head.overview.as_mut().and_then(|overview| overview.pending.as_mut());
            pending.map(|pending| pending.items = mission.outgoing()).map(|()| head)
        }
        Some(mut head) => {
            shown_by(&mut head, &mission);
            Some(head)
        }
        None => Some(head_of(&mission, &first)?),
    };
    let lost = cursor.filter(|cursor| !cursor.closed && mission.envelope().callback.is_none());
    let cursor = lost.map(|cursor| Cursor { parked: Some(NO_ADDRESS.to_owned()), retry: None, ..cursor });
    let status = mission.status();
    let quarantine = Quarantine { at: wall, why, readable, beginning, gap, end };
    Ok(Found::Unreadable(Box::new(Case { quarantine, head, cursor, status, mission, bookings })))
}

/// In the place of a first record that cannot be read: what the head knows of it, and no more.
fn beginning_of(head: &Head) -> Stamped {
    let overview = head.overview.as_ref();
    let objective = overview.map_or("It cannot be read.", |overview| &overview.objective);
    let envelope = json!({
        "mission_id": head.mission_id.as_str(),
        "vp_id": head.vp.as_str(),
        "vp_session_id": head.session.as_str(),
        "source_instance_id": head.source.as_str(),
        "target_instance_id": head.source.as_str(),
        "mission_type": head.mission_type,
        "objective": objective,
        "idempotency_key": head.idempotency_key.as_str(),
        "trace_id": head.trace_id.as_str(),
        "created_at": head.accepted_at,
        "inputs": {},
    });
    let unknown = || sortie_contract::plugin::PluginIdentity {
        name: "unknown".to_owned(),
        version: "0.0.0".to_owned(),
        digest: head.envelope,
    };
    let no_limit =
        sortie_contract::envelope::EffectiveBudget { runtime_ms_max: 0, llm_calls_max: None, cost_max: None };
    let accepted = Accepted {
        envelope: envelope.to_string(),
        session: head.session.clone(),
        lane: head.lane.clone(),
        plugin: overview.map_or_else(unknown, |overview| overview.plugin.clone()),
        budget: overview.map_or(no_limit, |overview| overview.budget),
        unknown_approvals: Vec::new(),
        warnings: vec!["The envelope cannot be read any more: this is what is known of it.".to_owned()],
    };
    Stamped { at: head.accepted_at, ran_ms: 0, record: Record::Accepted(Box::new(accepted)) }
}

impl Case {
    /// Has the log keep it, with what its end moves in the wider budgets; it is durable with what is handed over next.
    pub(crate) fn hand_over(
        &self,
        log: &dyn Log,
        wider: &WiderBooks,
        no: MissionNo,
    ) -> Result<sortie_journal::Receipt, WriteError> {
        let mut append = Append::new(no, 0, &[]).quarantined(&self.quarantine);
        if let Some(cursor) = &self.cursor {
            append = append.cursor(cursor);
        }
        // What is booked is handed over: where there is no room, it is tried again, and would be booked twice.
        let room = log.reserve(&append)?;
        let (mut held, at) = (None, self.quarantine.at);
        let bookings: Vec<_> = self.bookings.iter().map(|booking| (at, booking.clone())).collect();
        let append = append.moves(wider.book(&mut held, self.mission.payer(), &bookings)).within(room);
        match &self.head {
            Some(head) => log.mend(append, no, head),
            None => log.append_durable(append),
        }
    }

    /// The head that it gets.
    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }
}

impl Unread {
    /// Of the missions that are in quarantine when the log is opened.
    pub(crate) fn new(known: BTreeSet<MissionNo>) -> Self {
        Self { known: Mutex::new(known), ..Self::default() }
    }

    /// Missions come that another node left: those of them in quarantine, and those whose heads cannot be read.
    pub(crate) fn take_in(
        &self,
        known: impl IntoIterator<Item = MissionNo>,
        headless: impl IntoIterator<Item = MissionNo>,
    ) {
        self.known.lock().extend(known);
        self.wanted.lock().extend(headless);
        self.told.notify_one();
    }

    fn next(&self) -> Option<MissionNo> {
        self.wanted.lock().pop_first()
    }
}

impl Engine {
    /// How many missions are in quarantine.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.unread.known.lock().len()
    }

    /// Whether a mission is.
    pub(crate) fn is_quarantined(&self, no: MissionNo) -> bool {
        self.unread.known.lock().contains(&no)
    }

    /// Somebody could not read a mission: it is seen to, if that is its own trouble.
    pub(crate) fn cannot_read(&self, no: MissionNo, error: &ReadError) {
        if is_its_own(error) {
            self.unread.wanted.lock().insert(no);
            self.unread.told.notify_one();
        }
    }

    /// The same of what the log says, which knows whose row it is.
    pub(crate) fn cannot_read_row(&self, error: &sortie_journal::ReadError) {
        if let sortie_journal::ReadError::Row { table: "head", key, .. } = error {
            self.unread.wanted.lock().insert(MissionNo(*key));
            self.unread.told.notify_one();
        }
    }

    /// Starts to see to missions that cannot be read.
    pub(crate) fn start_quarantine(self: &Arc<Self>) {
        let (engine, told) = (Arc::downgrade(self), Arc::clone(&self.unread.told));
        self.supervise("quarantine", async move {
            loop {
                let next = match engine.upgrade() {
                    Some(engine) => engine.unread.next().map(|no| (engine, no)),
                    None => return,
                };
                let Some((engine, no)) = next else {
                    told.notified().await;
                    continue;
                };
                if let Err(error) = engine.see_to(no).await {
                    let error = &*error as &(dyn std::error::Error + 'static);
                    tracing::error!(%no, error, "a mission cannot be read, and cannot be put in quarantine now");
                }
            }
        });
    }

    /// Mends a mission, or puts it in quarantine.
    async fn see_to(self: &Arc<Self>, no: MissionNo) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // What was mended a moment ago is to be there.
        self.durable().await?;
        match self.look_at(no).await? {
            Found::Well => return Ok(self.goes_on(no).await?),
            Found::Nameless => {
                self.nameless(no);
                return Ok(());
            }
            Found::Headless(head) => {
                let receipt = match self.lives.get(no) {
                    // Its own is newer.
                    Some(live) => live.write_head(self)?,
                    None => self.log.mend(Append::new(no, 0, &[]), no, &head)?,
                };
                receipt.await?;
                tracing::warn!(%no, "a head that could not be read was made anew");
                return Ok(self.goes_on(no).await?);
            }
            Found::Unreadable(_) => {}
        }
        // From here on nothing is recorded of it.
        let condemned = self.lives.get(no).map(|live| live.condemn());
        self.durable().await?;
        let Found::Unreadable(mut case) = self.look_at(no).await? else { return Ok(()) };
        let engine = Arc::clone(self);
        let before = match condemned {
            Some((before, bookings)) => {
                // In memory nothing is lost.
                case.bookings = bookings;
                Some(before)
            }
            None => {
                let head = self.ambient.unblock(move || engine.log.head(no)).await?;
                head.ok().flatten().map(|head| (head.status, head.suspended))
            }
        };
        case.hand_over(&*self.log, self.commit.wider(), no)?.await?;
        self.put_away(no, before, &case);
        Ok(())
    }

    /// It reads: whoever could not read it left it lying.
    async fn goes_on(self: &Arc<Self>, no: MissionNo) -> Result<(), ReadError> {
        let live = match self.bring(no).await {
            Err(ReadError::Unknown) => return Ok(()),
            live => live?,
        };
        self.watch(&live);
        let standing = live.with(Mission::standing);
        // One that has its turn, or waits for it, keeps that.
        if !standing.status.is_final() && !standing.suspended {
            self.desk.push(&live.waiting());
            self.pump();
        }
        self.lives.release(&live);
        Ok(())
    }

    async fn look_at(self: &Arc<Self>, no: MissionNo) -> Result<Found, ReadError> {
        let (engine, wall) = (Arc::clone(self), self.ambient.wall());
        self.ambient.unblock(move || diagnose(&*engine.log, no, wall)).await.map_err(ReadError::Task)?
    }

    /// What is left of it in memory goes; its end is on disk.
    fn put_away(&self, no: MissionNo, before: Option<(Status, bool)>, case: &Case) {
        self.unread.known.lock().insert(no);
        self.lives.take_out(no);
        self.desk.remove(no);
        self.silence(no);
        self.views.forget(no);
        self.deliveries.followers.forget(no);
        self.artifacts.is_over(no);
        self.commit.moved(no, before, (case.status, false));
        if before.is_none_or(|(status, _)| !status.is_final()) {
            let index = Status::ALL.iter().position(|&other| other == case.status).expect("all are listed");
            self.counters.ended[index].fetch_add(1, Relaxed);
        }
        self.deliveries.hurry(no);
        tracing::error!(%no, status = %case.status, why = case.quarantine.why, "a mission cannot be read: it is in quarantine");
    }

    fn nameless(&self, no: MissionNo) {
        self.deliveries.are_over(no);
        if self.unread.known.lock().insert(no) {
            nameless(no);
        }
    }
}

/// Nobody can be told of its end.
pub(crate) fn nameless(no: MissionNo) {
    tracing::error!(%no, "neither the head nor the first record of a mission can be read: nobody knows whose it is. Restore a backup");
}
