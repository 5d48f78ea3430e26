//! `ls`, `deliveries`, `artifacts`: many missions on a node, and what one of them left behind.

use std::io::{IsTerminal as _, Write as _};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{self, HeaderName};
use serde_json::{Value, json};
use sortie_contract::Status;
use sortie_contract::envelope::MissionType;
use sortie_contract::time::rfc3339;

use super::client::Client;
use super::text::{self, Cell, Column, Meaning, Progress, Screen};
use super::{Exit, Failure};

/// Which page of a list.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// How many, at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Where to go on: what the page before said.
    #[arg(long)]
    cursor: Option<String>,
}

impl PageArgs {
    /// As parameters of a query.
    fn query(&self) -> Vec<(&'static str, String)> {
        let cursor = self.cursor.clone().map(|cursor| ("cursor", cursor));
        [("limit", self.limit.to_string())].into_iter().chain(cursor).collect()
    }

    /// Asks for the page.
    pub(super) async fn get(&self, client: &Client, path: &[&str]) -> Result<Value, Failure> {
        client.page(path, &self.query()).await
    }
}

/// Says that there is more of a list, and how to get it. Nothing of it belongs to the list itself.
pub(super) fn say_more(page: &Value) {
    if let Some(cursor) = page["next_cursor"].as_str() {
        eprintln!("There is more: the same again with --cursor {}", text::plain(cursor));
    }
}

/// The items of a page.
pub(super) fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}

/// By what missions are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// The newest first.
    Age,
    /// Those that need somebody first, then those that go on, then those that are over.
    Status,
    /// By type.
    Type,
    /// By lane.
    Lane,
    /// Those whose window closes next first.
    Window,
    /// The dearest first.
    Cost,
    /// By id.
    Id,
}

/// What to list.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only missions in this status; several with commas.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    status: Vec<String>,
    /// Only missions of this VP.
    #[arg(long, value_name = "ID")]
    vp: Option<String>,
    /// Only missions of this session.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only missions of this lane.
    #[arg(long, value_name = "ID")]
    lane: Option<String>,
    /// Only missions that this one has dispatched.
    #[arg(long, value_name = "ID")]
    children_of: Option<String>,
    /// Only missions of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(MissionType::ALL.map(MissionType::as_str)))]
    mission_type: Option<String>,
    /// Only missions that were accepted after this time, such as 2026-11-22T20:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Only missions that fit all of these: KEY:VALUE (status, reason, type, lane, vp, session, trace, source, parent, plugin, id, waits, delivery,
    /// since, until, cost, ran), or a text that the id, objective or summary mentions.
    #[arg(value_name = "TERM")]
    terms: Vec<String>,
    /// Only missions that do not fit this term.
    #[arg(long, value_name = "TERM")]
    not: Vec<String>,
    /// The same, as one text.
    #[arg(short, value_name = "SEARCH", allow_hyphen_values = true)]
    q: Option<String>,
    /// Put all that match in this order, and list the first of them. Without it, the newest come first, page by page.
    #[arg(long, value_name = "BY", conflicts_with = "cursor")]
    sort: Option<Sort>,
    #[command(flatten)]
    page: PageArgs,
}

/// The terms as one search. A shell has taken the quotation marks away: a term with spaces gets them again.
fn search(terms: &[String], not: &[String], q: Option<&str>) -> Option<String> {
    let quoted = |term: &String| {
        if !term.contains(char::is_whitespace) || term.contains('"') {
            return term.clone();
        }
        match term.split_once(':') {
            Some((key, value)) if key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') => {
                format!("{key}:\"{value}\"")
            }
            _ => format!("\"{term}\""),
        }
    };
    let not = not.iter().map(|term| format!("-{}", quoted(term)));
    let words: Vec<String> = terms.iter().map(quoted).chain(not).chain(q.map(str::to_owned)).collect();
    Some(words.join(" ")).filter(|search| !search.is_empty())
}

/// A time, as it was written: who mistakes it is told of the option, not of what the node calls it.
fn time(text: &str) -> Result<String, &'static str> {
    rfc3339(text).map(|_| text.to_owned()).map_err(|_| "it must be an RFC 3339 time such as 2026-11-22T20:00:00Z")
}

/// Missions that are asked for at once, where all of them are looked at: as many as a node answers with.
const AT_ONCE: usize = 500;

/// Most pages of them that are asked for to put missions in order. A page may be short, or empty, and not be the last.
const SORTED_PAGES_MAX: usize = 10;

/// Most pages that are asked for to say how many more there are: nobody asked for that number.
const COUNTED_PAGES_MAX: usize = 2;

