//! Budgets that are wider than a mission: they take up what its calls cost, for a day or a month of the node's zone. Where one is spent
//! its calls wait until it is renewed, or until others set free what they have set aside; nobody is asked.

use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::json;
use sortie_contract::id::{InstanceId, LaneId, VpId};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::tool::{CallError, ToolName};
use sortie_contract::{MicroUsd, Spend, Status, Timestamp};
use sortie_mission::pool::{Offer, Others};
use sortie_mission::wider::{Bill, Booked, PartOffer, Payer, Per, Purses, Scope, WiderBudget};
use sortie_mission::{Booking, Command, Limits};

use crate::children::{dispatched, ends};
use crate::support::{Called, Tested, at, moment, noon, the};

fn budget(scope: &str, per: Per, cost: u64) -> WiderBudget {
    let limits = Limits { llm_calls: None, cost: Some(MicroUsd(cost)) };
    WiderBudget { scope: scope.parse().expect("a scope"), per, limits }
}

/// A mission, and the node's budgets, which are asked before each command and take up what it records.
struct Node {
    purses: Purses,
    told: Vec<String>,
    shut_until: Option<i64>,
}

impl Node {
    fn new(budgets: Vec<WiderBudget>) -> Self {
        Self { purses: Purses::new(TimeZone::UTC, budgets), told: Vec::new(), shut_until: None }
    }

    /// Its lane is shut until then, where it is, and it has no turn.
    fn takes_shut(&mut self, mission: &mut Tested, until: Option<i64>, act: impl FnOnce(&mut Tested)) {
        self.shut_until = until;
        self.takes(mission, act);
        self.shut_until = None;
    }

    fn takes(&mut self, mission: &mut Tested, act: impl FnOnce(&mut Tested)) {
        let envelope = mission.mission.envelope().clone();
        let lane = mission.mission.lane().clone();
        let payer = Payer { lane: &lane, source: &envelope.source_instance_id, vp: &envelope.vp_id };
        let wider = self.purses.of(payer, mission.now.wall);
        let shut = self.shut_until.map(|second| Some(moment(second)));
        mission.now.wider = wider.of_turn(&mission.mission, &Command::Tick, false, shut, mission.now.wall);
        let (before, mut fold) = (mission.records.len(), mission.mission.clone());
        act(mission);
        for stamped in &mission.records[before..] {
            for booking in fold.bookings_beside(&stamped.record) {
                self.told.extend(self.purses.book(payer, stamped.at, &booking));
            }
            fold.apply(stamped).expect("they follow each other");
        }
    }

    fn calls(&mut self, mission: &mut Tested, cost: u64) -> Called {
        let mut called = None;
        self.takes(mission, |mission| called = Some(mission.calls(&the("WebFetch"), cost)));
        called.expect("it was called")
    }

    fn made(&mut self, mission: &mut Tested, cost: u64) -> sortie_contract::id::CallNo {
        let Called::Granted(call) = self.calls(mission, cost) else { panic!("it is covered") };
        call
    }

    fn done(&mut self, mission: &mut Tested, call: sortie_contract::id::CallNo, cost: u64) {
        self.takes(mission, |mission| mission.done(call, &[], cost));
    }

    fn ticks(&mut self, mission: &mut Tested, seconds: i64) -> Vec<Record> {
        // The wall clock alone: a day is longer than most missions may run.
        mission.shift(seconds);
        let mut records = Vec::new();
        self.takes(mission, |mission| records = mission.take(Command::Tick).expect("a tick"));
        records
    }

    /// Of each budget, what is spent and what is set aside at that time of the mission.
    fn spent(&self, mission: &Tested) -> Vec<(u64, u64)> {
        let all = self.purses.standings(mission.now.wall);
        all.map(|standing| (standing.spent.cost.0, standing.reserved.cost.0)).collect()
    }
}

fn running() -> Tested {
    Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}))
}

const MIDNIGHT: i64 = 12 * 3_600;

