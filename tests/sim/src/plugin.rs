//! What a plugin asks, and what its node makes of it: an answer of the record, or a command to the core.

use std::time::Duration;

use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::plugin::{Crash, LogLevel};
use sortie_contract::record::{ArtifactSource, HostQuestion, Record};
use sortie_contract::tool::CallError;
use sortie_contract::{Spend, Timestamp};
use sortie_mission::replay::{Asked, Contents, Recorded};
use sortie_mission::{Command, Ending, Refusal};

use crate::envelope::{PRICE_MAX, tools};
use crate::node::Stage;
use crate::run::{Handle, Run, Waits};
use crate::script::Op;
use crate::world::{Stray, World};

/// Why a run does not go on.
enum Stop {
    /// It has ended by itself, or has to.
    Ended(Ending),
    /// The mission is over, or this run is.
    Over,
}

impl From<Crash> for Stop {
    fn from(crash: Crash) -> Self {
        Self::Ended(Ending::Crashed(crash))
    }
}

impl World {
    /// A mission gets its turn.
    pub(crate) fn turn(&mut self) {
        let Some(no) = self.node.queue.pop(self.wall) else { return };
        let client = self.client_of(no);
        if let Err(refusal) =
            self.command(client, Command::Start { tools: &tools(), memory_bytes_max: 64 << 20, alone: false })
        {
            assert!(matches!(refusal, Refusal::NotYet { .. }), "{refusal}");
            // The clock was set back in this moment: it waits again.
            self.node.queue.release(no);
            let waiting = self.side(client).waiting();
            return self.node.queue.push(&waiting);
        }
        let Some(run) = self.mission(client).run() else { return };
        let before = self.outside.clients[client].script;
        let seed = if self.outside.clients[client].moody { before + u64::from(run.0) } else { before };
        let side = self.node.sides.get_mut(&client).expect("it has a mission");
        let run = Run::new(run, seed, side);
        if run.recorded > 0 {
            self.history.count("run that begins with a replay");
        }
        side.run = Some(run);
    }

    /// One step of a plugin that does not wait, or need not any longer.
    pub(crate) fn plugin_step(&mut self, client: usize) {
        let window = self.mission(client).envelope().window;
        assert!(window.end_at.is_none_or(|end| self.wall < end), "it runs after its window");
        assert!(
            self.was_set_back || window.start_at.is_none_or(|start| start <= self.wall),
            "it runs before its window"
        );
        assert!(!self.outside.clients[client].cancelled, "it runs after its cancel");
        let side = self.node.sides.get_mut(&client).expect("it has a mission");
        let mut run = side.run.take().expect("it is in memory");
        assert_eq!(side.mission.run(), Some(run.no), "a run that is over runs on");
        let went = match run.waits {
            Waits::No => {
                let op = run.script.next(run.handles.len());
                self.perform(client, &mut run, op)
            }
            Waits::One(place) => {
                self.take_answer(client, &mut run, place);
                Ok(())
            }
            Waits::Any => self.choose(client, &mut run),
        };
        let ending = match went {
            Ok(()) => {
                let side = self.node.sides.get_mut(&client).expect("it has a mission");
                if side.mission.run() == Some(run.no) {
                    side.run = Some(run);
                }
                return;
            }
            Err(Stop::Over) => return assert_ne!(self.mission(client).run(), Some(run.no), "it stops for nothing"),
            Err(Stop::Ended(ending)) => ending,
        };
        if matches!(ending, Ending::Crashed(Crash::Diverged { .. })) {
            self.history.count("replay that differs");
        }
        self.command(client, Command::PluginEnded { run: run.no, ending }).expect("its own end");
    }

    /// Whether the plugin of a mission can make a step.
    pub(crate) fn can_step(&self, client: usize) -> bool {
        let side = self.side(client);
        let Some(run) = &side.run else { return false };
        let is_ready = |handle: &Handle| handle.answer(side, self.steady_ms).is_some();
        match run.waits {
            Waits::No => true,
            Waits::One(place) => is_ready(&run.handles[place]),
            Waits::Any => run.handles.iter().any(is_ready),
        }
    }

