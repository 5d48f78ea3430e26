//! What the changes that share a commit come to, as statements: at most one of a kind, each over arrays, in an order in which what goes
//! makes room for what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use sortie_contract::MissionNo;

use super::books::Books;
use super::claims;
use super::held::{Span, spans};
use super::hold;
use super::link::Param;
use crate::actions::{self, ACTIONS_MAX};
use crate::append::{Append, CursorChange};
use crate::error::WriteError;
use crate::feed::{self, FeedEntry};
use crate::fleet::ShareNo;
use crate::head::Head;
use crate::schedule::{FIRES_MAX, Written};
use crate::table::Meta;
use crate::transaction::{Sum, last_of_each};

/// The first of each: without the newest token there is nothing to write into, and the whole transaction goes with it.
const STORE: &str = "
UPDATE sortie_shares
SET token = CASE WHEN token = $1 THEN token END, commits = $2, position = $3, last_no = $4,
    lease_until = now() + $5::float8 * interval '1 second'
WHERE share = $6";

/// Where the rows of a mission are.
const REMOVE: [&str; 5] = [
    "DELETE FROM sortie_frames WHERE mission = ANY($1)",
    "DELETE FROM sortie_heads WHERE mission = ANY($1)",
    "DELETE FROM sortie_cursors WHERE mission = ANY($1)",
    "DELETE FROM sortie_quarantine WHERE mission = ANY($1)",
    "DELETE FROM sortie_pins WHERE mission = ANY($1)",
];
const FEED_PRUNE: &str = "DELETE FROM sortie_feed WHERE position < $1 AND position > $2";
const FEED: &str = "INSERT INTO sortie_feed (position, row) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
/// One that is there already is somebody's who came too late and was not told: the transaction goes with it.
const FRAMES: &str = "
INSERT INTO sortie_frames (mission, first, row) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])";
const HEADS: &str = "
INSERT INTO sortie_heads (mission, mission_id, source, idempotency_key, row)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
ON CONFLICT (mission) DO UPDATE SET mission_id = excluded.mission_id, source = excluded.source,
    idempotency_key = excluded.idempotency_key, row = excluded.row";
/// Before that: what has no readable head has the columns still, and whoever dispatches is not to fail on a name that nobody knows of.
const NAMES_GONE: &str = "
UPDATE sortie_heads AS h SET mission_id = o.name, source = o.name, idempotency_key = o.name
FROM unnest($1::bigint[], $2::bytea[]) AS o (mission, name) WHERE h.mission = o.mission";
const CURSORS_GONE: &str = "DELETE FROM sortie_cursors WHERE mission = ANY($1)";
const CURSORS: &str = "
INSERT INTO sortie_cursors (mission, row) SELECT * FROM unnest($1::bigint[], $2::bytea[])
ON CONFLICT (mission) DO UPDATE SET row = excluded.row";
const QUARANTINE: &str = "
INSERT INTO sortie_quarantine (mission, row) SELECT * FROM unnest($1::bigint[], $2::bytea[])
ON CONFLICT (mission) DO UPDATE SET row = excluded.row";
const PINS_GONE: &str = "DELETE FROM sortie_pins WHERE mission = ANY($1)";
const PINS: &str = "
INSERT INTO sortie_pins (mission, row) SELECT * FROM unnest($1::bigint[], $2::bytea[])
ON CONFLICT (mission) DO UPDATE SET row = excluded.row";
/// Where the rows of a schedule are.
const SCHEDULES_GONE: [&str; 3] = [
    "DELETE FROM sortie_schedules WHERE share = $2 AND id = ANY($1)",
    "DELETE FROM sortie_positions WHERE share = $2 AND id = ANY($1)",
    "DELETE FROM sortie_fires WHERE share = $2 AND id = ANY($1)",
];
const SCHEDULES: &str = "
INSERT INTO sortie_schedules (id, row, share) SELECT *, $3::bigint FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (share, id) DO UPDATE SET row = excluded.row";
const POSITIONS: &str = "
INSERT INTO sortie_positions (id, row, share) SELECT *, $3::bigint FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (share, id) DO UPDATE SET row = excluded.row";
const FIRES: &str = "
INSERT INTO sortie_fires (id, no, row, share) SELECT *, $4::bigint FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
ON CONFLICT (share, id, no) DO UPDATE SET row = excluded.row";
const FIRES_PRUNE: &str = "
DELETE FROM sortie_fires AS f USING unnest($1::bytea[], $2::bigint[]) AS o (id, no)
WHERE f.share = $3 AND f.id = o.id AND f.no <= o.no";
pub(super) const CLOCKS: &str = "
INSERT INTO sortie_clocks (no, row) VALUES ($1, $2) ON CONFLICT (no) DO UPDATE SET row = excluded.row";
const ACTIONS: &str = "INSERT INTO sortie_actions (no, row) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
/// Of the share that numbers go on in: what an adopted one has is looked at when it is adopted.
const ACTIONS_PRUNE: &str = "DELETE FROM sortie_actions WHERE no <= $1 AND no > $2";
const BALANCES_PRUNE: &str = "DELETE FROM sortie_balances WHERE key < $1 AND share = $2";
pub(super) const BALANCES: &str = "
INSERT INTO sortie_balances (key, row, share) SELECT *, $3::bigint FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (share, key) DO UPDATE SET row = excluded.row";

