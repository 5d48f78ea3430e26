//! Sessions over a played world: each thing that a model may do, and what becomes of it.

use std::collections::VecDeque;

use sortie_plugin::testing::Node;
use sortie_plugin::{Brief, CallError, Failure, Manifest, Outcome, Plugin, Tools, Value, json};

use crate::{Ending, Granted, Session, Settings, Told, Wish, World, last_words, told, work, work_until_landing};

/// What one tool does with one wish.
type Play = fn(&Wish) -> Told;

/// A world in which the model says these things.
struct Played {
    answers: VecDeque<Result<Value, CallError>>,
    play: Play,
    asked: Vec<Value>,
    /// In order: `>Read` is started, `<Read` is over.
    order: Vec<String>,
    /// After so many answers a limit is near.
    closing_after: usize,
    calls_left: usize,
    /// This answer is let go of.
    late_at: Option<usize>,
    landed: bool,
}

impl Played {
    fn new(answers: impl IntoIterator<Item = Value>) -> Self {
        Self {
            answers: answers.into_iter().map(Ok).collect(),
            play: |wish| Told::well(format!("{} of {}", wish.name, wish.input)),
            asked: Vec::new(),
            order: Vec::new(),
            closing_after: usize::MAX,
            calls_left: usize::MAX,
            late_at: None,
            landed: false,
        }
    }

    fn last(&self) -> &Value {
        self.asked.last().expect("it was asked")
    }

    /// What the model was told last.
    fn told(&self) -> String {
        self.last()["messages"].as_array().and_then(|all| all.last()).expect("a message")["content"].to_string()
    }
}

impl World for Played {
    type Pending = ();

    fn tools(&self) -> Vec<String> {
        ["Read", "Edit", "Write", "Bash"].map(str::to_owned).to_vec()
    }

    fn is_read_only(&self, tool: &str) -> bool {
        tool == "Read"
    }

    fn ask(&mut self, request: &Value) -> Option<Result<Value, CallError>> {
        well_formed(request);
        self.asked.push(request.clone());
        self.calls_left = self.calls_left.saturating_sub(1);
        if self.late_at == Some(self.asked.len()) {
            return None;
        }
        Some(self.answers.pop_front().unwrap_or_else(|| Ok(says("at last"))))
    }

    fn start(&mut self, wish: &Wish) -> Result<(), CallError> {
        self.order.push(format!(">{}", wish.name));
        Ok(())
    }

    fn finish(&mut self, wish: &Wish, (): ()) -> Told {
        self.order.push(format!("<{}", wish.name));
        (self.play)(wish)
    }

    fn is_closing(&mut self) -> bool {
        self.asked.len() >= self.closing_after
    }

    fn land(&mut self) {
        self.landed = true;
    }

    fn may_ask(&mut self) -> bool {
        self.calls_left > 0
    }

    fn warn(&mut self, _: &str) {}
}

/// What providers refuse: roles that do not alternate, empty messages, wishes without results.
fn well_formed(request: &Value) {
    let messages = request["messages"].as_array().expect("messages");
    let ids = |message: &Value, kind: &str, key: &str| -> Vec<String> {
        let blocks = message["content"].as_array().expect("blocks").iter().filter(|block| block["type"] == kind);
        blocks.map(|block| block[key].as_str().expect("an id").to_owned()).collect()
    };
    for (at, message) in messages.iter().enumerate() {
        assert_eq!(message["role"], ["user", "assistant"][at % 2], "{messages:#?}");
        assert!(!message["content"].as_array().expect("blocks").is_empty(), "{messages:#?}");
        let wished = ids(message, "tool_use", "id");
        if !wished.is_empty() {
            assert_eq!(wished, ids(&messages[at + 1], "tool_result", "tool_use_id"), "{messages:#?}");
        }
    }
    assert_eq!(messages.len() % 2, 1, "the user speaks last: {messages:#?}");
}

fn says(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn", "usage": {}, "cost_usd": 0.0 })
}

fn stops(text: &str, stop: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "stop_reason": stop })
}

fn calls(wishes: &[(&str, Value)]) -> Value {
    let blocks = wishes.iter().enumerate();
    let blocks = blocks
        .map(|(n, (name, input))| json!({ "type": "tool_use", "id": format!("t{n}"), "name": name, "input": input }));
    json!({ "content": blocks.collect::<Vec<_>>(), "stop_reason": "tool_use" })
}

fn session() -> Session {
    Session::new(Settings::new("system", "the task"))
}