pub(super) async fn ls(args: LsArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let search = search(&args.terms, &args.not, args.q.as_deref());
    let filters = [
        ("status", Some(args.status.join(",")).filter(|status| !status.is_empty())),
        ("vp_id", args.vp),
        ("vp_session_id", args.session),
        ("vp_runtime_id", args.lane),
        ("parent", args.children_of),
        ("mission_type", args.mission_type),
        ("created_after", args.since),
        ("q", search),
    ];
    let filters: Vec<(&str, String)> = filters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let page = match args.sort {
        Some(by) => sorted(by, &filters, args.page.limit, client).await?,
        None => {
            let query: Vec<(&str, String)> = filters.iter().cloned().chain(args.page.query()).collect();
            client.page(&["v1", "missions"], &query).await?
        }
    };
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let screen = Screen::of_output();
    let rows: Vec<_> = items(&page).map(|mission| row(mission, &screen)).collect();
    text::table(&COLUMNS, &rows, &screen)?;
    if let Some(cursor) = page["next_cursor"].as_str() {
        let counted = if screen.width().is_some() { rest(&filters, cursor, client).await } else { None };
        let more = counted.unwrap_or_else(|| "There is more".to_owned());
        // Of a limit beyond that the node gives no more.
        let shows = if rows.len() < AT_ONCE {
            format!("; --limit, up to {AT_ONCE}, shows more at once")
        } else {
            String::new()
        };
        eprintln!("{more}{shows}. The next ones: the same again with --cursor {}", text::plain(cursor));
    }
    Ok(Exit::Completed)
}

/// The first of all missions that match, in another order than the node's. They are no page of a list that goes on behind a cursor: `more`
/// says whether more match than these.
async fn sorted(by: Sort, filters: &[(&str, String)], limit: u32, client: &Client) -> Result<Value, Failure> {
    let progress = Progress::of("missions are looked at");
    let (mut all, mut cursor) = (Vec::new(), None);
    for _ in 0..SORTED_PAGES_MAX {
        let mut page = further(filters, cursor.take(), client).await?;
        if let Value::Array(items) = page["items"].take() {
            all.extend(items);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        progress.now(format!("missions are looked at: {} so far", all.len()));
    }
    drop(progress);
    let (found, limit) = (all.len(), usize::try_from(limit).unwrap_or(usize::MAX));
    put_in_order(by, &mut all);
    all.truncate(limit);
    if let Some(says) = left_out(found, limit, cursor.is_none()) {
        eprintln!("{says}");
    }
    Ok(json!({"items": all, "more": found > limit || cursor.is_some()}))
}

/// What is not in a list of the first `limit` of `found` missions in order, where there is something; `is_all`, where no others match.
fn left_out(found: usize, limit: usize, is_all: bool) -> Option<String> {
    let more = found.saturating_sub(limit);
    let more = (more > 0).then(|| format!("{more} more; --limit {found} shows them"));
    let others = (!is_all).then(|| {
        format!("Only the newest {found} that match were looked at: narrow the list (--status, --since, …) to have all in order")
    });
    let says: Vec<String> = more.into_iter().chain(others).collect();
    (!says.is_empty()).then(|| says.join(". "))
}

/// Puts missions in order; those that are equal stay newest first.
fn put_in_order(by: Sort, missions: &mut [Value]) {
    const STATUSES: [&str; 7] = ["blocked", "running", "queued", "failed", "timed_out", "cancelled", "completed"];
    let name = |mission: &Value, key: &str| mission[key].as_str().unwrap_or_default().to_owned();
    match by {
        Sort::Age => {}
        Sort::Status => missions.sort_by_key(|mission| {
            STATUSES.iter().position(|status| mission["status"] == *status).unwrap_or(STATUSES.len())
        }),
        Sort::Type => missions.sort_by_key(|mission| name(mission, "mission_type")),
        Sort::Lane => missions.sort_by_key(|mission| name(mission, "vp_runtime_id")),
        Sort::Id => missions.sort_by_key(|mission| name(mission, "mission_id")),
        Sort::Window => missions.sort_by_key(|mission| {
            let closes = mission["autonomy_window"]["end_at"].as_str().and_then(|at| rfc3339(at).ok());
            // One that is over has no window to come, and one without an end none that closes.
            (!mission["ended_at"].is_null(), closes.is_none(), closes)
        }),
        Sort::Cost => {
            let cost = |mission: &Value| mission["usage"]["estimated_cost_usd"].as_f64().unwrap_or(0.0);
            missions.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        }
    }
}

/// How many missions that match come behind a page; nothing where that cannot be found out.
async fn rest(filters: &[(&str, String)], cursor: &str, client: &Client) -> Option<String> {
    let _progress = Progress::of("the other missions are counted");
    let (mut count, mut cursor) = (0, cursor.to_owned());
    for _ in 0..COUNTED_PAGES_MAX {
        let page = further(filters, Some(cursor), client).await.ok()?;
        count += items(&page).count();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Some(format!("{count} more")),
        }
    }
    Some(format!("More than {count} more"))
}

