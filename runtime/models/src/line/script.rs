//! A model that answers from a file: in order, or by what it is asked. For tests and demonstrations, without a provider.
//!
//! What it yields is raw, as from a network: the body of an answer, an error's status, a connection that breaks. So its faults go
//! through the same hands as those of providers.

mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::json;
use sortie_ambient::Surroundings;

pub(crate) use self::file::{ENTRIES_MAX, FILE_BYTES_MAX};
use self::file::{Entry, Fault, Say, When};
use super::{Broken, Reply};
use crate::answer::{StopReason, Usage};
use crate::protocol::{Count, Round, Turn, Unreadable, bounded, object, texts};
use crate::request::{Block, Request, blocks};

/// Most missions whose place in the script is known: more than run at once. Of others the one that asked longest ago begins anew.
const MISSIONS_MAX: usize = 16_384;

/// A token for so many bytes begun, where the script does not say.
const BYTES_A_TOKEN: usize = 4;

/// Answers from a file.
pub(crate) struct Script {
    /// Where it lies, for who runs the node.
    file: String,
    entries: Vec<Entry>,
    ambient: Surroundings,
    places: Mutex<Places>,
}

/// How often each entry has answered, by mission.
#[derive(Debug, Default)]
struct Places {
    missions: FxHashMap<String, Place>,
    /// Missions by when they asked last.
    by_turn: BTreeMap<u64, String>,
    asked: u64,
}

#[derive(Debug, Default)]
struct Place {
    turn: u64,
    /// Only of entries that are used up at some time.
    used: FxHashMap<usize, u32>,
}

impl Script {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, with the line or the place.
    pub(crate) fn read(path: &Path, ambient: Surroundings) -> Result<Self, String> {
        let entries = file::read(path)?;
        Ok(Self { file: path.display().to_string(), entries, ambient, places: Mutex::default() })
    }

    /// What the script answers to this round.
    pub(crate) async fn exchange(&self, round: &Round<'_>, mission_id: &str) -> Result<Reply, Broken> {
        loop {
            let Some(entry) = self.next(round, mission_id) else {
                let why = format!(
                    "its script has no answer for this request (after {} answers of the assistant): none of its {} entries fits, or those \
                     that do are used up",
                    round.request.turn(),
                    self.entries.len()
                );
                return Err(Broken::AtHome { why, host: format!("the script is {}", self.file) });
            };
            let good = |body: String| Ok(Reply { status: 200, wait: None, body });
            match &entry.say {
                Say::Answer { content, stop_reason, usage } => {
                    let usage = usage.unwrap_or_else(|| counted(round, content));
                    let body = json!({ "content": content, "stop_reason": stop_reason, "usage": usage });
                    return good(body.to_string());
                }
                Say::Fault(Fault::Status { status, retry_after }) => {
                    let body = json!({ "error": { "message": format!("the script says {status}") } }).to_string();
                    return Ok(Reply { status: *status, wait: *retry_after, body });
                }
                Say::Fault(Fault::Cut) => return Err(Broken::Cut("the script cuts it".to_owned())),
                Say::Fault(Fault::Malformed(body)) => return good(body.clone()),
                // Who still waits then gets the next one.
                Say::Fault(Fault::Hang(time)) => self.ambient.sleep(*time).await,
            }
        }
    }

    /// The first entry that fits and is not used up.
    fn next(&self, round: &Round<'_>, mission_id: &str) -> Option<&Entry> {
        let mut places = self.places.lock();
        let place = places.of(mission_id);
        let (index, entry) = self.entries.iter().enumerate().find(|(index, entry)| {
            let is_left = entry.times.is_none_or(|times| place.used.get(index).is_none_or(|used| *used < times));
            is_left && entry.when.fits(round)
        })?;
        if entry.times.is_some() {
            *place.used.entry(index).or_default() += 1;
        }
        Some(entry)
    }
}

impl Places {
    fn of(&mut self, mission_id: &str) -> &mut Place {
        self.asked += 1;
        let turn = self.asked;
        if !self.missions.contains_key(mission_id) {
            if self.missions.len() >= MISSIONS_MAX
                && let Some((_, oldest)) = self.by_turn.pop_first()
            {
                self.missions.remove(&oldest);
            }
            self.missions.insert(mission_id.to_owned(), Place::default());
        }
        let place = self.missions.get_mut(mission_id).expect("it was put in where it was not there");
        self.by_turn.remove(&place.turn);
        place.turn = turn;
        self.by_turn.insert(turn, mission_id.to_owned());
        place
    }
}

impl When {
    fn fits(&self, round: &Round<'_>) -> bool {
        self.turn.is_none_or(|turn| round.request.turn() == turn)
            && self.contains.as_ref().is_none_or(|text| said(round.request).any(|said| said.contains(text.as_str())))
    }
}

/// Every text of a request: what a script looks into, and what it counts.
fn said(request: &Request) -> impl Iterator<Item = String> {
    let system = request.system.iter().cloned();
    system.chain(request.messages.iter().flat_map(|message| message.content.iter().map(words)))
}

fn words(block: &Block) -> String {
    match block {
        Block::Text { text } => text.clone(),
        Block::ToolUse { input, .. } => serde_json::Value::Object(input.clone()).to_string(),
        Block::ToolResult { content, .. } => texts(content),
        Block::Image(_) | Block::Reasoning(_) => String::new(),
    }
}

fn counted(round: &Round<'_>, content: &[Block]) -> Usage {
    let tokens = |bytes: usize| bytes.div_ceil(BYTES_A_TOKEN) as u64;
    Usage {
        input_tokens: tokens(said(round.request).map(|said| said.len()).sum()),
        output_tokens: tokens(content.iter().map(|block| words(block).len()).sum()),
        cached_input_tokens: 0,
        estimated: false,
    }
}

/// What is sent: nobody reads it, and what it would be at most is what a quote counts.
pub(crate) fn render(round: &Round<'_>) -> serde_json::Value {
    json!({
        "system": round.system(),
        "messages": round.request.messages,
        "tools": round.tools,
        "output_schema": round.schema(),
    })
}

/// Reads the body of an answer.
pub(crate) fn read(body: &str) -> Result<Turn, Unreadable> {
    let mut value = object(body)?;
    let usage = serde_json::from_value(value["usage"].take()).ok().map(Count::of);
    let content = blocks(value["content"].take(), "content").map_err(|why| Unreadable::new(why).counted(usage))?;
    let stop_reason: StopReason = serde_json::from_value(value["stop_reason"].take())
        .map_err(|error| Unreadable::new(format!("stop_reason: {error}")).counted(usage))?;
    let content = bounded(content).map_err(|error| error.counted(usage))?;
    Ok(Turn { content, stop_reason, usage })
}

/// How long a script may let somebody wait, in seconds: a day.
pub(crate) const WAIT_SECONDS_MAX: f64 = 86_400.0;

/// A number of seconds as a time.
fn seconds(seconds: f64) -> Option<Duration> {
    (0.0..=WAIT_SECONDS_MAX).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