#[test]
fn a_model_that_is_done_ends_it_and_the_transcript_has_each_turn() {
    let mut world = Played::new([calls(&[("Read", json!({ "path": "a" }))]), says("done")]);
    let mut session = session();
    assert_eq!(work(&mut session, &mut world), Ending::Said("done".to_owned()));
    assert!(world.told().contains(r#"Read of {\"path\":\"a\"}"#), "{}", world.told());
    let text = session.transcript().text();
    let kinds: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].as_str().expect("a kind").to_owned())
        .collect();
    assert_eq!(kinds, ["begin", "answer", "result", "answer", "end"]);
    session.go_on("not yet");
    assert_eq!(work(&mut session, &mut world), Ending::Said("at last".to_owned()));
    assert!(world.told().contains("not yet"));
}

#[test]
fn calls_that_change_nothing_go_side_by_side_and_others_one_by_one() {
    let read = || ("Read", json!({}));
    let wishes = [read(), read(), ("Edit", json!({})), read(), ("Bash", json!({}))];
    let mut world = Played::new([calls(&wishes)]);
    work(&mut session(), &mut world);
    let order: Vec<&str> = world.order.iter().map(String::as_str).collect();
    let one_by_one = ["<Read", "<Read", ">Edit", "<Edit", ">Read", "<Read", ">Bash", "<Bash"];
    assert_eq!(order, [&[">Read", ">Read"][..], &one_by_one].concat());
}

