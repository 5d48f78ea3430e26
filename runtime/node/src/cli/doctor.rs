//! `sortie doctor`: is everything well, and if not, what to do.
//!
//! It has one subject, and names it: the node of a configuration (with its data directory, before it runs and while it does), or the
//! node that `--node` names, where that is another. Each line says of which side it speaks. It takes no journal, and changes nothing.

mod here;
mod there;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, with_causes};
use super::{Exit, Failure, text};
use crate::config::Config;

/// Whose data directory is looked at.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The data directory that `sortie serve --data-dir` is given; without it the configuration's.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// What a line speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The configuration and its data directory, as they are on this machine.
    Here,
    /// The node that was asked.
    Node,
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// It is as it should be.
    Well,
    /// It cannot be judged from here, or is no fault: to be known.
    Note,
    /// Somebody has to look.
    Look,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    what: &'static str,
    level: Level,
    says: String,
}

impl Finding {
    fn new(what: &'static str, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(says) => Self { what, level: Level::Well, says },
            Err(says) => Self { what, level: Level::Look, says },
        }
    }

    fn note(what: &'static str, says: impl Into<String>) -> Self {
        Self { what, level: Level::Note, says: says.into() }
    }
}

/// A node that was asked.
enum Asked {
    /// It answered.
    There(Value),
    /// Nothing answers there.
    Silent(String),
    /// Something answers, but not as it should, or cannot be asked.
    Odd(String),
}

/// Looks. `place` is the configuration's file; `client` how to ask the node, where that is known; `named` says that it was named on
/// the command line, and is not just the one that the configuration describes.
pub(super) async fn doctor(
    config: &Config,
    place: Option<PathBuf>,
    client: Result<Client, Failure>,
    named: bool,
    as_json: bool,
) -> Result<Exit, Failure> {
    let data_dir = config.data_dir()?;
    let asked = ask(client.as_ref(), &data_dir).await;
    let client = client.ok();
    let its_own = match (&asked, &client) {
        (Asked::There(_), Some(client)) => client.is_of(&data_dir).await,
        _ => false,
    };
    let mut findings = Vec::new();
    // A node that is named, and is not this configuration's, is looked at alone.
    let here = its_own || !named;
    if here {
        let here = here::look(config, &data_dir, its_own).await;
        findings.extend(here.into_iter().map(|finding| (Side::Here, finding)));
    }
    let there = match (asked, &client) {
        (Asked::There(node), Some(client)) => there::look(&node, client, its_own.then_some(config)).await,
        (Asked::There(_), None) => Vec::new(),
        (Asked::Silent(says), _) if named => vec![Finding::new("node", Err(says))],
        (Asked::Silent(says), _) => vec![Finding::note("node", says)],
        (Asked::Odd(says), _) => vec![Finding::new("node", Err(says))],
    };
    findings.extend(there.into_iter().map(|finding| (Side::Node, finding)));
    let configuration = place.map_or_else(|| "the defaults".to_owned(), |place| place.display().to_string());
    let subject = Subject {
        here: here.then(|| (configuration, data_dir.display().to_string())),
        node: client.map(|client| client.url().to_string()),
        its_own,
    };
    report(&subject, &findings, as_json)?;
    let well = findings.iter().all(|(_, finding)| finding.level != Level::Look);
    Ok(if well { Exit::Completed } else { Exit::Failed })
}

/// What is looked at.
struct Subject {
    /// The configuration and its data directory, where they are.
    here: Option<(String, String)>,
    /// The node's address.
    node: Option<String>,
    /// Whether that node works on that data directory.
    its_own: bool,
}

impl Subject {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.here {
            Some((configuration, data_dir)) => {
                lines.push(format!("here  the configuration {configuration}, data directory {data_dir}"));
            }
            None => lines.push("here  not looked at: the node that was named is not this configuration's".to_owned()),
        }
        if let Some(node) = &self.node {
            let own = if self.its_own { ", which works on that data directory" } else { "" };
            lines.push(format!("node  {node}{own}"));
        }
        lines
    }
}

