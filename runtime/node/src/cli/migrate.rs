//! `sortie migrate`: the tables of the database that `[node] store` names, as this Sortie wants them.

use serde_json::json;
use sortie_journal::Migrated;

use super::{Exit, Failure, text};
use crate::config::Config;

/// Makes the tables, or brings them forward. Never backward.
pub(super) async fn migrate(config: &Config, as_json: bool) -> Result<Exit, Failure> {
    let Some(store) = config.store()? else {
        let why = "`[node] store` names no database: the journal is a file, which each start brings forward by itself";
        return Err(Failure::unusable(why));
    };
    let Migrated { from, to } = tokio::task::spawn_blocking(move || store.migrate()).await??;
    if as_json {
        text::json(&json!({"from": from, "to": to}))?;
    } else if from == to {
        println_data(&format!("the store has tables of version {to} already; nothing was changed"))?;
    } else {
        println_data(&format!("the store has tables of version {to} now (before: {from})"))?;
    }
    Ok(Exit::Completed)
}

fn println_data(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}