#[test]
fn what_is_spent_is_waited_for_until_it_is_renewed() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10), budget("node", Per::Month, 100)]);
    let mut mission = running();
    let call = node.made(&mut mission, 8);
    node.done(&mut mission, call, 7);
    let Called::Unpaid(waits, until) = node.calls(&mut mission, 4) else { panic!("7 + 4 pass 10") };
    assert_eq!(until, moment(MIDNIGHT), "when the day is over");
    assert_eq!(mission.mission.status(), Status::Running, "nobody is asked");
    let Some(Record::PaymentAwaited { why, .. }) = mission.records.last().map(|stamped| &stamped.record) else {
        panic!("it waits")
    };
    assert!(why.contains("the node's budget for the day, which is renewed at 2026-11-23T00:00:00Z"), "{why}");
    mission.suspend(None).expect("it only waits");
    assert!(!mission.mission.takes_run_time(), "its run clock stops");
    assert!(node.ticks(&mut mission, MIDNIGHT - 1).is_empty());
    assert_eq!(node.ticks(&mut mission, 1), [Record::CallResumed { call: waits }]);
    assert_eq!(node.spent(&mission), [(0, 4), (7, 4)], "a new day, of the same month");
}

#[test]
fn what_others_have_set_aside_is_waited_for_shortly() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let (mut one, mut other) = (running(), running());
    let call = node.made(&mut one, 8);
    let Called::Unpaid(waits, until) = node.calls(&mut other, 4) else { panic!("8 + 4 pass 10") };
    assert_eq!(until, moment(15 * 60), "most of it comes back");
    assert!(node.ticks(&mut other, 30).is_empty(), "nothing is said before its time is up");
    assert_eq!(node.ticks(&mut other, 15 * 60).len(), 1);
    node.done(&mut one, call, 1);
    assert_eq!(node.ticks(&mut other, 1), [Record::CallResumed { call: waits }]);
    assert_eq!(node.spent(&other), [(1, 4)]);
}

#[test]
fn a_call_takes_nothing_of_a_budget_while_its_lane_is_shut() {
    const OPENS: i64 = 8 * 3_600;
    let tick = |node: &mut Node, mission: &mut Tested, until, seconds| {
        mission.shift(seconds);
        let mut records = Vec::new();
        let act = |mission: &mut Tested| records = mission.take(Command::Tick).expect("a tick");
        node.takes_shut(mission, until, act);
        records
    };
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let (mut one, mut other) = (running(), running());
    let call = node.made(&mut one, 8);
    let Called::Unpaid(waits, _) = node.calls(&mut other, 4) else { panic!("8 + 4 pass 10") };
    other.suspend(None).expect("it only waits");
    node.done(&mut one, call, 1);
    // Some of it has come back, and it is looked at: nothing is taken, and nothing is said before its time.
    assert!(tick(&mut node, &mut other, Some(OPENS), 60).is_empty());
    let later = tick(&mut node, &mut other, Some(OPENS), 15 * 60);
    let [Record::PaymentAwaited { call: awaited, until, why }] = later.as_slice() else { panic!("{later:?}") };
    assert_eq!((*awaited, *until), (waits, moment(OPENS)));
    assert!(why.contains("is shut until 2026-11-22T20:00:00Z"), "{why}");
    assert_eq!(other.mission.next_due(other.now).wall, Some(moment(OPENS)), "nobody looks all the time");
    assert_eq!(node.spent(&other), [(1, 0)], "others can have it");
    let call = node.made(&mut one, 9);
    node.done(&mut one, call, 2);
    assert!(tick(&mut node, &mut other, Some(OPENS), 3_600).is_empty());
    assert_eq!(tick(&mut node, &mut other, None, OPENS), [Record::CallResumed { call: waits }]);
    // What is renewed later than it opens is waited for.
    let (mut spent, mut late) = (Node::new(vec![budget("node", Per::Day, 10)]), running());
    let call = spent.made(&mut late, 8);
    spent.done(&mut late, call, 8);
    let Called::Unpaid(..) = spent.calls(&mut late, 4) else { panic!("8 + 4 pass 10") };
    late.suspend(None).expect("it only waits");
    let until = late.mission.unpaid_until();
    assert!(tick(&mut spent, &mut late, Some(OPENS), 60).is_empty());
    assert_eq!((until, late.mission.unpaid_until()), (Some(moment(MIDNIGHT)), until));
}