async fn further(filters: &[(&str, String)], cursor: Option<String>, client: &Client) -> Result<Value, Failure> {
    let limit = [("limit", AT_ONCE.to_string())];
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    let query: Vec<(&str, String)> = filters.iter().cloned().chain(limit).chain(cursor).collect();
    client.page(&["v1", "missions"], &query).await
}

/// What a list tells of a mission. Where there is no room, the last of them go first.
const COLUMNS: [Column<'static>; 8] = [
    Column::whole("MISSION"),
    Column::cut("STATUS", 28),
    Column::whole("ACCEPTED"),
    Column::cut("TYPE", 8).spare(),
    Column::cut("LANE", 8).spare(),
    Column::whole("WINDOW").spare(),
    Column::whole("COST").spare(),
    Column::cut("SUMMARY", 16).spare(),
];

fn row(mission: &Value, screen: &Screen) -> Vec<Cell> {
    let meaning = if mission["quarantined"] == true { Meaning::Bad } else { Meaning::of(&mission["status"]) };
    let [id, kind, lane, summary] =
        ["mission_id", "mission_type", "vp_runtime_id", "summary"].map(|key| text::cell(&mission[key]));
    let cost = text::money(&mission["usage"]["estimated_cost_usd"]);
    vec![
        id.into(),
        Cell::new(stands(mission, screen), meaning),
        screen.age(&mission["accepted_at"]).into(),
        kind.into(),
        lane.into(),
        window(mission, screen).into(),
        cost.into(),
        summary.into(),
    ]
}

/// How a mission stands, and why.
fn stands(mission: &Value, screen: &Screen) -> String {
    let mut stands = text::cell(&mission["status"]);
    let reason = text::cell(&mission["reason"]);
    if let Some(wait) = wait(&mission["waits_for"], screen) {
        stands.push_str(&format!(" ({wait})"));
    } else if !reason.is_empty() && mission["status"] != "completed" {
        stands.push_str(&format!(" ({reason})"));
    }
    if mission["quarantined"] == true {
        stands.push_str(" (quarantine)");
    }
    if mission["kept"] == true {
        stands.push_str(" (kept)");
    }
    stands
}

/// What a mission waits for, in words; nothing where it does not wait.
fn wait(wait: &Value, screen: &Screen) -> Option<String> {
    let what = text::plain(wait["what"].as_str()?);
    let first = text::cell(&wait["mission_id"]);
    let first = if first.is_empty() { first } else { format!(", busy with {first}") };
    let until = match (screen.age(&wait["until"]), screen.width()) {
        (until, _) if until.is_empty() => until,
        (until, None) => format!(", until {until}"),
        (until, Some(_)) if what == "people" => format!(", expires {until}"),
        (until, Some(_)) => format!(" {until}"),
    };
    Some(format!("{what}{until}{first}"))
}

/// When a mission may run. What is over has no window that matters to who reads now.
fn window(mission: &Value, screen: &Screen) -> String {
    let window = &mission["autonomy_window"];
    let [from, to] = ["start_at", "end_at"].map(|key| screen.age(&window[key]));
    if screen.width().is_none() {
        return if from.is_empty() && to.is_empty() { String::new() } else { format!("{from}..{to}") };
    }
    let is_ahead = from.starts_with("in ");
    match (mission["ended_at"].is_null(), is_ahead, to.is_empty()) {
        (true, true, _) => format!("opens {from}"),
        (true, false, false) => format!("closes {to}"),
        _ => String::new(),
    }
}

