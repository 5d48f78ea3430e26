//! The file of a scripted model. Mistakes are told all at once, each with its place; what is no JSON, with its line.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sortie_contract::envelope::read_strictly;
use sortie_contract::mistake::{Pointer, code};

use super::{WAIT_SECONDS_MAX, seconds};
use crate::answer::{StopReason, Usage};
use crate::request::{Block, Fields, Mistakes, assistant_blocks};

/// Largest file, in bytes: it is kept in memory.
pub(crate) const FILE_BYTES_MAX: usize = 16 << 20;

/// Most entries: each call looks at them until one fits.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// A line of the script.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) when: When,
    /// After so many times it is used up; `None`: never.
    pub(super) times: Option<u32>,
    pub(super) say: Say,
}

/// What a request must be for an entry to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct When {
    pub(super) contains: Option<String>,
    /// How many times the assistant has spoken before.
    pub(super) turn: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Say {
    Answer { content: Vec<Block>, stop_reason: StopReason, usage: Option<Usage> },
    Fault(Fault),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    Status { status: u16, retry_after: Option<Duration> },
    Cut,
    Hang(Duration),
    Malformed(String),
}

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let cannot = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let read =
        File::open(path).map_err(cannot)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(cannot)?;
    if read > FILE_BYTES_MAX {
        return Err(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    parse(&text).map_err(|why| format!("{}: {why}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let (value, found) = read_strictly(text).map_err(|mistake| mistake.to_string())?;
    let mut wrong = Mistakes::default();
    for mistake in found {
        wrong.add(&mistake.pointer, &mistake.code, mistake.detail);
    }
    let entries = entries(value, &mut wrong).unwrap_or_default();
    if wrong.is_empty() { Ok(entries) } else { Err(wrong.to_string()) }
}

fn entries(value: Value, wrong: &mut Mistakes) -> Option<Vec<Entry>> {
    let mut fields = Fields::of(value, Pointer::root(), wrong)?;
    let place = fields.at("answers");
    let list = match fields.need("answers")? {
        Value::Array(list) if list.len() <= ENTRIES_MAX => list,
        Value::Array(list) => {
            let detail = format!("has {} entries, {ENTRIES_MAX} are allowed", list.len());
            fields.wrong.add(&place, code::TOO_LONG, detail);
            return None;
        }
        other => return fields.wrong_type("answers", "a list", &other),
    };
    let entries = list.into_iter().enumerate();
    let entries = entries.filter_map(|(index, value)| entry(value, &place.join(index), fields.wrong)).collect();
    fields.close();
    Some(entries)
}

fn entry(value: Value, place: &Pointer, wrong: &mut Mistakes) -> Option<Entry> {
    let mut fields = Fields::of(value, place.clone(), wrong)?;
    let at = fields.at("when");
    let when = fields.take("when").and_then(|value| when(value, &at, fields.wrong));
    let times = fields.whole("times", 1);
    let (at_answer, at_fault) = (fields.at("answer"), fields.at("fault"));
    let said = (fields.take("answer"), fields.text("text"), fields.take("fault"));
    let say = match said {
        (Some(value), None, None) => answer(value, at_answer, fields.wrong),
        (None, Some(text), None) => {
            let content = if text.is_empty() { Vec::new() } else { vec![Block::text(text)] };
            Some(Say::Answer { content, stop_reason: StopReason::EndTurn, usage: None })
        }
        (None, None, Some(value)) => fault(value, &at_fault, fields.wrong).map(Say::Fault),
        _ => {
            fields.wrong.add(place, code::REQUIRED, "must have one of answer, text and fault, and no other of them");
            None
        }
    };
    fields.close();
    // What is said to whoever asks for something is said each time; what has no condition, and what is to go wrong, once.
    let is_pattern = when.is_some() && matches!(say, Some(Say::Answer { .. }));
    let times = if is_pattern { times } else { times.or(Some(1)) };
    Some(Entry { when: when.unwrap_or_default(), times, say: say? })
}

fn when(value: Value, place: &Pointer, wrong: &mut Mistakes) -> Option<When> {
    let mut fields = Fields::of(value, place.clone(), wrong)?;
    let contains = fields.text("contains");
    let turn = fields.whole("turn", 0).map(|turn| turn as usize);
    if contains.is_none() && turn.is_none() && fields.wrong.is_empty() {
        fields.wrong.add(place, code::EMPTY, "must have contains, turn, or both");
    }
    fields.close();
    Some(When { contains, turn })
}

fn answer(value: Value, place: Pointer, wrong: &mut Mistakes) -> Option<Say> {
    let mut fields = Fields::of(value, place, wrong)?;
    let at = fields.at("content");
    let content = match fields.need("content") {
        Some(Value::String(text)) if text.is_empty() => Some(Vec::new()),
        Some(Value::String(text)) => Some(vec![Block::text(text)]),
        Some(list) => assistant_blocks(list, &at, fields.wrong),
        None => None,
    };
    let stop_reason = fields.choice(
        "stop_reason",
        &[
            ("end_turn", StopReason::EndTurn),
            ("tool_use", StopReason::ToolUse),
            ("max_tokens", StopReason::MaxTokens),
            ("refusal", StopReason::Refusal),
            ("stop", StopReason::Stop),
        ],
    );
    let at = fields.at("usage");
    let usage = fields.take("usage").and_then(|value| usage(value, at, fields.wrong));
    fields.close();
    let content = content?;
    let asks = content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
    let stop_reason = stop_reason.unwrap_or(if asks { StopReason::ToolUse } else { StopReason::EndTurn });
    Some(Say::Answer { content, stop_reason, usage })
}

fn usage(value: Value, place: Pointer, wrong: &mut Mistakes) -> Option<Usage> {
    let mut fields = Fields::of(value, place, wrong)?;
    let input_tokens = fields.count("input_tokens").unwrap_or(0);
    let output_tokens = fields.count("output_tokens").unwrap_or(0);
    let cached_input_tokens = fields.count("cached_input_tokens").unwrap_or(0);
    fields.close();
    Some(Usage { input_tokens, output_tokens, cached_input_tokens, estimated: false })
}

fn fault(value: Value, place: &Pointer, wrong: &mut Mistakes) -> Option<Fault> {
    let mut fields = Fields::of(value, place.clone(), wrong)?;
    let status =
        fields.whole("status", 300).and_then(|status| u16::try_from(status).ok().filter(|status| *status < 600));
    let retry_after = time(&mut fields, "retry_after_s");
    let cut = fields.boolean("cut").filter(|cut| *cut);
    let hang = time(&mut fields, "hang_s");
    let malformed = fields.text("malformed");
    let fault = match (status, cut, hang, malformed) {
        (Some(status), None, None, None) => Some(Fault::Status { status, retry_after }),
        (None, Some(_), None, None) => Some(Fault::Cut),
        (None, None, Some(hang), None) => Some(Fault::Hang(hang)),
        (None, None, None, Some(body)) => Some(Fault::Malformed(body)),
        _ => {
            let detail = "must have one of status (300 to 599), cut (true), hang_s and malformed, and no other of them";
            fields.wrong.add(place, code::REQUIRED, detail);
            None
        }
    };
    fields.close();
    fault
}

fn time(fields: &mut Fields<'_>, key: &'static str) -> Option<Duration> {
    let value = fields.take(key)?;
    let time = value.as_f64().and_then(seconds);
    if time.is_none() {
        let detail = format!("must be a number of seconds, 0 to {WAIT_SECONDS_MAX}");
        fields.wrong.add(&fields.at(key), code::OUT_OF_RANGE, detail);
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_documented() {
        let entries = parse(
            r#"{"answers": [
                {"text": "first"},
                {"when": {"contains": "weather", "turn": 1}, "text": "sunny"},
                {"when": {"turn": 0}, "times": 3, "answer": {"content": [{"type": "tool_use", "id": "1", "name": "Read", "input": {}}]}},
                {"answer": {"content": "no", "stop_reason": "refusal", "usage": {"input_tokens": 1, "output_tokens": 2}}},
                {"when": {"contains": "x"}, "fault": {"status": 429, "retry_after_s": 1.5}},
                {"fault": {"cut": true}}, {"fault": {"hang_s": 3}}, {"fault": {"malformed": "<html>"}}
            ]}"#,
        )
        .unwrap();
        let times: Vec<_> = entries.iter().map(|entry| entry.times).collect();
        assert_eq!(times, [Some(1), None, Some(3), Some(1), Some(1), Some(1), Some(1), Some(1)]);
        assert_eq!(entries[1].when, When { contains: Some("weather".to_owned()), turn: Some(1) });
        assert!(matches!(&entries[2].say, Say::Answer { stop_reason: StopReason::ToolUse, .. }));
        assert!(matches!(&entries[3].say, Say::Answer { usage: Some(usage), .. } if usage.output_tokens == 2));
        let faults: Vec<&Say> = entries[4..].iter().map(|entry| &entry.say).collect();
        let expected = [
            Fault::Status { status: 429, retry_after: Some(Duration::from_millis(1_500)) },
            Fault::Cut,
            Fault::Hang(Duration::from_secs(3)),
            Fault::Malformed("<html>".to_owned()),
        ]
        .map(Say::Fault);
        assert_eq!(faults, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, place) in [
            ("{\"answers\": [\n  nonsense]}", "line 2"),
            ("[]", "must be an object"),
            ("{}", "/answers: must be there"),
            (r#"{"answers": 3}"#, "/answers: must be a list"),
            (r#"{"answers": [{}]}"#, "/answers/0: must have one of"),
            (r#"{"answers": [{"text": "a", "fault": {"cut": true}}]}"#, "/answers/0: must have one of"),
            (r#"{"answers": [{"txt": "a"}]}"#, "/answers/0/txt: is not known here; is `text` meant?"),
            (r#"{"answers": [{"text": "a", "times": 0}]}"#, "/answers/0/times"),
            (r#"{"answers": [{"text": "a", "when": {}}]}"#, "/answers/0/when: must have contains"),
            (r#"{"answers": [{"text": "a", "when": {"turn": -1}}]}"#, "/answers/0/when/turn"),
            (r#"{"answers": [{"fault": {"status": 200}}]}"#, "/answers/0/fault"),
            (r#"{"answers": [{"fault": {"cut": false}}]}"#, "/answers/0/fault: must have one of"),
            (r#"{"answers": [{"fault": {"hang_s": 1e9}}]}"#, "/answers/0/fault/hang_s: must be a number of seconds"),
            (r#"{"answers": [{"answer": {}}]}"#, "/answers/0/answer/content: must be there"),
            (r#"{"answers": [{"answer": {"content": [{"type": "image"}]}}]}"#, "/answers/0/answer/content/0"),
            (r#"{"answers": [{"answer": {"content": "", "usage": {"input": 3}}}]}"#, "/answers/0/answer/usage/input"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(place), "{text}: {error}");
        }
        let missing = read(Path::new("no-such-script.json")).unwrap_err();
        assert!(missing.starts_with("no-such-script.json cannot be read"), "{missing}");
    }
}