#[test]
fn who_has_a_turn_takes_of_a_budget_though_its_lane_is_shut() {
    let purses = Purses::new(TimeZone::UTC, vec![budget("node", Per::Day, 10)]);
    let tools = crate::support::tools();
    let (queued, running) = (Tested::queued(json!({})), running());
    for (mission, command, is_in_memory, has_turn) in [
        (&queued, Command::Tick, false, false),
        (&queued, Command::Tick, true, false),
        (&queued, crate::support::start(&tools), false, true),
        (&running, Command::Tick, true, true),
        // Its record still shows its run, which broke off with its node.
        (&running, Command::Tick, false, false),
    ] {
        let (mission, wall) = (&mission.mission, mission.now.wall);
        let envelope = mission.envelope();
        let payer = Payer { lane: mission.lane(), source: &envelope.source_instance_id, vp: &envelope.vp_id };
        let wider = purses.of(payer, wall);
        let of = |shut| wider.of_turn(mission, &command, is_in_memory, shut, wall);
        assert_eq!(of(None), wider, "{command:?}");
        for until in [None, Some(moment(60))] {
            assert_eq!(of(Some(until)) == wider, has_turn, "{command:?} {is_in_memory}");
        }
    }
}

#[test]
fn what_is_approved_while_its_lane_is_shut_is_paid_for_once_it_opens() {
    let fields = json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}});
    for (budgets, is_paid) in [(vec![budget("node", Per::Day, 10)], false), (Vec::new(), true)] {
        let (mut node, mut mission) = (Node::new(budgets), Tested::running(fields.clone()));
        let (call, request) = mission.held(&the("Edit"), 4, RequestKind::Approval);
        mission.suspend(None).expect("it only waits");
        let mut records = Vec::new();
        let approve = Decision::Approve { reach: Reach::Call };
        let act = |mission: &mut Tested| records = mission.decide(request, approve).expect("a decision");
        node.takes_shut(&mut mission, Some(3_600), act);
        let follows = records.last().expect("it follows");
        // Of its own budget it takes nothing from anybody.
        assert_eq!(*follows == Record::CallResumed { call }, is_paid, "{follows:?}");
        assert_eq!(matches!(follows, Record::PaymentAwaited { until, .. } if *until == moment(3_600)), !is_paid);
    }
}

#[test]
fn a_call_that_is_dearer_than_all_of_a_budget_is_refused() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let Called::Refused(CallError::BudgetExhausted(why)) = node.calls(&mut running(), 11) else {
        panic!("it never fits")
    };
    assert!(why.contains("more than the node's budget for a day"), "{why}");
}

#[test]
fn a_window_that_closes_before_times_the_mission_out() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "autonomy_window": {"start_at": at(0), "end_at": at(3_600)},
    }));
    let call = node.made(&mut mission, 10);
    node.done(&mut mission, call, 10);
    assert!(matches!(node.calls(&mut mission, 1), Called::Unpaid(..)));
    node.ticks(&mut mission, 3_600);
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
}

#[test]
fn whose_calls_a_budget_is_for() {
    let mission = running();
    let envelope = mission.mission.envelope();
    let own = |scope: &str| match scope {
        "lane" => format!("lane:{}", mission.mission.lane()),
        "source" => format!("source:{}", envelope.source_instance_id),
        "vp" => format!("vp:{}", envelope.vp_id),
        other => other.to_owned(),
    };
    for scope in ["node", "lane", "source", "vp"] {
        let mut node = Node::new(vec![budget(&own(scope), Per::Day, 10)]);
        assert!(matches!(node.calls(&mut running(), 11), Called::Refused(_)), "{scope}");
    }
    for scope in ["lane:another", "source:another", "vp:another"] {
        let mut node = Node::new(vec![budget(scope, Per::Day, 10)]);
        assert!(matches!(node.calls(&mut running(), 11), Called::Granted(_)), "{scope}");
        assert_eq!(node.spent(&mission), [(0, 0)], "{scope}");
    }
}