/// A number as the database has it: none of ours is greater than its greatest.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Statements of one commit, without the first.
#[derive(Default)]
pub(super) struct Script<'a> {
    /// The share that it is of.
    share: i64,
    steps: Vec<(&'static str, Vec<Param<'a>>)>,
}

/// What the writer knows of the store, and moves on with each commit.
#[derive(Debug)]
pub(super) struct Known {
    /// The share that it writes into.
    pub(super) share: ShareNo,
    /// All that are held, ascending: it, and those that were adopted.
    pub(super) shares: Vec<ShareNo>,
    pub(super) meta: Meta,
    pub(super) last_action: u64,
    pub(super) books: Books,
    /// Missions that had no readable head when the log was opened, until their names are given up.
    pub(super) nameless: Arc<Mutex<Vec<u64>>>,
}

impl<'a> Script<'a> {
    /// Of changes that come to `sum`. `feed_before` is the last row of the feed before where it is to begin. A head that cannot be read
    /// has no names, and is refused.
    pub(super) fn of(
        sum: &Sum<'a>,
        known: &mut Known,
        feed_before: Option<(u64, Vec<u8>)>,
    ) -> Result<Self, WriteError> {
        let mut script = Self { share: hold::no(known.share), steps: Vec::new() };
        script.remove(&sum.removed);
        script.feed(sum, known, feed_before)?;
        script.frames(sum);
        let nameless = std::mem::take(&mut *known.nameless.lock());
        if let Some(left) = script.heads(sum, nameless)? {
            known.nameless.lock().extend(left);
        }
        script.cursors(sum);
        script.quarantine(sum);
        script.pins(sum);
        script.schedules(&sum.schedules);
        if let Some(row) = sum.clocks {
            script.push(CLOCKS, vec![Box::new(script.share), Box::new(row)]);
        }
        script.actions(&sum.actions, &mut known.last_action);
        script.balances(sum, &mut known.books);
        known.meta.commits += 1;
        known.meta.position += sum.told.len() as u64;
        known.meta.last_no = known.meta.last_no.max(sum.last_no);
        Ok(script)
    }

    /// The statements after the first, in their order.
    pub(super) fn steps(&self) -> &[(&'static str, Vec<Param<'a>>)] {
        &self.steps
    }

    fn push(&mut self, sql: &'static str, params: Vec<Param<'a>>) {
        self.steps.push((sql, params));
    }

    fn remove(&mut self, missions: &[u64]) {
        if !missions.is_empty() {
            let missions: Vec<i64> = missions.iter().map(|mission| int(*mission)).collect();
            // While their heads say them.
            self.push(claims::GONE, vec![Box::new(missions.clone())]);
            REMOVE.iter().for_each(|sql| self.push(sql, vec![Box::new(missions.clone())]));
        }
    }