    fn perform(&mut self, client: usize, run: &mut Run, op: Op) -> Result<(), Stop> {
        let no = run.no;
        match op {
            Op::Call { tool, arguments } => return self.call(client, run, tool, arguments),
            Op::Ask(question) => {
                let recorded = run.replay.next(Asked::Ask { question: &question })?;
                return self.begun(client, run, recorded, Command::Ask { run: no, question });
            }
            Op::After(duration) => return self.after(client, run, duration),
            Op::Wait(place) => run.waits = Waits::One(place),
            Op::WaitAny => match run.replay.next(Asked::Question(HostQuestion::WaitAny))? {
                Some(Recorded::Answer { answer, .. }) => {
                    let place = answer.parse().expect("a place");
                    assert!(place < run.handles.len(), "a choice among more than there are");
                    run.waits = Waits::One(place);
                }
                _ => run.waits = Waits::Any,
            },
            Op::GiveUp(place) => self.give_up(client, run, place),
            Op::Now => {
                let answer = match run.replay.next(Asked::Question(HostQuestion::Now))? {
                    Some(Recorded::Answer { answer, .. }) => answer,
                    _ => {
                        let answer = self.wall.as_millisecond().to_string();
                        self.answered(client, run, HostQuestion::Now, answer.clone())?;
                        answer
                    }
                };
                run.script.told(&answer);
            }
            Op::Milestone(text) => {
                if run.replay.next(Asked::Milestone { text: &text })?.is_none() {
                    self.tells(client, run, Command::Milestone { run: no, text })?;
                }
            }
            Op::Log(text) => {
                let level = LogLevel::Info;
                if run.replay.next(Asked::Log { level, text: &text })?.is_none() {
                    self.tells(client, run, Command::Log { run: no, level, text })?;
                }
            }
            Op::Judge(verdict) => {
                let (criterion, evidence) = (0, "It was looked at.".to_owned());
                if run.replay.next(Asked::Judge { criterion, verdict, evidence: &evidence })?.is_none() {
                    self.tells(client, run, Command::Judge { run: no, criterion, verdict, evidence })?;
                }
            }
            Op::Put(name) => {
                let artifact = artifact(name, &run.script.clone().next(0));
                let (media_type, contents) = (artifact.media_type.as_str(), Contents::Memory(artifact.sha256));
                if run.replay.next(Asked::Put { name, media_type, contents })?.is_none() {
                    self.tells(
                        client,
                        run,
                        Command::StoreArtifact { run: no, artifact, source: ArtifactSource::Memory },
                    )?;
                }
            }
            Op::End(verdict) => {
                run.replay.end()?;
                return Err(Stop::Ended(Ending::Returned(verdict)));
            }
        }
        Ok(())
    }

    fn call(&mut self, client: usize, run: &mut Run, name: &str, arguments: String) -> Result<(), Stop> {
        let known = tools();
        let tool = known.iter().find(|tool| tool.name.as_str() == name).expect("a tool of the node");
        let recorded = run.replay.next(Asked::Call { tool: &tool.name, arguments: &arguments })?;
        let digest = Digest::of(arguments.as_bytes());
        let quote = if name == "Buy" { Spend::money(PRICE_MAX) } else { Spend::NOTHING };
        self.begun(client, run, recorded, Command::Call { run: run.no, tool: tool.into(), arguments, digest, quote })
    }

    /// A call, or a question to people: recorded, or begun now.
    fn begun(
        &mut self,
        client: usize,
        run: &mut Run,
        recorded: Option<Recorded>,
        command: Command<'_>,
    ) -> Result<(), Stop> {
        let (call, recorded) = match recorded {
            Some(Recorded::Call { call, outcome }) => {
                assert_eq!(outcome.as_ref(), run.ended.get(&call), "call {call} is not told as it ended");
                if outcome.is_none() && self.mission(client).is_being_made(call) {
                    // It was being made when the last run broke off, or was let go on while nobody was there.
                    self.history.count("call that is made after a replay");
                    self.node.spawn(client, run.no, call);
                }
                (call, outcome)
            }
            Some(other) => panic!("the record answers a call with {other:?}"),
            None => match self.command(client, command).map_err(|_| Stop::Over)?.first() {
                Some(Record::CallStarted { call, .. }) => {
                    self.node.spawn(client, run.no, *call);
                    (*call, None)
                }
                Some(Record::CallHeld { call, .. } | Record::Asked { call, .. } | Record::CallRefused { call, .. }) => {
                    (*call, None)
                }
                // Time ran out with this very call.
                _ => return Err(Stop::Over),
            },
        };
        run.handles.push(Handle::Call { call, recorded });
        Ok(())
    }

    fn after(&mut self, client: usize, run: &mut Run, duration: Duration) -> Result<(), Stop> {
        let now = self.now(client);
        let ms = u64::try_from(duration.as_millis()).expect("hours");
        let (begun, ran_ms) = match run.replay.next(Asked::After { ms })? {
            Some(Recorded::Answer { at, ran_ms, .. }) => (at, ran_ms),
            _ => {
                self.answered(client, run, HostQuestion::After, duration.as_millis().to_string())?;
                (now.wall, now.ran_ms)
            }
        };
        // A clock that was set back makes no timer longer.
        let ran = Duration::from_millis(now.ran_ms.saturating_sub(ran_ms));
        let left = Duration::try_from((begun + duration).duration_since(now.wall)).unwrap_or_default();
        let left = left.min(duration.saturating_sub(ran));
        let due = now.wall + left;
        let ready_ms = self.steady_ms + u64::try_from(left.as_millis()).expect("hours");
        run.handles.push(Handle::Timer { due, ready_ms });
        Ok(())
    }

    fn tells(&mut self, client: usize, run: &Run, command: Command<'_>) -> Result<(), Stop> {
        self.command(client, command).map_err(|_| Stop::Over)?;
        if self.mission(client).run() == Some(run.no) { Ok(()) } else { Err(Stop::Over) }
    }