#[test]
fn scopes_are_read_or_refused() {
    for text in ["node", "lane:a.b", "source:s-1", "vp:vp.coder"] {
        assert_eq!(text.parse::<Scope>().expect("a scope").to_string(), text);
    }
    for text in ["", "Node", "node:x", "lane", "lane:", "team:x", "vp:a\nb"] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}

#[test]
fn a_call_belongs_to_the_day_in_which_it_was_granted() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10), budget("node", Per::Month, 100)]);
    let mut mission = running();
    let call = node.made(&mut mission, 8);
    mission.shift(MIDNIGHT);
    let next = node.made(&mut mission, 10);
    assert_eq!(node.spent(&mission), [(0, 10), (0, 18)], "a new day is whole");
    node.done(&mut mission, call, 8);
    assert_eq!(node.spent(&mission), [(0, 10), (8, 10)], "and yesterday's call is none of it");
    node.done(&mut mission, next, 3);
    assert_eq!(node.spent(&mission), [(3, 0), (11, 0)]);
}

#[test]
fn a_call_that_broke_off_counts_twice_and_waits_where_the_second_is_not_covered() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let mut mission = running();
    let call = node.made(&mut mission, 6);
    let mut records = Vec::new();
    node.takes(&mut mission, |mission| records = mission.crash());
    assert!(matches!(&records[1..], [Record::PaymentAwaited { call: of, .. }] if *of == call), "{records:?}");
    assert_eq!((node.spent(&mission), mission.money()), (vec![(6, 0)], (6, 0)), "the first attempt counts");
    assert_eq!(node.ticks(&mut mission, MIDNIGHT), [Record::CallResumed { call }]);
    assert_eq!((node.spent(&mission), mission.money()), (vec![(0, 6)], (6, 6)));
}

#[test]
fn what_was_approved_waits_for_a_budget_that_is_spent() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
    }));
    let spent = node.made(&mut mission, 10);
    node.done(&mut mission, spent, 10);
    let mut called = None;
    node.takes(&mut mission, |mission| called = Some(mission.calls(&the("Edit"), 5)));
    let Some(Called::Held(call, request, _)) = called else { panic!("it is asked about first") };
    let mut records = Vec::new();
    let approve = Decision::Approve { reach: Reach::Call };
    node.takes(&mut mission, |mission| records = mission.decide(request, approve).expect("approved"));
    assert!(matches!(&records[1..], [Record::PaymentAwaited { call: of, .. }] if *of == call), "{records:?}");
    assert_eq!(node.ticks(&mut mission, MIDNIGHT), [Record::CallResumed { call }], "it is not asked about again");
}

#[test]
fn people_are_told_once_of_four_fifths() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10), budget("vp:another", Per::Day, 1)]);
    let mut mission = running();
    for (cost, told) in [(7, 0), (1, 1), (1, 1)] {
        let call = node.made(&mut mission, cost);
        node.done(&mut mission, call, cost);
        assert_eq!(node.told.len(), told, "{:?}", node.told);
    }
    assert!(node.told[0].contains("$0.000008 of the budget of `node` for the day are spent"), "{:?}", node.told);
}

#[test]
fn a_childs_share_takes_nothing_of_a_wider_budget_and_its_end_gives_nothing_back() {
    let mut node = Node::new(vec![budget("node", Per::Day, 100)]);
    let (mut parent, mut other) = (running(), running());
    let spent = node.made(&mut other, 50);
    node.done(&mut other, spent, 50);
    let made = node.made(&mut other, 45);
    let (mut child, share) = (None, json!({"budget": {"max_cost_usd": 0.000_04}}));
    node.takes(&mut parent, |parent| child = Some(dispatched(parent, share)));
    assert_eq!((parent.money(), node.spent(&parent)), ((0, 40), vec![(50, 45)]), "its parent's books alone have it");
    let Called::Unpaid(waits, _) = node.calls(&mut parent, 10) else { panic!("50 + 45 + 10 pass 100") };
    let (mut follows, child) = (Vec::new(), child.expect("it is dispatched"));
    node.takes(&mut parent, |parent| follows = ends(parent, child, Spend::NOTHING).expect("it waits"));
    assert!(matches!(follows.as_slice(), [Record::CallFinished { call, .. }] if *call == child), "{follows:?}");
    assert_eq!((parent.money(), node.spent(&parent)), ((0, 0), vec![(50, 45)]), "what others have stays theirs");
    node.done(&mut other, made, 1);
    assert_eq!(node.ticks(&mut parent, 1), [Record::CallResumed { call: waits }]);
    assert_eq!(node.spent(&parent), [(51, 10)]);
}