    /// The new rows, and where the feed begins: a row that holds entries on both sides is written anew with the rest of it.
    fn feed(&mut self, sum: &Sum<'a>, known: &Known, before: Option<(u64, Vec<u8>)>) -> Result<(), WriteError> {
        let position = known.meta.position;
        let mut rows: BTreeMap<u64, Vec<FeedEntry>> = BTreeMap::new();
        let told = sum.told.iter().zip(position + 1..).map(|((mission, first, count), position)| FeedEntry {
            position,
            mission: MissionNo(*mission),
            first: *first,
            count: *count,
        });
        let told: Vec<_> = told.collect();
        for entries in told.chunks(feed::ENTRIES_A_ROW_MAX) {
            rows.insert(entries[0].position, entries.to_vec());
        }
        if let Some(begin) = sum.feed_begin {
            // What is between two shares is somebody else's.
            for Span { after, before } in spans(&known.shares).into_iter().filter(|span| span.after < int(begin)) {
                self.push(FEED_PRUNE, vec![Box::new(int(begin).min(before)), Box::new(after)]);
            }
            let kept = rows.split_off(&begin);
            let last = match (rows.pop_last(), before) {
                (Some((_, entries)), _) => entries,
                (None, Some((position, row))) => feed::decode(position, &row)
                    .map_err(|why| WriteError::poisoned(&format!("feed {position} cannot be read: {why}")))?,
                (None, None) => Vec::new(),
            };
            rows = kept;
            let rest: Vec<_> = last.into_iter().filter(|entry| entry.position >= begin).collect();
            if !rest.is_empty() {
                rows.insert(begin, rest);
            }
        }
        if !rows.is_empty() {
            let (positions, bytes): (Vec<i64>, Vec<Vec<u8>>) =
                rows.iter().map(|(position, entries)| (int(*position), feed::encode(*position, entries))).unzip();
            self.push(FEED, vec![Box::new(positions), Box::new(bytes)]);
        }
        Ok(())
    }

    fn frames(&mut self, sum: &Sum<'a>) {
        let frames = sum.appends.iter().filter_map(|append| Some((append.mission, append.frame.as_ref()?)));
        let mut frames: Vec<_> = frames.collect();
        if frames.is_empty() {
            return;
        }
        frames.sort_unstable_by_key(|(mission, frame)| (*mission, frame.first));
        let missions: Vec<i64> = frames.iter().map(|(mission, _)| int(*mission)).collect();
        let firsts: Vec<i64> = frames.iter().map(|(_, frame)| i64::from(frame.first)).collect();
        let rows: Vec<&'a [u8]> = frames.iter().map(|(_, frame)| frame.bytes.as_slice()).collect();
        self.push(FRAMES, vec![Box::new(missions), Box::new(firsts), Box::new(rows)]);
    }

