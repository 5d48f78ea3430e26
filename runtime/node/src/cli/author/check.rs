//! `sortie plugin check`: the cases of a plugin, and what came of each.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::record::{ArtifactSource, Record, Stamped};
use sortie_sandbox::{Installed, Sandbox};

use super::super::client::Client;
use super::super::compiled::Workshop;
use super::super::replay::{artifact_of, records_of, tools_of};
use super::super::text::{self, Column, Progress, Screen};
use super::super::{Exit, Failure};
use super::build::{Component, component};
use super::journal::{self, JournalArgs};
use crate::kit::recorded::{self, Around};
use crate::kit::{self, Case, Trial, Trials};

/// Where a project keeps its cases.
const CASES: &str = "cases";

/// What is checked.
#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// The cases: files, or folders of them. Without any, `cases/` of the project.
    #[arg(value_name = "CASE")]
    cases: Vec<PathBuf>,
    /// The folder of the project, which is built first.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Check this plugin, and build nothing.
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,
    /// Run each case once: without crashes and errors.
    #[arg(long)]
    once: bool,
    /// Make a case of a mission that a node has on record, and print it.
    #[arg(long, value_name = "MISSION", value_parser = super::super::named, conflicts_with_all = ["cases", "plugin", "once", "journal"])]
    from: Option<String>,
    #[command(flatten)]
    recorded: JournalArgs,
}

pub(super) async fn check(
    args: CheckArgs,
    client: impl FnOnce() -> Result<Client, Failure>,
    as_json: bool,
) -> Result<Exit, Failure> {
    if let Some(id) = &args.from {
        return from(id, &client()?).await;
    }
    if args.recorded.is_meant() {
        let CheckArgs { recorded, plugin, dir, .. } = args;
        return journal::check(recorded, || bytes_of(plugin.as_deref(), &dir), client, as_json).await;
    }
    let files = files(&args)?;
    let cases = files.iter().map(|file| Ok((file.clone(), Case::read(file).map_err(Failure::unusable)?)));
    let cases = cases.collect::<Result<Vec<_>, Failure>>()?;
    let bytes = bytes_of(args.plugin.as_deref(), &args.dir)?;
    let workshop = Workshop::open(kit::options)?;
    let plugin = workshop.install(bytes).await?;
    let trials = if args.once { Trials::Once } else { Trials::All };
    let tried = try_all(cases, workshop.sandbox.clone(), plugin, trials).await?;
    drop(workshop);
    let failed = tried.iter().filter(|(_, trial)| !trial.wrong.is_empty()).count();
    if as_json {
        let shown: Vec<Value> = tried.iter().map(|(file, trial)| shown(file, trial)).collect();
        text::json(&json!({ "cases": shown, "failed": failed }))?;
    } else {
        tell(&tried)?;
    }
    Ok(if failed == 0 { Exit::Completed } else { Exit::Failed })
}

/// The plugin that is checked: a file, or what is built of the project.
fn bytes_of(file: Option<&Path>, folder: &Path) -> Result<Vec<u8>, Failure> {
    match file {
        Some(file) => super::super::input::component(file),
        None => {
            let Component { file, bytes, anew } = component(folder)?;
            if !anew {
                let file = text::plain(&file.display().to_string());
                writeln!(std::io::stderr(), "{file}: nothing changed since it was built")?;
            }
            Ok(bytes)
        }
    }
}

/// Runs all cases, one after another, off the async threads.
async fn try_all(
    cases: Vec<(PathBuf, Case)>,
    sandbox: Sandbox,
    plugin: Installed,
    trials: Trials,
) -> Result<Vec<(PathBuf, Trial)>, Failure> {
    let trying = Progress::of("the cases are run");
    let tried = tokio::task::spawn_blocking(move || {
        let one = |(file, case): (PathBuf, Case)| {
            trying.now(format!("{} is run", file.display()));
            let trial = kit::run(&case, &sandbox, &plugin, trials);
            (file, trial)
        };
        cases.into_iter().map(one).collect()
    });
    Ok(tried.await?)
}

/// The files of the cases that are meant.
fn files(args: &CheckArgs) -> Result<Vec<PathBuf>, Failure> {
    let own = [args.dir.join(CASES)];
    let meant = if args.cases.is_empty() { &own[..] } else { &args.cases[..] };
    let mut files = Vec::new();
    for path in meant {
        if path.is_dir() {
            let unread = |error: std::io::Error| Failure::unusable(format!("{}: {error}", path.display()));
            let entries = path.read_dir().map_err(unread)?.filter_map(|entry| Some(entry.ok()?.path()));
            let mut cases: Vec<PathBuf> =
                entries.filter(|file| file.is_file() && file.extension().is_some_and(|end| end == "toml")).collect();
            cases.sort();
            files.extend(cases);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let place = meant[0].display();
        return Err(Failure::unusable(format!(
            "there is no case in {place}: a case is a file NAME.toml (docs/PLUGINS.md)"
        )));
    }
    Ok(files)
}

/// Prints the case of a mission.
async fn from(id: &str, client: &Client) -> Result<Exit, Failure> {
    let records = records_of(id, client).await?;
    let case = recorded::case_of(&records, &around(id, &records, client).await)?;
    let beyond = recorded::entries_beyond(&case, &records);
    let case = case.written()?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "#:schema ../case.schema.json\n# What was said to the mission {}, and what came of it.\n",
        text::plain(id)
    )?;
    write!(out, "{case}{}{beyond}", if beyond.is_empty() { "" } else { "\n" })?;
    Ok(Exit::Completed)
}

