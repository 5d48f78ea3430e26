//! `sortie restore`: a data directory as it was when a backup of it was taken.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde_json::json;

use super::text::{self, Meaning, Page, Progress, Screen};
use super::{Exit, Failure, backup};
use crate::backup::{Forgotten, Plan, RestoreError, Wish, plan, restore as restored};
use crate::config::Config;
use crate::node::system;

/// What is restored, and where.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The data directory, in the place of the configured one.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) data_dir: Option<PathBuf>,
    /// Move what is in the data directory aside, into a folder of it. Nothing is removed.
    #[arg(long)]
    replace: bool,
    /// Write nothing: see whether the backup is whole, and say what would be forgotten.
    #[arg(long)]
    dry_run: bool,
}

/// Restores, and says what is forgotten by it.
pub(super) async fn restore(args: RestoreArgs, config: &Config, as_json: bool) -> Result<Exit, Failure> {
    let data_dir = config.data_dir()?;
    let instead = "restore that with `pg_restore`; or take `store` out of the configuration, to go on with the file that a backup \
                   holds";
    config
        .refuse_with_store("a restore makes the file that a node without a database keeps its missions in", instead)?;
    let RestoreArgs { file, replace, dry_run, .. } = args;
    // What is made is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let (archive, folder) = (file.clone(), data_dir.clone());
    let work = tokio::task::spawn_blocking(move || -> Result<_, RestoreError> {
        let wish = Wish { archive: &archive, data_dir: &folder, replace, now: system_now() };
        if dry_run {
            return Ok((plan(&wish)?, None));
        }
        let done = restored(&wish)?;
        Ok((done.plan, Some((done.aside, done.earlier))))
    });
    let what = if dry_run { "verifying" } else { "restoring" };
    let (plan, done) = Progress::during(what, work).await?.map_err(failure)?;
    let shown = |path: &PathBuf| path.display().to_string();
    let (aside, earlier) = done.as_ref().map_or((None, Vec::new()), |(aside, earlier)| {
        (aside.as_ref().map(shown), earlier.iter().map(shown).collect::<Vec<_>>())
    });
    if as_json {
        let mut view = backup::view(&file, &plan.backup)?;
        view["data_dir"] = json!(data_dir.display().to_string());
        view["restored"] = json!(done.is_some());
        view["occupied"] = json!(plan.occupied);
        view["forgotten"] = json!(plan.forgotten);
        view["aside"] = json!(aside);
        view["earlier"] = json!(earlier);
        text::json(&view)?;
        return Ok(Exit::Completed);
    }
    let screen = Screen::of_output();
    let mut page = Page::new(&screen);
    let stands = if done.is_some() { "restored" } else { "nothing was written" };
    page.title(&text::plain(&data_dir.display().to_string()), stands, Meaning::Good);
    backup::facts(&mut page, &plan.backup, &screen);
    losses(&mut page, &plan);
    if let Some(aside) = &aside {
        let too = if earlier.is_empty() { ", workspaces too" } else { "" };
        page.fact("before", &format!("what was there lies in {}{too}", text::plain(aside)));
    }
    if !earlier.is_empty() {
        let folders = text::plain(&earlier.join(", "));
        page.fact("before that", &format!("a restore was broken off here: workspaces and the rest lie in {folders}"));
    }
    page.fact("not in it", "workspaces: missions that go on find theirs empty, unless you put them back");
    if done.is_some() {
        page.fact("next", "`sortie serve` starts paused, and delivers and fires nothing, until `sortie node resume`");
    } else if plan.occupied {
        page.fact("next", "something is there: `--replace` moves it aside");
    }
    page.show()?;
    Ok(Exit::Completed)
}

fn system_now() -> sortie_contract::Timestamp {
    system().wall()
}

/// An archive that is no good was given; all else stands in the way.
fn failure(error: RestoreError) -> Failure {
    match error {
        RestoreError::Archive(_) => Failure::unusable(error),
        _ => error.into(),
    }
}

/// What will not be known any more.
fn losses(page: &mut Page<'_>, plan: &Plan) {
    let will = |says: &str| says.to_owned();
    let says = match &plan.forgotten {
        None => return,
        Some(Forgotten::Nothing) => will("nothing: the journal that is there is not further than the backup"),
        Some(Forgotten::Unreadable { why }) => {
            format!("nobody can say: the journal that is there cannot be read ({})", text::plain(why))
        }
        Some(Forgotten::Later { missions, newest, went_on, records }) => {
            let named =
                if newest.is_empty() { String::new() } else { format!(" ({})", text::plain(&newest.join(", "))) };
            format!(
                "{missions} missions that were accepted since{named}, and what {went_on} others did since; {records} records in \
                 all. What those did is done again, and told again under the same keys, where you let them go on"
            )
        }
    };
    page.fact_that("forgotten", &says, Meaning::Attention);
}
