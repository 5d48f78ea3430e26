//! What a shell completes: commands and options from their definition, names of missions and of other things from the node, where one
//! answers at once. Nothing here ever says a word of its own: a shell would take it for a name.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use serde_json::Value;

use super::client::Client;
use super::{Cli, Exit, Failure, look, text};
use crate::config::Config;

/// The variable with which the script of a shell asks.
const ASKED: &str = "SORTIE_COMPLETE";

/// How long somebody who pressed a key waits for names.
const PATIENCE: Duration = Duration::from_millis(700);

/// Most names that are offered.
const NAMES_MAX: usize = 200;

/// Answers a shell that asks what there is to complete, and ends; does nothing where no shell asks.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(ASKED).complete();
}

/// Prints what a shell has to read to ask.
pub(super) fn print(shell: Shell) -> Result<Exit, Failure> {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let completer = shells.completer(&name).ok_or("there are no completions for this shell")?;
    let mut script = Vec::new();
    completer.write_registration(ASKED, "sortie", "sortie", "sortie", &mut script)?;
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Completed)
}

/// Prints the manual page, or writes one for each command into a folder.
pub(super) fn manual(folder: Option<&Path>) -> Result<Exit, Failure> {
    let command = Cli::command();
    match folder {
        None => clap_mangen::Man::new(command).render(&mut std::io::stdout())?,
        Some(folder) => {
            let named = |error| Failure::unusable(format!("{}: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(named)?;
            clap_mangen::generate_to(command, folder).map_err(named)?;
        }
    }
    Ok(Exit::Completed)
}

/// Ids of missions, the newest first.
pub(super) fn missions() -> ArgValueCompleter {
    named(&["v1", "missions"], |mission| {
        let says = format!("{}  {}", text::cell(&mission["status"]), text::cell(&mission["objective"]));
        Some((mission["mission_id"].as_str()?.to_owned(), says))
    })
}

/// Ids of open requests: of the mission that was typed before.
pub(super) fn requests() -> ArgValueCompleter {
    named(&["v1", "requests"], |request| {
        let mission = request["mission_id"].as_str()?;
        let is_typed = typed().iter().any(|word| word == mission);
        is_typed.then(|| Some((request["request_id"].as_str()?.to_owned(), text::cell(&request["question"]))))?
    })
}

/// Names of schedules.
pub(super) fn schedules() -> ArgValueCompleter {
    named(&["v1", "schedules"], |item| Some((item["id"].as_str()?.to_owned(), text::cell(&item["note"]))))
}

/// Names of plugins.
pub(super) fn plugins() -> ArgValueCompleter {
    named(&["v1", "plugins"], |item| Some((item["name"].as_str()?.to_owned(), text::cell(&item["description"]))))
}

/// Names of tools.
pub(super) fn tools() -> ArgValueCompleter {
    named(&["v1", "tools"], |item| Some((item["name"].as_str()?.to_owned(), text::cell(&item["description"]))))
}

/// Names from a list of the node; what each of its items is called, and what is said of it.
fn named(
    path: &'static [&'static str],
    name: impl Fn(&Value) -> Option<(String, String)> + Send + Sync + 'static,
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let begins = current.to_string_lossy();
        let page = ask(path).unwrap_or_default();
        let names = look::items(&page).filter_map(&name).filter(|(name, _)| name.starts_with(&*begins));
        let candidate = |(order, (name, says)): (usize, (String, String))| {
            const SAYS_MAX: usize = 60;
            let says = text::cut(&says, SAYS_MAX);
            CompletionCandidate::new(name).help(Some(says.into())).display_order(Some(order))
        };
        names.take(NAMES_MAX).enumerate().map(candidate).collect()
    })
}

/// A list of the node that is meant by what was typed; nothing, where it cannot be had at once.
fn ask(path: &[&str]) -> Option<Value> {
    let words = typed();
    let option = |name: &str| value_of(&words, name);
    let config = Config::load(option("--config").as_deref().map(Path::new)).ok()?;
    let variable = |name: &str| std::env::var(name).ok();
    let node = option("--node").or_else(|| variable("SORTIE_NODE"));
    let token = option("--token").or_else(|| variable("SORTIE_TOKEN"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(node.as_deref(), token.as_deref(), &config).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let limit = [("limit", NAMES_MAX.to_string())];
    // Lists that are short by their nature have no pages.
    let query = if matches!(path.last(), Some(&("tools" | "plugins"))) { &[][..] } else { &limit[..] };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client.page(path, query)).await.ok()?.ok() })
}

/// The words of the command line that is completed: behind `--`.
fn typed() -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    words.map(OsString::into_string).filter_map(Result::ok).collect()
}

/// What was typed for an option.
fn value_of(words: &[String], option: &str) -> Option<String> {
    words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(option)? {
        "" => words.get(index + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_among_words() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, expected) in [
            ("sortie --node http://a show m", Some("http://a")),
            ("sortie show --node=http://b m", Some("http://b")),
            ("sortie show --nodes x", None),
            ("sortie show --node", None),
            ("sortie show m", None),
        ] {
            assert_eq!(value_of(&words(line), "--node").as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn the_command_line_is_well_made() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_a_manual_page() {
        let folder = tempfile::tempdir().expect("a folder");
        manual(Some(&folder.path().join("man"))).map_err(|failure| failure.error.to_string()).expect("written");
        let mut pages = 0;
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = folder.path().join("man").join(format!("sortie-{}.1", command.get_name()));
            assert!(
                std::fs::read_to_string(&page).is_ok_and(|page| page.contains(".SH SYNOPSIS")),
                "{}",
                page.display()
            );
            pages += 1;
        }
        assert!(pages > 15 && folder.path().join("man/sortie.1").exists());
        assert!(!folder.path().join(format!("man/sortie-{}.1", crate::SANDBOX)).exists(), "nobody types it");
    }
}
