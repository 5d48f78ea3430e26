//! A disk for tests: it loses what was not synced, tears what was being written, fills up, and can do so at every write.
//!
//! [`SimDisk`] answers reads with everything that was written, as a kernel does. [`SimDisk::after_crash`] gives the disk
//! that is found after the process ([`Crash::Process`]) or the power ([`Crash::Power`]) was lost. And a store that is far away:
//! [`FarLog`].

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{ReadableTable as _, StorageBackend};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::MissionType;
use sortie_contract::{MissionNo, Status, Timestamp};

use crate::head::Head;
use crate::table::{CURSORS, FRAMES, HEADS, POSITIONS, RECORD_LAST, SCHEDULES};

pub use crate::log::far::{FarLink, FarLog, Fate, Road, Went};

/// What a disk writes as one: a loss of power keeps or loses each of these on its own.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    view: Vec<u8>,
    /// What the last sync left.
    synced: Vec<u8>,
    /// What has happened since, in order.
    unsynced: Vec<Op>,
    /// Writes, changes of length and syncs so far.
    ops: u64,
    /// The operation that fails, and all after it.
    fail_at: Option<u64>,
    bytes_max: Option<u64>,
}

#[derive(Debug, Clone)]
enum Op {
    Write {
        offset: u64,
        data: Vec<u8>,
        /// It was refused: reads do not see it, though half of it may be there after a loss of power.
        refused: bool,
    },
    SetLen(u64),
}

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process: the kernel keeps everything that was written.
    Process,
    /// The power: of what was not synced, each sector is kept or lost, as the seed has it.
    Power {
        /// Of the choice.
        seed: u64,
    },
    /// The power, with nothing kept that was not synced.
    PowerKeepsNothing,
}

impl SimDisk {
    /// Fails the operation (write, change of length, sync) with this number, from 0, and all later ones.
    pub fn fail_at(&self, op: u64) {
        self.state.lock().fail_at = Some(op);
    }

    /// Has room for so many bytes.
    pub fn fills_at(&self, bytes: u64) {
        self.state.lock().bytes_max = Some(bytes);
    }

    /// Has every place that holds these bytes hold others, as many, while a journal may have it open.
    ///
    /// # Panics
    /// Where there is none.
    pub fn garble(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let State { view, synced, .. } = &mut *state;
        let mut garbled = 0;
        for disk in [view, synced] {
            for at in 0..disk.len().saturating_sub(bytes.len() - 1) {
                if disk[at..].starts_with(bytes) {
                    disk[at..at + bytes.len()].fill(b'?');
                    garbled += 1;
                }
            }
        }
        assert!(garbled > 0, "nothing like that is on the disk");
    }