/// Which deliveries.
#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// Only those in this state. Without it, those that are pending or parked.
    #[arg(long, value_parser = ["pending", "parked", "incomplete"])]
    state: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn deliveries(args: DeliveriesArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let state = args.state.into_iter().map(|state| ("state", state));
    let query: Vec<(&str, String)> = state.chain(args.page.query()).collect();
    let page = client.page(&["v1", "deliveries"], &query).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let screen = Screen::of_output();
    let row = |item: &Value| {
        let [id, state, waiting, attempts, error] =
            ["mission_id", "state", "waiting", "attempts", "error"].map(|key| text::cell(&item[key]));
        let meaning = if state == "pending" { Meaning::Plain } else { Meaning::Bad };
        let next = screen.age(&item["next_attempt_at"]);
        vec![id.into(), Cell::new(state, meaning), next.into(), attempts.into(), waiting.into(), error.into()]
    };
    let columns = [
        Column::whole("MISSION"),
        Column::whole("STATE"),
        Column::whole("NEXT ATTEMPT").spare(),
        Column::whole("ATTEMPTS").spare(),
        Column::whole("WAITING").spare(),
        Column::cut("ERROR", 16),
    ];
    text::table(&columns, &items(&page).map(row).collect::<Vec<_>>(), &screen)?;
    say_more(&page);
    Ok(Exit::Completed)
}

/// What says that an answer is the bytes of an artifact: its tag.
const BYTES: (HeaderName, &str) = (header::ETAG, "\"");

/// The exit code of a final status.
pub(super) fn exit_of(status: &str) -> Option<Exit> {
    match status {
        "completed" => Some(Exit::Completed),
        "failed" => Some(Exit::Failed),
        "timed_out" => Some(Exit::TimedOut),
        "cancelled" => Some(Exit::Cancelled),
        _ => None,
    }
}

pub(super) async fn artifacts(id: &str, get: Option<&str>, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    if let Some(name) = get {
        let path: Vec<&str> = ["v1", "missions", id, "artifacts"].into_iter().chain(name.split('/')).collect();
        let mut chunks = client.stream(client.request(Method::GET, &path), BYTES).await?.bytes_stream();
        let mut out = std::io::stdout();
        // At a terminal its lines are seen, with what a terminal would obey or hide written out; elsewhere the bytes go on as they are.
        let is_seen = out.is_terminal();
        let progress = (!is_seen).then(|| Progress::of(text::plain(name)));
        let (mut written, mut line) = (0_u64, Vec::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            written += chunk.len() as u64;
            if is_seen {
                line.extend_from_slice(&chunk);
                show_lines(&mut out, &mut line)?;
            } else {
                out.write_all(&chunk)?;
            }
            if let Some(progress) = &progress {
                progress.now(format!("{}: {}", text::plain(name), text::size(written)));
            }
        }
        out.write_all(text::plain(&String::from_utf8_lossy(&line)).as_bytes())?;
        out.flush()?;
        return Ok(Exit::Completed);
    }
    let index = client.page(&["v1", "missions", id, "artifacts"], &[]).await?;
    if as_json {
        text::json(&index)?;
    } else {
        let screen = Screen::of_output();
        text::table(&text::ARTIFACTS, &text::artifact_rows(&index["items"], &screen), &screen)?;
    }
    Ok(Exit::Completed)
}

/// Writes the lines that are whole, and keeps what is behind them.
fn show_lines(out: &mut impl std::io::Write, line: &mut Vec<u8>) -> std::io::Result<()> {
    let Some(end) = line.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
    let rest = line.split_off(end + 1);
    let whole = std::mem::replace(line, rest);
    out.write_all(text::plain_lines(&String::from_utf8_lossy(&whole)).as_bytes())
}

