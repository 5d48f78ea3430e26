//! What a plugin does: a program whose every step depends on all answers that it got, so that a replay with one wrong answer
//! does something else.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use serde_json::json;
use sortie_contract::outcome;
use sortie_contract::plugin::Verdict;

/// Calls that a plugin has begun and not looked at, at most.
const HANDLES_MAX: usize = 4;

/// Models that a thrifty plugin asks at once, how often, and what each of them may take of its ten cents.
pub(crate) const TOGETHER: u32 = 8;
const ROUNDS: u32 = 2;
pub(crate) const CENTS: u64 = 3;

/// The next thing that a plugin does. A number is the place of one of its handles.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Call {
        tool: &'static str,
        arguments: String,
    },
    /// Of a mission.
    Dispatch(String),
    /// Of a model, which may ask for this tool.
    Think {
        request: String,
        tool: Option<&'static str>,
    },
    Ask(String),
    After(Duration),
    Wait(usize),
    WaitAny,
    GiveUp(usize),
    Now,
    Milestone(String),
    Log(String),
    Judge(outcome::Verdict),
    Put(&'static str, Vec<u8>),
    Get(&'static str),
    Describe(&'static str),
    Models,
    Deadline,
    Left,
    Closing,
    Land,
    Crash,
    End(Verdict),
}

/// A program and how far it is. It has no clock and no dice: what it does next follows from what it was told.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    told: u64,
    left: u32,
    /// Rounds of models that are asked at once, and how many of this one are to be asked.
    rounds: u32,
    together: u32,
    /// It dispatches missions.
    has_children: bool,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let told = mix(&(seed, "script"));
        Self { told, left: 2 + u32::try_from(told % 10).expect("a digit"), rounds: 0, together: 0, has_children: false }
    }

    /// One that does nothing but ask models, all at once.
    pub(crate) fn thrifty(seed: u64) -> Self {
        Self { left: 0, rounds: ROUNDS, ..Self::new(seed) }
    }

    /// One that dispatches missions, and stands below so many itself: the deeper, the less it does.
    pub(crate) fn of_a_family(seed: u64, depth: u32) -> Self {
        let script = Self::new(seed);
        Self { left: script.left / (1 + depth) + 1, has_children: true, ..script }
    }

    /// Takes an answer in.
    pub(crate) fn told(&mut self, answer: &str) {
        self.told = mix(&(self.told, answer));
    }

    /// What it does now, with so many handles in its hands; one of them may be the signal that a limit comes near.
    pub(crate) fn next(&mut self, handles: usize, signal: Option<usize>) -> Op {
        self.told = mix(&(self.told, self.left, self.together));
        let dice = self.told;
        let pick = |sides: u64, of: u64| (dice / of) % sides;
        if self.rounds > 0 && handles == 0 {
            (self.rounds, self.together) = (self.rounds - 1, TOGETHER);
        }
        if self.together > 0 {
            self.together -= 1;
            return Op::Think { request: format!(r#"{{"model":"plain","cents":{CENTS},"no":{dice}}}"#), tool: None };
        }
        if self.rounds > 0 {
            return self.wait(handles);
        }
        if self.left == 0 {
            // Mostly it does not want to be told of a limit that may be hours away.
            if let Some(place) = signal.filter(|_| pick(8, 9) > 0) {
                return Op::GiveUp(place);
            }
            // What it does not wait for, it leaves behind.
            let waits = handles > 0 && pick(8, 1) > 0;
            return match pick(40, 80) {
                _ if waits => self.wait(handles),
                0 => Op::Crash,
                _ => Op::End(end(pick(10, 8))),
            };
        }
        if handles >= HANDLES_MAX || (handles > 0 && pick(3, 1) == 0) {
            return self.wait(handles);
        }
        self.left -= 1;
        if self.has_children && pick(3, 13) == 0 {
            return Op::Dispatch(order(dice / 39));
        }
        match pick(50, 3) {
            0..=2 => self.call("Read"),
            3..=5 => self.call("Write"),
            6..=10 => self.call("Edit"),
            11..=13 => self.call("Buy"),
            14 => self.call("Mail"),
            15 => self.call("Rm"),
            16 | 17 => Op::Ask(format!("Which of the {} is it?", dice % 1_000)),
            18 => Op::After(Duration::from_secs(1 + dice % 7_200)),
            19 => Op::Now,
            20 => Op::Milestone(format!("milestone {}", dice % 1_000)),
            21 => Op::Log(format!("line {}", dice % 1_000)),
            22 => Op::Judge(if pick(5, 100) > 0 { outcome::Verdict::Met } else { outcome::Verdict::Unmet }),
            23 => Op::Get(name(pick(2, 100))),
            24 => Op::Describe(if pick(2, 100) == 0 { "Read" } else { "Edit" }),
            25 | 26 => self.call("shop__Order"),
            27 => self.call("shop__Note"),
            28 | 29 => self.call("shop__Look"),
            30 => Op::Describe("shop__Look"),
            31..=39 => self.think(),
            40 => Op::Models,
            41 => Op::Deadline,
            42 => Op::Left,
            43..=45 if signal.is_none() => Op::Closing,
            46 => Op::Land,
            _ => Op::Put(name(pick(2, 100)), dice.to_string().into_bytes()),
        }
    }

    fn call(&self, tool: &'static str) -> Op {
        Op::Call { tool, arguments: format!("{{\"what\":{}}}", self.told % 1_000_000) }
    }

    fn think(&self) -> Op {
        let dice = self.told / 11;
        let request = match dice % 24 {
            0 => "no JSON".to_owned(),
            1..=4 => format!(r#"{{"model":"rare","no":{dice}}}"#),
            5 => r#"{"model":"none"}"#.to_owned(),
            _ => format!(r#"{{"model":"plain","no":{dice}}}"#),
        };
        Op::Think { request, tool: (dice.is_multiple_of(5)).then_some("Read") }
    }

    fn wait(&self, handles: usize) -> Op {
        let one = usize::try_from(self.told / 1_000).unwrap_or_default() % handles;
        match (self.told / 7) % 10 {
            0 => Op::GiveUp(one),
            1..=3 => Op::Wait(one),
            _ => Op::WaitAny,
        }
    }
}

/// What a child is to do and may spend: mostly less than its parent has, now and then more.
fn order(dice: u64) -> String {
    let pick = |sides: u64, of: u64| (dice / of) % sides;
    let mut order = json!({
        "objective": format!("Do the part {}.", dice % 1_000),
        "mission_type": "automation",
        "inputs": { "steps": [] },
        "constraints": { "allowed_tools": ["Read", "Write", "Edit", "Buy"] },
    });
    match pick(8, 1) {
        0 => order["constraints"]["allowed_tools"] = json!(["Read", "Rm"]),
        1 => order["mission_id"] = json!("m0"),
        _ => {}
    }
    match pick(4, 8) {
        0 => {}
        1 => order["budget"] = json!({ "max_llm_calls": 1 + pick(3, 32), "max_cost_usd": 0.2 }),
        2 => order["budget"] = json!({ "max_cost_usd": 0.1 }),
        _ => order["budget"] = json!({ "max_llm_calls": 2, "max_cost_usd": 0.4, "max_runtime_minutes": 300 }),
    }
    order.to_string()
}

/// The script of a child.
pub(crate) fn of_child(parent: u64, call: u32) -> u64 {
    mix(&(parent, call, "child"))
}

fn name(dice: u64) -> &'static str {
    if dice == 0 { "report.md" } else { "data.csv" }
}

fn end(dice: u64) -> Verdict {
    if dice > 0 {
        return Verdict::Done { summary: "Done.".to_owned(), next_action: None };
    }
    Verdict::Failed { summary: "It cannot be done.".to_owned(), tool: None, next_action: None }
}

fn mix(of: &impl Hash) -> u64 {
    // Keys of zero: the same numbers each time.
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