#[test]
fn what_cannot_be_a_call_is_told_to_the_model_and_nothing_is_made() {
    for (wish, told) in [
        (("Teleport", json!({})), "there is no tool `Teleport` in this mission. There are: Read, Edit, Write, Bash."),
        (("Read", json!("path")), "must be one JSON object"),
        (("Read", json!(null)), "must be one JSON object"),
    ] {
        let mut world = Played::new([calls(&[wish])]);
        assert!(matches!(work(&mut session(), &mut world), Ending::Said(_)));
        assert!(world.told().contains(told) && world.told().contains(r#""is_error":true"#), "{}", world.told());
        assert!(world.order.is_empty(), "{:?}", world.order);
    }
}

#[test]
fn a_refusal_silence_and_sentences_without_end_end_it() {
    let silent = || json!({ "content": [], "stop_reason": "end_turn" });
    for (answers, asked, ending) in [
        (vec![stops("I will not.", "refusal")], 1, Ending::Refused("I will not.".to_owned())),
        (vec![silent(), silent(), silent()], 3, Ending::Nothing("the model said nothing, several times".to_owned())),
        (vec![silent(), says("ok")], 2, Ending::Said("ok".to_owned())),
        (vec![stops("in mid", "max_tokens"), says("-sentence")], 2, Ending::Said("in mid-sentence".to_owned())),
        (
            vec![stops("on and", "max_tokens"); 9],
            4,
            Ending::Nothing("the model came to no end: each answer was cut off at 8192 tokens".to_owned()),
        ),
    ] {
        let mut world = Played::new(answers);
        assert_eq!(work(&mut session(), &mut world), ending);
        assert_eq!(world.asked.len(), asked, "{ending:?}");
    }
}

#[test]
fn a_call_that_is_cut_off_is_not_made() {
    let mut cut = calls(&[("Read", json!({})), ("Write", json!({ "path": "a", "content": "half" }))]);
    cut["stop_reason"] = "max_tokens".into();
    let mut world = Played::new([cut]);
    work(&mut session(), &mut world);
    assert_eq!(world.order, [">Read", "<Read"]);
    assert!(world.told().contains("make it again, with less in it"), "{}", world.told());
}

#[test]
fn an_answer_that_does_not_arrive_is_asked_for_again_and_not_for_ever() {
    let fails = || Err(CallError::Failed("its arguments for the tool `Read` are no JSON object".to_owned()));
    let mut world = Played::new([says("done")]);
    world.answers.push_front(fails());
    assert_eq!(work(&mut session(), &mut world), Ending::Said("done".to_owned()));
    assert!(world.told().contains("are no JSON object"), "{}", world.told());
    world.answers = (0..9).map(|_| fails()).collect();
    assert!(matches!(work(&mut session(), &mut world), Ending::Failed(CallError::Failed(_))));
    assert_eq!(world.answers.len(), 6, "three times, and no more");
    world.answers = [Err(CallError::Denied("no".to_owned()))].into();
    assert_eq!(work(&mut session(), &mut world), Ending::Failed(CallError::Denied("no".to_owned())));
}

#[test]
fn circles_are_told_first_and_given_up_then() {
    let failing = || calls(&[("Read", json!({ "path": "gone" }))]);
    let edit = |old: &str, new: &str| calls(&[("Edit", json!({ "path": "a", "old": old, "new": new }))]);
    let write = |text: &str| calls(&[("Write", json!({ "path": "a", "content": text }))]);
    let back_and_forth = |n: usize| if n.is_multiple_of(2) { edit("x", "y") } else { edit("y", "x") };
    let ill: Play = |_| Told::error("no such file");
    let well: Play = |_| Told::well("ok");
    for (answers, play, nudged_after, given_up_after, what) in [
        (vec![failing(); 20], ill, 3, 5, "failed the same way"),
        ((0..20).map(back_and_forth).collect(), well, 3, 5, "back and forth"),
        ((0..20).map(|n| write(if n % 2 == 0 { "x" } else { "y" })).collect(), well, 4, 6, "back and forth"),
        (vec![failing(); 20], well, 4, 7, "said the same"),
    ] {
        let mut world = Played::new(answers);
        world.play = play;
        let ending = work(&mut session(), &mut world);
        assert!(matches!(&ending, Ending::Circles(how) if how.contains(what)), "{ending:?}");
        assert_eq!(world.asked.len(), given_up_after, "{what}");
        let nudge = |request: &Value| request.to_string().contains("You are going in circles");
        assert_eq!(world.asked.iter().position(nudge), Some(nudged_after), "{what}");
    }
}

#[test]
fn work_is_no_circle() {
    // The same test after each edit, which fails the same way as long as it is not right.
    let turn = |n: usize| match n % 2 {
        0 => calls(&[("Edit", json!({ "path": "a", "old": n.to_string(), "new": (n + 2).to_string() }))]),
        _ => calls(&[("Bash", json!({ "command": "make test" }))]),
    };
    let mut world = Played::new((0..10).map(turn));
    world.play = |wish| if wish.name == "Bash" { Told::error("exit code 1") } else { Told::well("ok") };
    assert!(matches!(work(&mut session(), &mut world), Ending::Said(_)));
    assert!(!world.last().to_string().contains("circles"));
}

#[test]
fn what_is_left_out_is_never_the_task_the_plan_or_an_open_failure() {
    let settings = Settings { context_bytes: 20_000, ..Settings::new("system", "the task that must not be lost") };
    let mut session = Session::new(settings);
    let mut plan = calls(&[("Bash", json!({ "command": "make" }))]);
    let said = json!({ "type": "text", "text": "I begin.\n\n## Plan\n1. look\n2. mend the lexer" });
    plan["content"].as_array_mut().expect("blocks").insert(0, said);
    let thought = json!({ "type": "reasoning", "signature": "s", "text": "t".repeat(300) });
    let turn = |n: usize| {
        let mut answer = calls(&[("Read", json!({ "path": format!("{n}.txt") }))]);
        answer["content"].as_array_mut().expect("blocks").insert(0, thought.clone());
        answer
    };
    let mut world = Played::new([plan].into_iter().chain((0..60).map(turn)));
    world.play = |wish| match wish.name.as_str() {
        "Bash" => Told::error("the lexer does not compile"),
        _ => Told::well("z".repeat(3_000)),
    };
    assert!(matches!(work(&mut session, &mut world), Ending::Said(_)));
    let mut cuts = 0;
    for request in &world.asked {
        let text = request["messages"].to_string();
        assert!(text.len() < 30_000, "{} bytes", text.len());
        assert!(text.contains("the task that must not be lost") && !text.contains(&"t".repeat(301)));
        assert!(
            text.matches(r#""reasoning""#).count() == text.matches(&"t".repeat(300)).count(),
            "thoughts stay whole"
        );
        if text.contains("earlier turns are left out") {
            cuts += 1;
            assert!(text.contains("2. mend the lexer") && text.contains("the lexer does not compile"), "{text}");
        }
    }
    assert!(cuts > 30, "{cuts}");
    assert!(session.transcript().text().contains("0.txt"), "people have all of it");
}

#[test]
fn an_answer_of_400_kb_does_not_fill_the_conversation() {
    let mut long = calls(&[("Read", json!({ "path": "a" }))]);
    long["content"].as_array_mut().expect("blocks").insert(0, json!({ "type": "text", "text": "w".repeat(400_000) }));
    let mut world = Played::new([long, says(&"v".repeat(400_000))]);
    let mut session = session();
    assert!(matches!(work(&mut session, &mut world), Ending::Said(said) if said.len() == 400_000));
    assert!(world.last().to_string().len() < 50_000);
    assert!(session.transcript().text().len() < 200_000);
}

#[test]
fn a_limit_that_comes_near_leaves_one_answer() {
    let looks = || calls(&[("Read", json!({ "path": "a" }))]);
    let mut world = Played::new([looks(), looks(), says("half is done")]);
    world.closing_after = 2;
    assert_eq!(work(&mut session(), &mut world), Ending::Landed(Some("half is done".to_owned())));
    assert!(world.landed && world.told().contains("Call no tool"), "{}", world.told());
    // It goes on calling tools: it had its chance.
    let mut world = Played::new([looks(), looks(), looks()]);
    world.closing_after = 1;
    assert_eq!(work(&mut session(), &mut world), Ending::Landed(None));
    assert_eq!((world.asked.len(), world.order.len()), (2, 2));
    // Nothing is left for it to say anything, and nobody is asked for more.
    let mut world = Played::new([looks(), looks(), looks()]);
    world.calls_left = 2;
    assert_eq!(work(&mut session(), &mut world), Ending::Landed(None));
    assert_eq!((world.asked.len(), world.landed), (2, true));
    // What is kept for landing is refused to who has not said that it lands.
    let mut world = Played::new([looks(), says("never asked"), says("words")]);
    world.answers[1] = Err(CallError::BudgetExhausted("kept for landing".to_owned()));
    assert_eq!(work(&mut session(), &mut world), Ending::Landed(Some("words".to_owned())));
    assert!(world.landed);
}

#[test]
fn an_answer_that_takes_longer_than_there_is_time_is_not_waited_for() {
    let looks = || calls(&[("Read", json!({ "path": "a" }))]);
    let mut world = Played::new([looks(), says("half is done")]);
    world.late_at = Some(2);
    let mut late = session();
    assert_eq!(work_until_landing(&mut late, &mut world), Ending::Landed(None));
    assert!(world.landed && world.asked.len() == 2, "what there is can be kept before the last words");
    assert_eq!(last_words(&mut late, &mut world), Ending::Landed(Some("half is done".to_owned())));
    // Nor are the last words.
    let mut world = Played::new([looks(), says("too late")]);
    (world.closing_after, world.late_at) = (1, Some(2));
    assert_eq!(work(&mut session(), &mut world), Ending::Landed(None));
    assert_eq!(world.answers.len(), 1);
}

#[test]
fn turns_are_counted_and_their_end_is_told_before() {
    let mut world = Played::new((0..50).map(|n| calls(&[("Read", json!({ "path": n.to_string() }))])));
    let mut session = Session::new(Settings { max_turns: 10, ..Settings::new("s", "t") });
    assert_eq!(work(&mut session, &mut world), Ending::Turns(10));
    assert_eq!(world.asked.len(), 10);
    assert!(world.asked[7].to_string().contains("3 turns are left"));
    assert_eq!(session.calls()["Read"], 10);
}

#[test]
fn results_are_told_in_words_and_within_bounds() {
    let ran = |code| json!({ "exit_code": code, "stdout": "out", "stderr": "", "truncated": false, "timed_out": code == 137 });
    for (result, content, is_error) in [
        (Ok(json!({ "content": "text", "bytes": 4, "truncated": false })), "text", false),
        (
            Ok(json!({ "content": "te", "bytes": 4, "truncated": true })),
            "te\n[this is a part of 4 bytes: read on with `offset`]",
            false,
        ),
        (Ok(ran(0)), "exit code 0\n[stdout]\nout", false),
        (Ok(ran(2)), "exit code 2\n[stdout]\nout", true),
        (Ok(ran(137)), "exit code 137 (it took too long and was killed)\n[stdout]\nout", true),
        (Ok(json!({ "paths": ["a"] })), r#"{"paths":["a"]}"#, false),
        (
            Err(CallError::Denied("not here".to_owned())),
            "denied: not here This will not be allowed if you ask again.",
            true,
        ),
    ] {
        assert_eq!(told(&result), Told { content: content.to_owned(), is_error });
    }
    let long = told(&Ok(json!({ "content": "ä".repeat(100_000) })));
    assert!(long.content.len() < 31_000 && long.content.contains("bytes left out here"));
}

struct Agent;

impl Plugin for Agent {
    fn describe() -> Manifest {
        Manifest::new("agent", "0.1.0", "Works.")
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let mut world = Granted::new(&tools);
        match work(&mut Session::new(Settings::new("s", brief.objective)), &mut world) {
            Ending::Said(text) => Ok(Outcome::new(text)),
            other => Err(Failure::new(other.to_string())),
        }
    }
}

#[test]
fn granted_tools_are_the_world_of_a_plugin() {
    let left = sortie_plugin::limits::Left { llm_calls: None, ..Default::default() };
    let node = Node::new()
        .left(left, false)
        .tool("Read", |arguments| Ok(json!({ "content": format!("read {}", arguments["path"]) })))
        .amend("Read", json!({ "path": "b" }))
        .model(Ok(calls(&[("read", json!({ "path": "a" }))])))
        .model(Ok(says("seen")));
    let ran = node.run::<Agent>(Node::brief("look", &json!({})));
    assert_eq!(ran.outcome.map(|outcome| outcome.summary), Ok("seen".to_owned()));
    let told = ran.asked[1]["messages"].to_string();
    assert!(
        told.contains(r#"a person had it made with {\"path\":\"b\"} instead"#) && told.contains(r#"read \"b\""#),
        "{told}"
    );
    assert_eq!(ran.asked[0]["tools"], json!(["Read"]));
}