    /// How many operations there were.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state.lock().ops
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.lock().view.len() as u64
    }

    /// The disk that is found afterwards; this one is left as it is.
    #[must_use]
    pub fn after_crash(&self, crash: Crash) -> Self {
        let state = self.state.lock();
        let mut found = state.synced.clone();
        match crash {
            Crash::Process => found.clone_from(&state.view),
            Crash::PowerKeepsNothing => {}
            Crash::Power { seed } => {
                let mut coin = Coin(seed);
                state.unsynced.iter().for_each(|op| op.replay_torn(&mut found, &mut coin));
            }
        }
        let state = State { view: found.clone(), synced: found, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl State {
    fn begin(&mut self) -> io::Result<()> {
        let op = self.ops;
        self.ops += 1;
        match self.fail_at {
            Some(at) if op >= at => Err(io::Error::other("the simulated disk is gone")),
            _ => Ok(()),
        }
    }

    fn room_for(&self, bytes: u64) -> io::Result<()> {
        match self.bytes_max {
            Some(max) if bytes > max => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Op {
    fn replay(&self, disk: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => disk.resize(position(*len), 0),
            Self::Write { refused: true, .. } => {}
            Self::Write { offset, data, refused: false } => write(disk, position(*offset), data),
        }
    }

    fn replay_torn(&self, disk: &mut Vec<u8>, coin: &mut Coin) {
        match self {
            // A journaling file system keeps the order of its own data: a length is lost only with all that follows, which
            // the writes behind the end of the file then bring back.
            Self::SetLen(_) => self.replay(disk),
            Self::Write { offset, data, .. } => {
                for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                    if coin.toss() {
                        write(disk, position(*offset) + index * SECTOR_BYTES, sector);
                    }
                }
            }
        }
    }
}

fn write(disk: &mut Vec<u8>, at: usize, data: &[u8]) {
    disk.resize(disk.len().max(at + data.len()), 0);
    disk[at..at + data.len()].copy_from_slice(data);
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated disk fits into memory")
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().view.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        let bytes = state.view.get(position(offset)..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin()?;
        let op = Op::SetLen(len);
        op.replay(&mut state.view);
        state.unsynced.push(op);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin()?;
        let State { synced, unsynced, .. } = &mut *state;
        // What this comes to is `view`, without a copy of all of it.
        unsynced.drain(..).for_each(|op| op.replay(synced));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let outcome = state.begin().and_then(|()| state.room_for(offset + data.len() as u64));
        let op = Op::Write { offset, data: data.to_vec(), refused: outcome.is_err() };
        op.replay(&mut state.view);
        state.unsynced.push(op);
        outcome
    }
}

/// A row of a mission, or some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Its frame that has this place among them, from 0.
    Frame(usize),
    /// Its head.
    Head,
    /// Its cursor.
    Cursor,
}

/// Has these rows of a mission go bad on a disk that no journal has open, as a disk that keeps something else than was written. Each
/// must be there.
///
/// # Panics
/// Where one is not.
pub fn spoil(disk: &SimDisk, mission: MissionNo, spots: &[Spot]) {
    let spoil = || -> Result<(), redb::Error> {
        let db = redb::Database::builder().create_with_backend(disk.clone())?;
        let transaction = db.begin_write()?;
        for spot in spots {
            let (garbage, no) = (b"not what was written".as_slice(), mission.0);
            let was_there = match spot {
                Spot::Head => transaction.open_table(HEADS)?.insert(no, garbage)?.is_some(),
                Spot::Cursor => transaction.open_table(CURSORS)?.insert(no, garbage)?.is_some(),
                Spot::Frame(place) => {
                    let mut frames = transaction.open_table(FRAMES)?;
                    let key = frames.range((no, 0)..=(no, RECORD_LAST))?.nth(*place).transpose()?;
                    let key = key.map(|(key, _)| key.value());
                    key.map(|key| frames.insert(key, garbage).map(drop)).transpose()?.is_some()
                }
            };
            assert!(was_there, "mission {mission} has no {spot:?}");
        }
        transaction.commit()?;
        Ok(())
    };
    spoil().expect("a disk that can be written");
}

/// A row of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// What it is.
    Definition,
    /// How far it has come.
    Position,
}

/// The same of a row of a schedule.
///
/// # Panics
/// Where it is not there.
pub fn spoil_schedule(disk: &SimDisk, id: &str, row: Row) {
    let spoil = || -> Result<(), redb::Error> {
        let db = redb::Database::builder().create_with_backend(disk.clone())?;
        let transaction = db.begin_write()?;
        let table = match row {
            Row::Definition => SCHEDULES,
            Row::Position => POSITIONS,
        };
        let was_there = transaction.open_table(table)?.insert(id, b"not what was written".as_slice())?.is_some();
        assert!(was_there, "schedule {id} has no {row:?}");
        transaction.commit()?;
        Ok(())
    };
    spoil().expect("a disk that can be written");
}

/// A coin that falls the same way for the same seed (splitmix64).
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 63 == 1
    }
}

/// A head with nothing special about it.
///
/// # Panics
/// Never: its texts are valid.
#[must_use]
pub fn sample_head(mission: u64) -> Head {
    let text = |name: &str| format!("{name}-{mission}");
    Head {
        mission_id: text("mission").parse().expect("a valid id"),
        source: "control".parse().expect("a valid id"),
        idempotency_key: text("key").parse().expect("a valid id"),
        envelope: Digest::of(b"envelope"),
        status: Status::Queued,
        mission_type: MissionType::Automation,
        vp: "vp".parse().expect("a valid id"),
        session: text("vp.session").parse().expect("a valid id"),
        lane: "lane".parse().expect("a valid id"),
        trace_id: text("trace").parse().expect("a valid id"),
        accepted_at: Timestamp::UNIX_EPOCH,
        start_at: None,
        end_at: None,
        has_callback: false,
        suspended: false,
        due: None,
        ended_at: None,
        crashes: 0,
        outlived: 0,
        overview: None,
    }
}