    /// The last head of each mission counts. Its names are columns, so that none is there twice whoever writes. Before the first of them,
    /// the nameless give up theirs, unless they are returned; those of them that are mended get them back with their heads. One that
    /// begins is its share's, by all of its names.
    fn heads(&mut self, sum: &Sum<'a>, nameless: Vec<u64>) -> Result<Option<Vec<u64>>, WriteError> {
        let heads = sum.appends.iter().filter_map(|append| Some((append.mission, append.head.as_deref()?)));
        let heads = last_of_each(heads.collect());
        let begins = |append: &&Append| append.frame.as_ref().is_some_and(|frame| frame.first == 0);
        let begun: FxHashSet<u64> = sum.appends.iter().copied().filter(begins).map(|append| append.mission).collect();
        if heads.is_empty() {
            return Ok(Some(nameless));
        }
        if !nameless.is_empty() {
            let names: Vec<Vec<u8>> = nameless.iter().map(|mission| no_name(*mission)).collect();
            let missions: Vec<i64> = nameless.into_iter().map(int).collect();
            self.push(NAMES_GONE, vec![Box::new(missions), Box::new(names)]);
        }
        let (mut missions, mut rows, mut claims) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (mut ids, mut sources, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (mission, row) in heads {
            let head = Head::decode(mission, row).map_err(|why| {
                WriteError::poisoned(&format!("the head of mission {mission} was spoilt in memory: {why}"))
            })?;
            if begun.contains(&mission) {
                claims.insert(claims::id(&head.mission_id));
                claims.insert(claims::twin(&head.source, &head.idempotency_key));
                claims.insert(claims::home(&head.vp));
            }
            missions.push(int(mission));
            ids.push(head.mission_id.to_string().into_bytes());
            sources.push(head.source.to_string().into_bytes());
            keys.push(head.idempotency_key.to_string().into_bytes());
            rows.push(row);
        }
        let params: Vec<Param<'a>> =
            vec![Box::new(missions), Box::new(ids), Box::new(sources), Box::new(keys), Box::new(rows)];
        self.push(HEADS, params);
        if !claims.is_empty() {
            let claims: Vec<Vec<u8>> = claims.into_iter().collect();
            self.push(claims::KEEP, vec![Box::new(claims), Box::new(self.share)]);
        }
        Ok(None)
    }

    /// The last change of each mission's cursor counts.
    fn cursors(&mut self, sum: &Sum<'a>) {
        let changes = sum.appends.iter().filter_map(|append| Some((append.mission, append.cursor.as_ref()?)));
        let rows = last_of_each(changes.collect()).into_iter().map(|(mission, change)| match change {
            CursorChange::Set(row) => (mission, Some(row.as_slice())),
            CursorChange::Remove => (mission, None),
        });
        self.set_or_gone(rows.collect(), CURSORS, CURSORS_GONE);
    }

    fn quarantine(&mut self, sum: &Sum<'a>) {
        let rows = sum.appends.iter().filter_map(|append| {
            let quarantine = append.quarantine.as_ref()?;
            Some((append.mission, Some(quarantine.bytes.as_slice())))
        });
        self.set_or_gone(last_of_each(rows.collect()), QUARANTINE, REMOVE[3]);
    }

    fn pins(&mut self, sum: &Sum<'a>) {
        self.set_or_gone(last_of_each(sum.pins.clone()), PINS, PINS_GONE);
    }

    /// One row a mission at most, or none any more.
    fn set_or_gone(&mut self, rows: Vec<(u64, Option<&'a [u8]>)>, set: &'static str, gone: &'static str) {
        let (kept, removed): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, row)| row.is_some());
        if !removed.is_empty() {
            let missions: Vec<i64> = removed.iter().map(|(mission, _)| int(*mission)).collect();
            self.push(gone, vec![Box::new(missions)]);
        }
        if !kept.is_empty() {
            let missions: Vec<i64> = kept.iter().map(|(mission, _)| int(*mission)).collect();
            let rows: Vec<&'a [u8]> = kept.into_iter().filter_map(|(_, row)| row).collect();
            self.push(set, vec![Box::new(missions), Box::new(rows)]);
        }
    }

