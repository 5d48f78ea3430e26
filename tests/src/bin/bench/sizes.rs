//! How large each shape is: as the aims say, or so small that a test can run all of them.

use std::time::Duration;

/// The sizes of one run.
pub(crate) struct Sizes {
    /// How long a load lasts: long enough for the disk's mood to average out.
    pub(crate) load: Duration,
    /// How often two cases are measured in turns; odd, so that there is a middle.
    pub(crate) rounds: usize,
    /// Connections under load, as in the aims.
    pub(crate) connections: &'static [usize],
    /// Trivial missions that are run to their end.
    pub(crate) trivial: u64,
    /// Cancels that are measured.
    pub(crate) cancels: u32,
    /// Steps of one mission alone.
    pub(crate) steps_alone: u64,
    /// Steps of each of many missions.
    pub(crate) steps_each: u64,
    /// Recorded calls of a replay.
    pub(crate) replayed: u64,
    /// Large inputs, in bytes.
    pub(crate) input_bytes: usize,
    /// Sessions of one VP.
    pub(crate) sessions: u64,
    /// Missions with a receiver, in each round.
    pub(crate) called_back: u64,
    /// Watchers of a mission, or of the node.
    pub(crate) watchers: usize,
    /// Calls of a mission that is watched.
    pub(crate) watched: u64,
    /// Short missions that are watched, in each round.
    pub(crate) watched_short: u64,
    /// Entries of a long list.
    pub(crate) listed: u64,
    /// Entries of a short list.
    pub(crate) listed_small: u64,
    /// Trivial missions of nodes on a database, in each round.
    pub(crate) stored: u64,
    /// Missions that wait in a database.
    pub(crate) waited: u64,
    /// Calls of a mission with a long record, and of one with a short one.
    pub(crate) long: u64,
    pub(crate) long_small: u64,
    /// At which call the long one is forked.
    pub(crate) forked: u64,
    /// Missions that a node keeps.
    pub(crate) kept: u64,
    /// And the one beside it: more than a page of them.
    pub(crate) kept_small: u64,
    /// Missions that wait for their window.
    pub(crate) queued: u64,
    /// Missions that wait for people.
    pub(crate) blocked: u64,
    /// Missions on their way when the node is killed.
    pub(crate) going: u64,
    /// Schedules of one node.
    pub(crate) schedules: u64,
    /// Schedules that are due in one second.
    pub(crate) due: u64,
    /// How long before that they are begun to be made.
    pub(crate) until_due: Duration,
    /// Times of a preview.
    pub(crate) previewed: usize,
    /// Calls of a tool server, in each round.
    pub(crate) tool_calls: u64,
    /// Missions of the agent.
    pub(crate) agents: u64,
    /// Missions that wait for a model.
    pub(crate) waiting: u64,
    /// Turns of a coding mission.
    pub(crate) turns: usize,
    /// Coding missions side by side.
    pub(crate) coders: usize,
    /// How long what was let go of has to go back to the system.
    pub(crate) settle: Duration,
}

impl Sizes {
    /// As the aims say: all shapes in less than ten minutes.
    pub(crate) const FULL: Self = Self {
        load: Duration::from_secs(5),
        rounds: 3,
        connections: &[1, 16, 64, 256],
        trivial: 20_000,
        cancels: 50,
        steps_alone: 2_000,
        steps_each: 400,
        replayed: 20_000,
        input_bytes: 64 << 10,
        sessions: 100_000,
        called_back: 10_000,
        watchers: 16,
        watched: 3_000,
        watched_short: 3_000,
        listed: 100_000,
        listed_small: 100,
        stored: 6_000,
        waited: 10_000,
        long: 30_000,
        long_small: 30,
        forked: 10_000,
        kept: 1_000_000,
        kept_small: 100,
        queued: 100_000,
        blocked: 100_000,
        going: 10_000,
        schedules: 100_000,
        due: 10_000,
        until_due: Duration::from_secs(60),
        // Ten years of quarters of an hour.
        previewed: 350_640,
        tool_calls: 2_000,
        agents: 1_000,
        waiting: 1_000,
        turns: 200,
        coders: 16,
        settle: Duration::from_secs(5),
    };

    /// Nothing that it says counts; that it says something does.
    pub(crate) const SMOKE: Self = Self {
        load: Duration::from_millis(200),
        rounds: 1,
        connections: &[4],
        trivial: 20,
        cancels: 2,
        steps_alone: 20,
        steps_each: 2,
        replayed: 50,
        input_bytes: 64 << 10,
        sessions: 50,
        called_back: 20,
        watchers: 2,
        watched: 20,
        watched_short: 20,
        listed: 60,
        listed_small: 5,
        stored: 60,
        waited: 20,
        long: 100,
        long_small: 10,
        forked: 50,
        kept: 200,
        kept_small: 10,
        queued: 50,
        blocked: 20,
        going: 5,
        schedules: 20,
        due: 10,
        until_due: Duration::from_secs(5),
        previewed: 6_000,
        tool_calls: 5,
        agents: 3,
        waiting: 5,
        turns: 12,
        coders: 2,
        settle: Duration::ZERO,
    };
}