/// What takes the most of a data directory, in words, behind what is free.
fn taken_by(kinds: &[(&str, u64)]) -> String {
    let mut kinds: Vec<_> = kinds.iter().filter(|(_, bytes)| bytes >> 20 > 0).collect();
    kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let told: Vec<_> =
        kinds.iter().map(|(kind, bytes)| format!("{} {}", kind.replace('_', " "), text::size(*bytes))).collect();
    if told.is_empty() { String::new() } else { format!("; taken by {}", told.join(", ")) }
}

fn report(subject: &Subject, findings: &[(Side, Finding)], as_json: bool) -> std::io::Result<()> {
    let side = |side: &Side| if *side == Side::Here { "here" } else { "node" };
    if as_json {
        let view = |(of, finding): &(Side, Finding)| {
            let level = match finding.level {
                Level::Well => "ok",
                Level::Note => "note",
                Level::Look => "look",
            };
            json!({
                "of": side(of), "what": finding.what, "level": level, "well": finding.level != Level::Look,
                "says": finding.says,
            })
        };
        let here = subject
            .here
            .as_ref()
            .map(|(configuration, data_dir)| json!({"configuration": configuration, "data_dir": data_dir}));
        let node = subject.node.as_ref().map(|url| json!({"url": url, "of_this_data_dir": subject.its_own}));
        let well = findings.iter().all(|(_, finding)| finding.level != Level::Look);
        let findings: Vec<Value> = findings.iter().map(view).collect();
        return text::json(&json!({"well": well, "here": here, "node": node, "findings": findings}));
    }
    let mut out = std::io::stdout().lock();
    for line in subject.lines() {
        writeln!(out, "{}", text::plain(&line))?;
    }
    for (of, Finding { what, level, says }) in findings {
        let level = match level {
            Level::Well => "ok  ",
            Level::Note => "note",
            Level::Look => "look",
        };
        writeln!(out, "{level}  {}  {what}: {}", side(of), text::plain(says))?;
    }
    Ok(())
}

async fn ask(client: Result<&Client, &Failure>, data_dir: &Path) -> Asked {
    let client = match client {
        Ok(client) => client,
        Err(_) if matches!(std::fs::exists(data_dir.join("token")), Ok(false)) => {
            return Asked::Silent(format!("not asked: there is no token in {} yet", data_dir.display()));
        }
        Err(failure) => return Asked::Odd(format!("not asked: {}", failure.error)),
    };
    match client.get(&["v1", "node"], "instance_id").await {
        Ok(node) => Asked::There(node),
        Err(_) if client.is_silent().await => {
            Asked::Silent(format!("nothing answers at {}; `sortie serve` starts a node", client.url()))
        }
        Err(failure) => Asked::Odd(failure.error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn before_the_first_start_there_is_nothing_to_complain_of() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.node.listen = "127.0.0.1:0".to_owned();
        config.node.data_dir = Some(dir.path().join("a/b"));
        let client = Client::new(None, None, &config);
        let exit = doctor(&config, None, client, false, true).await.map_err(|failure| failure.error.to_string());
        assert_eq!(exit, Ok(Exit::Completed));
        assert!(!dir.path().join("a").exists(), "nothing was made");
    }

    #[test]
    fn the_subject_is_named() {
        let here = Some(("./sortie.toml".to_owned(), "/data".to_owned()));
        let node = Some("http://a/".to_owned());
        for (subject, expected) in [
            (
                Subject { here: here.clone(), node: node.clone(), its_own: true },
                ["here  the configuration ./sortie.toml", "node  http://a/, which works on that"],
            ),
            (
                Subject { here, node: node.clone(), its_own: false },
                ["here  the configuration ./sortie.toml", "node  http://a/"],
            ),
            (Subject { here: None, node, its_own: false }, ["here  not looked at", "node  http://a/"]),
        ] {
            let lines = subject.lines();
            assert!(lines.iter().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{lines:?}");
        }
    }
}