    /// What is left of each schedule once all that happened to it has.
    fn schedules(&mut self, changes: &[&'a Written]) {
        let mut plans: BTreeMap<&'a str, Plan<'a>> = BTreeMap::new();
        for Written { id, rows } in changes {
            let plan = plans.entry(id).or_default();
            let Some(rows) = rows else {
                *plan = Plan { gone: true, ..Plan::default() };
                continue;
            };
            if rows.anew {
                *plan = Plan { gone: true, ..Plan::default() };
            }
            plan.definition = rows.definition.as_deref().or(plan.definition);
            plan.position = Some(&rows.position);
            plan.fires.extend(rows.fires.iter().map(|(no, fire)| (*no, fire.as_slice())));
        }
        if plans.is_empty() {
            return;
        }
        let gone: Vec<&'a [u8]> = plans.iter().filter(|(_, plan)| plan.gone).map(|(id, _)| id.as_bytes()).collect();
        if !gone.is_empty() {
            SCHEDULES_GONE.iter().for_each(|sql| self.push(sql, vec![Box::new(gone.clone()), Box::new(self.share)]));
            self.push(claims::SCHEDULES_GONE, vec![Box::new(gone)]);
        }
        let made = plans.iter().filter(|(_, plan)| plan.definition.is_some());
        let made: Vec<Vec<u8>> = made.map(|(id, _)| claims::schedule(id)).collect();
        if !made.is_empty() {
            self.push(claims::KEEP, vec![Box::new(made), Box::new(self.share)]);
        }
        let mut texts = |sql, of: fn(&Plan<'a>) -> Option<&'a [u8]>| {
            let rows = plans.iter().filter_map(|(id, plan)| Some((id.as_bytes(), of(plan)?)));
            let (ids, rows): (Vec<&'a [u8]>, Vec<&'a [u8]>) = rows.unzip();
            if !ids.is_empty() {
                self.push(sql, vec![Box::new(ids), Box::new(rows), Box::new(self.share)]);
            }
        };
        texts(SCHEDULES, |plan| plan.definition);
        texts(POSITIONS, |plan| plan.position);
        let (mut ids, mut numbers, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pruned, mut until) = (Vec::new(), Vec::new());
        for (id, plan) in &plans {
            let Some((newest, _)) = plan.fires.last_key_value() else { continue };
            pruned.push(id.as_bytes());
            until.push(int(newest.saturating_sub(FIRES_MAX)));
            for (no, fire) in &plan.fires {
                ids.push(id.as_bytes());
                numbers.push(int(*no));
                rows.push(*fire);
            }
        }
        if !ids.is_empty() {
            self.push(FIRES, vec![Box::new(ids), Box::new(numbers), Box::new(rows), Box::new(self.share)]);
            self.push(FIRES_PRUNE, vec![Box::new(pruned), Box::new(until), Box::new(self.share)]);
        }
    }

    fn actions(&mut self, actions: &[&'a str], last: &mut u64) {
        if actions.is_empty() {
            return;
        }
        let (mut numbers, mut rows) = (Vec::new(), Vec::new());
        for text in actions {
            *last += 1;
            numbers.push(int(*last));
            rows.push(actions::sealed(*last, text));
        }
        self.push(ACTIONS, vec![Box::new(numbers), Box::new(rows)]);
        let floor = int(ShareNo::of(*last).floor());
        self.push(ACTIONS_PRUNE, vec![Box::new(int(last.saturating_sub(ACTIONS_MAX))), Box::new(floor)]);
    }

    fn balances(&mut self, sum: &Sum<'a>, books: &mut Books) {
        let moved = books.moved(sum.movements.iter().copied());
        if let Some(key) = moved.forgotten_below {
            self.push(BALANCES_PRUNE, vec![Box::new(key.into_bytes()), Box::new(self.share)]);
        }
        if !moved.rows.is_empty() {
            let (keys, rows): (Vec<Vec<u8>>, Vec<Vec<u8>>) = moved.rows.into_iter().unzip();
            self.push(BALANCES, vec![Box::new(keys), Box::new(rows), Box::new(self.share)]);
        }
    }
}

/// In the place of a mission's names: no two have the same, and no text has its first byte.
fn no_name(mission: u64) -> Vec<u8> {
    let mut name = vec![0xff];
    name.extend(mission.to_be_bytes());
    name
}

/// What is left of a schedule.
#[derive(Default)]
struct Plan<'a> {
    /// Nothing that was there before stays.
    gone: bool,
    definition: Option<&'a [u8]>,
    position: Option<&'a [u8]>,
    fires: BTreeMap<u64, &'a [u8]>,
}

/// The statement that comes first: for whoever has this share by this token, and this lease, in seconds.
pub(super) fn store(meta: Meta, (share, token): (ShareNo, i64), lease_s: f64) -> (&'static str, [Param<'static>; 6]) {
    let Meta { commits, position, last_no, .. } = meta;
    let params: [Param<'static>; 6] = [
        Box::new(token),
        Box::new(int(commits)),
        Box::new(int(position)),
        Box::new(int(last_no)),
        Box::new(lease_s),
        Box::new(hold::no(share)),
    ];
    (STORE, params)
}