pub(super) async fn keep(id: &str, keeps: bool, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let request = client.request(Method::POST, &["v1", "missions", id, "keep"]);
    let body = json!({"keep": keeps}).to_string();
    let state = client.json(request.header("content-type", "application/json").body(body), "mission_id").await?;
    if as_json {
        text::json(&state)?;
    } else {
        let says = if keeps { "is kept, with its artifacts" } else { "goes when its time has come" };
        writeln!(std::io::stdout(), "{} {says}", text::cell(&state["mission_id"]))?;
    }
    Ok(Exit::Completed)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn screen(width: Option<usize>) -> Screen {
        Screen::fixed(width, false, TimeZone::UTC, "2026-11-26T21:00:00Z")
    }

    #[test]
    fn a_mission_says_why_it_stands_as_it_does() {
        let until = json!({"what": "window", "until": "2026-11-26T23:00:00Z"});
        for (mission, on_a_terminal, in_a_file) in [
            (
                json!({"status": "queued", "waits_for": until}),
                "queued (window in 2 h)",
                "queued (window, until 2026-11-26T23:00:00+00:00)",
            ),
            (
                json!({"status": "blocked", "waits_for": {"what": "people", "until": "2026-11-27T20:00:00Z"}}),
                "blocked (people, expires in 23 h)",
                "blocked (people, until 2026-11-27T20:00:00+00:00)",
            ),
            (
                json!({"status": "queued", "waits_for": {"what": "session", "mission_id": "first"}}),
                "queued (session, busy with first)",
                "queued (session, busy with first)",
            ),
            (
                json!({"status": "failed", "reason": "criterion_unmet"}),
                "failed (criterion_unmet)",
                "failed (criterion_unmet)",
            ),
            (json!({"status": "completed", "reason": "done"}), "completed", "completed"),
            (json!({"status": "running", "quarantined": true}), "running (quarantine)", "running (quarantine)"),
        ] {
            assert_eq!(stands(&mission, &screen(Some(80))), on_a_terminal);
            assert_eq!(stands(&mission, &screen(None)), in_a_file);
        }
    }

    #[test]
    fn a_window_matters_until_the_mission_is_over() {
        let of = |from: Value, to: Value, ended: Value| json!({"autonomy_window": {"start_at": from, "end_at": to}, "ended_at": ended});
        let (past, ahead) = (json!("2026-11-26T20:00:00Z"), json!("2026-11-26T23:00:00Z"));
        for (mission, on_a_terminal, in_a_file) in [
            (of(Value::Null, Value::Null, Value::Null), "", ""),
            (of(ahead.clone(), Value::Null, Value::Null), "opens in 2 h", "2026-11-26T23:00:00+00:00.."),
            (
                of(past.clone(), ahead.clone(), Value::Null),
                "closes in 2 h",
                "2026-11-26T20:00:00+00:00..2026-11-26T23:00:00+00:00",
            ),
            (of(Value::Null, ahead, past), "", "..2026-11-26T23:00:00+00:00"),
        ] {
            assert_eq!(window(&mission, &screen(Some(80))), on_a_terminal);
            assert_eq!(window(&mission, &screen(None)), in_a_file);
        }
    }

    #[test]
    fn what_is_left_out_of_an_order_is_told_without_contradiction() {
        let narrow = "narrow the list (--status, --since, …) to have all in order";
        for (found, limit, is_all, expected) in [
            (3, 50, true, None),
            (60, 50, true, Some("10 more; --limit 60 shows them".to_owned())),
            (40, 50, false, Some(format!("Only the newest 40 that match were looked at: {narrow}"))),
            (
                5_000,
                50,
                false,
                Some(format!(
                    "4950 more; --limit 5000 shows them. Only the newest 5000 that match were looked at: {narrow}"
                )),
            ),
        ] {
            assert_eq!(left_out(found, limit, is_all), expected, "{limit} of {found}");
        }
    }

    #[test]
    fn missions_are_put_in_order() {
        let mission = |id: &str, status: &str, lane: &str, cost: f64, closes: Option<&str>, ended: Option<&str>| {
            json!({"mission_id": id, "status": status, "mission_type": lane, "vp_runtime_id": lane,
                "usage": {"estimated_cost_usd": cost}, "autonomy_window": {"end_at": closes}, "ended_at": ended})
        };
        let all = [
            mission("d", "completed", "x", 0.5, Some("2026-11-26T20:00:00Z"), Some("2026-11-26T20:00:00Z")),
            mission("c", "queued", "y", 0.0, Some("2026-11-26T23:00:00Z"), None),
            mission("b", "blocked", "x", 2.0, Some("2026-11-26T22:00:00Z"), None),
            mission("a", "failed", "w", 0.5, None, None),
        ];
        for (by, expected) in [
            (Sort::Age, "dcba"),
            (Sort::Status, "bcad"),
            (Sort::Type, "adbc"),
            (Sort::Lane, "adbc"),
            (Sort::Window, "bcad"),
            (Sort::Cost, "bdac"),
            (Sort::Id, "abcd"),
        ] {
            let mut missions = all.to_vec();
            put_in_order(by, &mut missions);
            let order: String = missions.iter().filter_map(|mission| mission["mission_id"].as_str()).collect();
            assert_eq!(order, expected, "{by:?}");
        }
    }

    #[test]
    fn a_terminal_is_shown_lines_that_it_does_not_obey() {
        let (mut out, mut line) = (Vec::new(), Vec::new());
        for chunk in [&b"a\x1b[2J\nb\xc3"[..], b"\xa4\n", b"rest"] {
            line.extend_from_slice(chunk);
            show_lines(&mut out, &mut line).expect("memory");
        }
        assert_eq!((String::from_utf8_lossy(&out).as_ref(), line.as_slice()), ("a\\u{1b}[2J\nb\u{e4}\n", &b"rest"[..]));
    }
}