/// The calls that wait for their payment.
fn bills(missions: &[&Tested]) -> Vec<Bill> {
    missions.iter().flat_map(|tested| tested.mission.bills()).collect()
}

/// What there is to say of the one part: what it keeps, what it lacks, the least of that, and what it would have besides.
fn offer(node: &mut Node, missions: &[&Tested]) -> (PartOffer, (u64, u64, u64, u64)) {
    let mut offers = node.purses.offers(moment(0), &bills(missions));
    let [offered] = offers.as_mut_slice() else { panic!("{offers:?}") };
    let Offer { keeps, lacks, least, spare, .. } = offered.offer;
    (offered.clone(), (keeps, lacks, least, spare))
}

#[test]
fn of_a_budget_that_nodes_share_out_a_call_takes_what_this_one_holds() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    node.purses.share_out();
    let (mut mission, mut other) = (running(), running());
    let Called::Unpaid(waits, until) = node.calls(&mut mission, 4) else { panic!("it holds nothing") };
    assert_eq!(until, moment(15 * 60), "others are asked for it");
    assert_eq!(mission.mission.status(), Status::Running);
    let (part, said) = offer(&mut node, &[&mission]);
    assert_eq!((part.pool.as_str(), part.limit, said), ("budget:node:day:2026-11-22:usd", 10, (0, 4, 4, 0)));
    assert!(node.ticks(&mut mission, 1).is_empty());
    node.purses.take(part.of, 5, Others::default());
    assert_eq!(node.purses.covered(mission.now.wall, &bills(&[&mission])), [0]);
    assert_eq!(node.ticks(&mut mission, 1), [Record::CallResumed { call: waits }]);
    assert_eq!(bills(&[&mission]), []);
    node.done(&mut mission, waits, 3);
    // What it has spent it keeps, and besides two such calls as it has seen; not where others lack some.
    let (part, said) = offer(&mut node, &[&mission]);
    assert_eq!((said, part.since), ((5, 0, 0, 6), None));
    node.purses.take(part.of, 9, Others { lack: 1, ..Others::default() });
    assert_eq!(offer(&mut node, &[&mission]).1, (3, 0, 0, 0));
    // Of two that wait, what covers the one and not the other is the smaller one's.
    let Called::Unpaid(..) = node.calls(&mut mission, 6) else { panic!("it holds three, which are spent") };
    let Called::Unpaid(..) = node.calls(&mut other, 2) else { panic!("so it does for any other") };
    let (part, said) = offer(&mut node, &[&mission, &other]);
    assert_eq!(said, (3, 8, 2, 0));
    let oldest = bills(&[&mission, &other]).iter().map(|bill| bill.since).min();
    assert_eq!((part.since, oldest.is_some()), (oldest, true), "its place in every line is the oldest one's");
    node.purses.take(part.of, 6, Others { lack: 1, hold: 4, used: 4 });
    assert_eq!(node.purses.covered(other.now.wall, &bills(&[&mission, &other])), [1]);
    assert_eq!(
        offer(&mut node, &[&mission, &other]).1,
        (5, 0, 0, 0),
        "others have spent what the dearer one waits for"
    );
    let resumed = node.ticks(&mut other, 1);
    let [Record::CallResumed { call }] = resumed.as_slice() else { panic!("{resumed:?}") };
    assert_eq!(node.spent(&other), [(3, 2)]);
    node.done(&mut other, *call, 1);
    // It waits until the day is over: what is spent does not come back.
    let later = node.ticks(&mut mission, 15 * 60);
    let [Record::PaymentAwaited { until, why, .. }] = later.as_slice() else { panic!("{later:?}") };
    assert_eq!(*until, moment(MIDNIGHT));
    assert!(why.contains("other nodes of the store have spent $0.000004"), "{why}");
    // A new day is another pool.
    mission.shift(MIDNIGHT);
    let offers = node.purses.offers(mission.now.wall, &bills(&[&mission]));
    assert_eq!(offers[0].pool, "budget:node:day:2026-11-23:usd");
    assert!(node.purses.has_pool(&offers[0].pool) && !node.purses.has_pool("budget:node:month:2026-11-01:usd"));
    assert!(!node.purses.has_pool("budget:node:day:2026-11-23:calls"), "its calls are not counted");
}