/// The longest artifact that is put into a case, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// What the node says beside the record. What it does not say, a case does without.
async fn around(id: &str, records: &[Stamped], client: &Client) -> Around {
    let tools = tools_of(client).await.unwrap_or_default();
    let mut texts = std::collections::BTreeMap::new();
    for stamped in records {
        let Record::ArtifactStored { artifact, source: ArtifactSource::File { .. }, .. } = &stamped.record else {
            continue;
        };
        if artifact.bytes > TEXT_BYTES_MAX || texts.contains_key(&artifact.sha256) {
            continue;
        }
        let bytes = artifact_of(id, artifact.name.as_str(), client).await;
        // Of that name there may be a later one.
        let text = bytes.filter(|bytes| Digest::of(bytes) == artifact.sha256).and_then(|it| String::from_utf8(it).ok());
        texts.extend(text.map(|text| (artifact.sha256, text)));
    }
    for (child, artifacts) in recorded::children::left_in(records) {
        for (name, bytes, sha256) in artifacts {
            if bytes > TEXT_BYTES_MAX || texts.contains_key(&sha256) {
                continue;
            }
            let bytes = artifact_of(&child, &name, client).await.filter(|bytes| Digest::of(bytes) == sha256);
            texts.extend(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| (sha256, text)));
        }
    }
    let models = client.page(&["v1", "models"], &[]).await.unwrap_or_default();
    let mut models: Vec<&Value> = models["items"].as_array().into_iter().flatten().collect();
    models.sort_by_key(|model| model["is_default"] != true);
    let models = models.iter().filter_map(|model| model["name"].as_str().map(str::to_owned)).collect();
    Around { tools, texts, models }
}

fn shown(file: &Path, trial: &Trial) -> Value {
    let Trial { wrong, end, calls, took_ms, crashes, errors, unanswered } = trial;
    let error = |error: &kit::UntilWhen| json!({ "call": error.call, "end": error.end, "properly": error.properly });
    json!({
        "case": file.display().to_string(), "passed": wrong.is_empty(), "wrong": wrong, "end": end, "calls": calls,
        "took_ms": u64::try_from(*took_ms).unwrap_or(u64::MAX), "crashes": crashes,
        "errors": errors.iter().map(error).collect::<Vec<_>>(), "unanswered": unanswered,
    })
}

fn tell(tried: &[(PathBuf, Trial)]) -> std::io::Result<()> {
    let screen = Screen::of_output();
    let mut out = std::io::stdout();
    for (file, trial) in tried {
        let name = text::plain(&file.display().to_string());
        let Trial { wrong, end, calls, took_ms, crashes, errors, unanswered } = trial;
        let stands = if wrong.is_empty() { "ok  " } else { "FAIL" };
        let took = text::span(u64::try_from(took_ms / 1_000).unwrap_or(u64::MAX));
        writeln!(out, "{stands}  {name}  {calls} calls in {took}; {crashes} crashes, {} errors", errors.len())?;
        if !end.is_empty() && !wrong.is_empty() {
            writeln!(out, "      it ended {}", text::plain(end))?;
        }
        for told in wrong {
            writeln!(out, "{}", indented(told))?;
        }
        for call in unanswered {
            writeln!(out, "      the case has no answer for {}", text::plain(call))?;
        }
    }
    let rows = tried.iter().flat_map(|(file, trial)| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        trial.errors.iter().map(move |error| {
            vec![
                name.clone().into(),
                text::plain(&error.call).into(),
                text::plain(error.end.lines().next().unwrap_or_default()).into(),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        writeln!(out, "\nwhere a call fails:")?;
        let columns = [Column::whole("CASE"), Column::cut("CALL", 24), Column::cut("IT ENDS", 24)];
        text::table(&columns, &rows, &screen)?;
    }
    let failed = tried.iter().filter(|(_, trial)| !trial.wrong.is_empty()).count();
    writeln!(out, "\n{} of {} cases pass", tried.len() - failed, tried.len())
}

fn indented(told: &str) -> String {
    let lines = told.lines().map(|line| format!("      {}", text::plain(line)));
    lines.collect::<Vec<_>>().join("\n")
}
