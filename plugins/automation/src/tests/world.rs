//! A world with a clock that jumps to the next thing that happens, and a record of everything that was done.

use core::time::Duration;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value as Json, json};
use sortie_plugin::CallError;

use crate::World;

/// Most calls, timers and signals that a node holds for a mission.
const HANDLES_MAX: usize = 64;

/// How a simulated tool answers: after so many milliseconds, with this.
pub(super) type Answer = (u64, Result<Json, CallError>);

/// Answers all calls of a mission.
type Tools = Box<dyn FnMut(&str, &Json) -> Answer>;

/// The simulation.
pub(super) struct Simulated {
    held: Vec<&'static str>,
    /// What the arguments of tools must be; of others nothing is known.
    pub(super) schemas: BTreeMap<&'static str, Json>,
    answer: Tools,
    now_ms: u64,
    /// When a limit of the mission comes near; never, unless a test says so.
    pub(super) closing_ms: u64,
    in_flight: Rc<Cell<usize>>,
    /// Calls, timers and signals that are held.
    handles: Rc<Cell<usize>>,
    /// Most calls that were in flight together.
    pub(super) in_flight_max: usize,
    /// How often the time was asked for: the node writes down each answer.
    pub(super) asked_now: usize,
    /// How often something was waited for.
    pub(super) waits: usize,
    /// What was done, with its time in milliseconds.
    pub(super) log: Vec<String>,
}

/// A call or a timer that ends at a known time.
pub(super) struct Pending {
    due_ms: u64,
    result: Result<Json, CallError>,
    amended: Option<Json>,
    call: Option<Rc<Cell<usize>>>,
    handles: Rc<Cell<usize>>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.handles.set(self.handles.get() - 1);
        if let Some(in_flight) = &self.call {
            in_flight.set(in_flight.get() - 1);
        }
    }
}

impl Simulated {
    /// A world in which a mission holds `tools`, which answer as `answer` says.
    pub(super) fn new(tools: &[&'static str], answer: impl FnMut(&str, &Json) -> Answer + 'static) -> Self {
        let held = tools.to_vec();
        Self {
            held,
            schemas: BTreeMap::new(),
            answer: Box::new(answer),
            now_ms: 0,
            closing_ms: u64::MAX,
            in_flight: Rc::default(),
            handles: Rc::default(),
            in_flight_max: 0,
            asked_now: 0,
            waits: 0,
            log: Vec::new(),
        }
    }

    /// A world in which the tool `Echo` answers its arguments after 10 ms, or after its argument `ms`.
    pub(super) fn echo() -> Self {
        Self::new(&["Echo"], |_, arguments| {
            let ms = arguments.get("ms").and_then(Json::as_u64).unwrap_or(10);
            match arguments.get("fail").and_then(Json::as_str) {
                Some(why) => (ms, Err(CallError::Failed(why.to_owned()))),
                None => (ms, Ok(arguments.clone())),
            }
        })
    }

    /// Something that is ready at a time. A node holds 64 of them for a mission, and answers with a failure behind that.
    fn pending(&self, due_ms: u64) -> Pending {
        self.handles.set(self.handles.get() + 1);
        assert!(self.handles.get() <= HANDLES_MAX, "a node holds no more than {HANDLES_MAX}");
        let handles = Rc::clone(&self.handles);
        Pending { due_ms, result: Ok(json!(null)), amended: None, call: None, handles }
    }

    fn note(&mut self, what: &str) {
        self.log.push(format!("{} {what}", self.now_ms));
    }
}

impl World for Simulated {
    type Pending = Pending;

    fn holds(&self, tool: &str) -> bool {
        self.held.iter().any(|held| held.eq_ignore_ascii_case(tool))
    }

    fn tools(&self) -> Vec<String> {
        self.held.iter().map(|tool| (*tool).to_owned()).collect()
    }

    fn schema(&self, tool: &str) -> Option<Json> {
        self.schemas.iter().find(|(held, _)| held.eq_ignore_ascii_case(tool)).map(|(_, schema)| schema.clone())
    }

    fn start(&mut self, tool: &str, arguments: &Json) -> Result<Pending, CallError> {
        if !self.holds(tool) {
            return Err(CallError::Denied("not granted".into()));
        }
        let is_first = !self.log.iter().any(|line| line.ends_with(&format!(" {tool} {arguments}")));
        self.note(&format!("{tool} {arguments}"));
        self.in_flight.set(self.in_flight.get() + 1);
        self.in_flight_max = self.in_flight_max.max(self.in_flight.get());
        // Whoever approves it puts this in the place of its arguments.
        let amended_first = arguments.get("amended_first").filter(|_| is_first);
        let amended = arguments.get("amended").or(amended_first).cloned();
        let (ms, result) = (self.answer)(tool, amended.as_ref().unwrap_or(arguments));
        let mut call = self.pending(self.now_ms + ms);
        (call.result, call.amended, call.call) = (result, amended, Some(Rc::clone(&self.in_flight)));
        Ok(call)
    }

    fn after(&mut self, duration: Duration) -> Pending {
        let ms = u64::try_from(duration.as_millis()).expect("durations of tests are short");
        self.pending(self.now_ms + ms)
    }

    fn now_ms(&mut self) -> u64 {
        self.asked_now += 1;
        self.now_ms
    }

    fn wait_any(&mut self, pending: &[&Pending]) -> usize {
        self.waits += 1;
        let (index, first) = pending.iter().enumerate().min_by_key(|(_, pending)| pending.due_ms).expect("never none");
        self.now_ms = self.now_ms.max(first.due_ms);
        index
    }

    fn result(&mut self, call: &Pending) -> Result<Json, CallError> {
        assert!(call.due_ms <= self.now_ms, "only a ready call is asked");
        call.result.clone()
    }

    fn amended(&mut self, call: &Pending) -> Option<Json> {
        call.amended.clone()
    }

    fn closing(&mut self) -> Pending {
        self.pending(self.closing_ms)
    }

    fn land(&mut self) {
        self.note("land");
    }

    fn milestone(&mut self, text: &str) {
        self.note(&format!("milestone {text}"));
    }

    fn warn(&mut self, text: &str) {
        self.note(&format!("warn {text}"));
    }

    fn judge(&mut self, criterion: usize, met: bool, evidence: &str) {
        self.note(&format!("judge {criterion} {met} {evidence}"));
    }

    fn put(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), String> {
        if name.contains("..") {
            return Err("no such name".into());
        }
        self.note(&format!("put {name} {media_type} {}", String::from_utf8_lossy(bytes)));
        Ok(())
    }

    fn put_file(&mut self, name: &str, media_type: &str, path: &str) -> Result<(), String> {
        self.note(&format!("put_file {name} {media_type} {path}"));
        Ok(())
    }
}