#[test]
fn what_one_of_its_budgets_does_not_cover_takes_nothing_of_another() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10), budget("node", Per::Month, 12)]);
    node.purses.share_out();
    let mut mission = running();
    let Called::Unpaid(..) = node.calls(&mut mission, 4) else { panic!("it holds nothing") };
    let waiting = bills(&[&mission]);
    let offers = node.purses.offers(moment(0), &waiting);
    let others = |used| Others { lack: 1, hold: used, used };
    node.purses.take(offers[0].of, 10, others(0));
    assert_eq!(node.purses.covered(moment(0), &waiting), Vec::<usize>::new());
    let keeps = |node: &mut Node| -> Vec<(u64, u64)> {
        let offers = node.purses.offers(moment(0), &waiting);
        offers.iter().map(|part| (part.offer.keeps, part.offer.lacks)).collect()
    };
    assert_eq!(keeps(&mut node), [(0, 4), (0, 4)], "others lack the day's, and it can do nothing with it");
    node.purses.take(offers[1].of, 0, others(9));
    assert_eq!(keeps(&mut node), [(0, 0), (0, 0)], "of the month three are left at most");
}

#[test]
fn calls_of_models_are_counted_too() {
    let limits = Limits { llm_calls: Some(2), cost: None };
    let budget = WiderBudget { scope: Scope::Node, per: Per::Month, limits };
    let mut purses = Purses::new(TimeZone::UTC, vec![budget]);
    let (lane, source, vp) = ids();
    let payer = Payer { lane: &lane, source: &source, vp: &vp };
    let one = Spend { llm_calls: 1, cost: MicroUsd(0) };
    let booked =
        |set_aside, let_go, spent| Booking { tool: ToolName::new("model"), set_aside, let_go, spent, since: noon() };
    assert!(purses.book(payer, noon(), &booked(one, Spend::NOTHING, Spend::NOTHING)).is_empty());
    assert!(purses.book(payer, noon(), &booked(Spend::NOTHING, one, one)).is_empty());
    assert_eq!(purses.book(payer, noon(), &booked(one, Spend::NOTHING, one)).len(), 1);
    let standing = purses.standings(noon()).next().expect("there is one");
    assert_eq!((standing.spent.llm_calls, standing.reserved.llm_calls), (2, 1));
    assert_eq!(standing.renewed_at, "2026-12-01T00:00:00Z".parse().expect("a time"));
}

fn ids() -> (LaneId, InstanceId, VpId) {
    (LaneId::new("l").expect("an id"), InstanceId::new("s").expect("an id"), VpId::new("v").expect("an id"))
}

#[test]
fn what_was_booked_before_is_recalled_by_its_day() {
    let zone = TimeZone::fixed(jiff::tz::offset(-6));
    let budgets = vec![budget("node", Per::Day, 10), budget("node", Per::Month, 100), budget("vp:w", Per::Month, 100)];
    // Still the 21st there.
    let now: Timestamp = "2026-11-22T05:00:00Z".parse().expect("a time");
    let mut purses = Purses::new(zone, budgets);
    let (lane, source, vp) = ids();
    let payer = Payer { lane: &lane, source: &source, vp: &vp };
    assert_eq!(purses.day(now), date(2026, 11, 21));
    for (day, spent, reserved) in [(date(2026, 10, 31), 50, 5), (date(2026, 11, 1), 3, 1), (date(2026, 11, 21), 2, 4)] {
        let money = |cost| Spend::money(MicroUsd(cost));
        purses.recall(payer, Booked { day, spent: money(spent), reserved: money(reserved) });
    }
    let all: Vec<_> = purses.standings(now).map(|standing| (standing.spent.cost.0, standing.reserved.cost.0)).collect();
    assert_eq!(all, [(2, 4), (5, 5), (0, 0)]);
}