    fn answered(&mut self, client: usize, run: &Run, question: HostQuestion, answer: String) -> Result<(), Stop> {
        self.tells(client, run, Command::Answer { run: run.no, question, about: String::new(), answer })
    }

    /// The plugin takes the answer of one of its handles.
    fn take_answer(&mut self, client: usize, run: &mut Run, place: usize) {
        let handle = run.handles.remove(place);
        let answer = handle.answer(self.side(client), self.steady_ms).expect("it is there");
        run.script.told(&answer);
        run.waits = Waits::No;
    }

    /// Which of the handles that are ready the plugin is told of: any of them, and the record says which.
    fn choose(&mut self, client: usize, run: &mut Run) -> Result<(), Stop> {
        let side = self.side(client);
        let ready = |(place, handle): (usize, &Handle)| handle.answer(side, self.steady_ms).map(|_| place);
        let ready: Vec<usize> = run.handles.iter().enumerate().filter_map(ready).collect();
        let place = ready[self.rng.usize(..ready.len())];
        self.answered(client, run, HostQuestion::WaitAny, place.to_string())?;
        run.waits = Waits::One(place);
        Ok(())
    }

    /// The plugin drops a handle: a call that has no result is given up.
    fn give_up(&mut self, client: usize, run: &mut Run, place: usize) {
        let handle = run.handles.remove(place);
        let Handle::Call { call, .. } = handle else { return };
        if handle.answer(self.side(client), self.steady_ms).is_some() {
            return;
        }
        let given_up = self.command(client, cancelled(run, call)).expect("it has no result");
        assert!(!given_up.is_empty());
        self.history.count("call given up");
        self.abort(client, call);
    }

    /// Stops what a call does, as far as it has not left the node.
    fn abort(&mut self, client: usize, call: CallNo) {
        let no = self.side(client).no;
        let (stopped, tasks): (Vec<_>, Vec<_>) =
            self.node.tasks.drain(..).partition(|task| task.client == client && task.call == call);
        self.node.tasks = tasks;
        let left = stopped.into_iter().filter(|task| !matches!(task.stage, Stage::Waits(_)));
        self.strays.extend(left.map(|task| Stray { no, task, is_orphan: false }));
    }

    /// What the plugin waits for: decisions, or a time, if nothing else.
    pub(crate) fn can_suspend(&self, client: usize) -> bool {
        let side = self.side(client);
        let Some(run) = &side.run else { return false };
        let lasts = !side.mission.open_requests().is_empty() || self.timer_of(client).is_some();
        run.waits != Waits::No && lasts && !self.can_step(client)
    }

    fn timer_of(&self, client: usize) -> Option<Timestamp> {
        self.side(client).run.as_ref()?.next_timer(self.steady_ms).map(|(due, _)| due)
    }

    /// A plugin that waits is dropped from memory.
    pub(crate) fn suspend(&mut self, client: usize) {
        let (until, records) = (self.timer_of(client), self.mission(client).records());
        let run = self.side(client).run.as_ref().expect("it is in memory").no;
        if self.rng.u8(..8) == 0 {
            let stale = self.command(client, Command::Suspend { run, records: records - 1, until });
            assert!(stale.is_err(), "what came since may be what it waits for");
        }
        match self.command(client, Command::Suspend { run, records, until }) {
            Ok(_) => self.history.count("suspended"),
            Err(refusal) => assert_eq!(refusal, Refusal::Busy),
        }
    }
}

impl World {
    /// Something that an earlier run does late, or the current one although it was suspended.
    pub(crate) fn haunt(&mut self, client: usize) {
        let begun = self.side(client).records.iter().filter_map(|stamped| match stamped.record {
            Record::Started { run, .. } => Some(run),
            _ => None,
        });
        let over: Vec<RunNo> = begun.filter(|run| self.mission(client).run() != Some(*run)).collect();
        let Some(run) = over.get(self.rng.usize(..over.len().max(1))).copied() else { return };
        let calls = u32::try_from(self.side(client).outcomes.len()).expect("a few") + 2;
        let command = match self.rng.u8(..3) {
            0 => Command::Milestone { run, text: "Boo!".to_owned() },
            1 => Command::PluginEnded { run, ending: Ending::Crashed(Crash::Trapped("Boo!".to_owned())) },
            _ => {
                let call = CallNo(self.rng.u32(1..=calls));
                Command::CallDone { run, call, outcome: Err(CallError::Cancelled), spent: Spend::NOTHING }
            }
        };
        assert!(self.command(client, command).is_err(), "{run:?} is over, and is listened to");
        self.history.count("command of a run that is over");
    }
}

fn cancelled(run: &Run, call: CallNo) -> Command<'static> {
    Command::CallDone { run: run.no, call, outcome: Err(CallError::Cancelled), spent: Spend::NOTHING }
}

/// Bytes that follow from what the plugin was told.
fn artifact(name: &str, of: &Op) -> Artifact {
    Artifact {
        name: ArtifactName::new(name).expect("a name"),
        media_type: "text/markdown".to_owned(),
        bytes: 3,
        sha256: Digest::of(format!("{of:?}").as_bytes()),
    }
}