#[test]
fn a_clock_that_goes_wrong_and_is_mended_changes_nothing() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10), budget("node", Per::Month, 15)]);
    let mut mission = running();
    let call = node.made(&mut mission, 10);
    let day = 24 * 3_600;
    for wrong in [-day, day, 30 * day, 366 * day] {
        mission.shift(wrong);
        let other = node.made(&mut mission, 5);
        assert_eq!(node.spent(&mission)[0], (0, 5), "another day: {wrong}");
        node.done(&mut mission, other, if wrong.abs() == day { 0 } else { 5 });
        mission.shift(-wrong);
        assert_eq!(node.spent(&mission), [(0, 10), (0, 10)], "{wrong}");
    }
    // Granted before midnight, and over behind it: yesterday's, also where the clock was set back in between.
    mission.shift(MIDNIGHT);
    node.done(&mut mission, call, 4);
    assert_eq!(node.spent(&mission), [(0, 0), (4, 0)]);
    mission.shift(-MIDNIGHT);
    assert_eq!(node.spent(&mission), [(4, 0), (4, 0)]);
}

#[test]
fn behind_a_call_that_was_too_dear_nothing_that_waits_is_paid_for_or_asked_about() {
    // Of its own budget, and of a wider one that others have set aside.
    for (own, wider) in [(10, 100), (100, 10)] {
        let mut node = Node::new(vec![budget("node", Per::Day, wider)]);
        let mut mission = Tested::running(json!({
            "constraints": {"allowed_tools": ["*"]}, "budget": {"max_cost_usd": f64::from(own) / 1e6},
        }));
        let dear = node.made(&mut mission, 6);
        let Called::Unpaid(waits, _) = node.calls(&mut mission, 5) else { panic!("6 + 5 pass 10") };
        node.done(&mut mission, dear, 7);
        let last = mission.records.iter().rev().map(|stamped| &stamped.record).next();
        let Some(Record::CallFinished { call, outcome: Err(CallError::BudgetExhausted(why)), .. }) = last else {
            panic!("{last:?}")
        };
        assert!(*call == waits && why.contains("no further call that costs anything"), "{why}");
    }
}

#[test]
fn people_are_not_asked_for_what_a_wider_budget_never_covers() {
    let mut node = Node::new(vec![budget("node", Per::Day, 10)]);
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]}, "budget": {"max_cost_usd": 0.000_001},
    }));
    assert!(matches!(node.calls(&mut mission, 11), Called::Refused(CallError::BudgetExhausted(_))));
    assert!(matches!(node.calls(&mut mission, 2), Called::Held(..)), "its own is asked for");
}

#[test]
fn a_budget_that_is_another_one_is_seen_at_the_next_look() {
    let mut node = Node::new(vec![budget("node", Per::Month, 10)]);
    let mut mission = running();
    let call = node.made(&mut mission, 10);
    node.done(&mut mission, call, 10);
    let Called::Unpaid(waits, until) = node.calls(&mut mission, 5) else { panic!("it is spent") };
    assert!(until > moment(5 * 24 * 3_600), "until the first of the next month");
    assert!(node.ticks(&mut mission, 60).is_empty(), "nothing is said of one that waits on");
    let Node { purses, .. } = Node::new(vec![budget("node", Per::Month, 20)]);
    let before = std::mem::replace(&mut node.purses, purses);
    let standing = before.standings(mission.now.wall).next().expect("there is one");
    let (lane, source, vp) = ids();
    let booked = Booked { day: date(2026, 11, 22), spent: standing.spent, reserved: standing.reserved };
    node.purses.recall(Payer { lane: &lane, source: &source, vp: &vp }, booked);
    assert_eq!(node.ticks(&mut mission, 1), [Record::CallResumed { call: waits }]);
}
