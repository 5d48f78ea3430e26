//! `sortie backup`: one file that a node can be made of again; and whether it still is one.

use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use reqwest::{Method, header};
use serde_json::{Value, json};
use sortie_journal::{Journal, Options, is_in_use};

use super::client::{self, Client};
use super::serve::Address;
use super::text::{self, Meaning, Page, Progress, Screen};
use super::{Exit, Failure};
use crate::backup::{Checked, Source, check, is_half_restored, write};
use crate::config::Config;
use crate::node::{OpenError, system};

/// What is to be backed up, and to where.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; nothing may be there yet.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Take no backup: see whether the one in FILE is whole, and say what is in it.
    #[arg(long)]
    verify: bool,
    /// The data directory, in the place of the configured one.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "verify")]
    pub(super) data_dir: Option<PathBuf>,
}

/// How long the node may be silent while it sends.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Takes a backup: of the node that runs, or, where none does, of the data directory.
pub(super) async fn backup(
    args: BackupArgs,
    config: &Config,
    (node, token): (Option<&str>, Option<&str>),
    as_json: bool,
) -> Result<Exit, Failure> {
    if args.verify {
        let file = args.file.clone();
        let checked = Progress::during("verifying", tokio::task::spawn_blocking(move || check(&file))).await??;
        report(&args.file, &checked, as_json)?;
        return Ok(Exit::Completed);
    }
    let target = Target::make(&args.file)?;
    let data_dir = config.data_dir()?;
    if node.is_none() && Address::read(&data_dir).is_none() {
        let instead = "back that up with `pg_dump`, and beside it the folders of the data directory; or start the node, which makes \
                       a backup of both";
        config.refuse_with_store("no node runs here whose missions could be copied", instead)?;
    }
    let journal = data_dir.join("journal.redb");
    let target = if node.is_none() && journal.exists() && !is_in_use(&journal)? {
        of_folder(&data_dir, config, target).await?
    } else {
        let there = node.map(str::to_owned).or_else(|| Address::read(&data_dir).map(|said| said.url));
        of_node(&Client::new(there.as_deref(), token, config)?, target).await?
    };
    let checked = tokio::task::spawn_blocking(move || target.finish());
    let checked = Progress::during("verifying", checked).await?.map_err(plainly)?;
    report(&args.file, &checked, as_json)?;
    Ok(Exit::Completed)
}

/// What went wrong in work off the async threads.
type Sent = Box<dyn Error + Send + Sync>;

fn plainly(error: Sent) -> Box<dyn Error> {
    error
}

/// Of a node that runs: it makes the backup, and this writes it down.
async fn of_node(client: &Client, mut target: Target) -> Result<Target, Failure> {
    let progress = Progress::of("copying the journal");
    let client = client.patient();
    let request = client.request(Method::GET, &["v1", "backup"]);
    let mut response = client.stream(request, (header::CONTENT_TYPE, "application/x-tar")).await?;
    let mut written = 0;
    loop {
        let broke = |why: String| format!("the backup broke off after {}: {why}", text::size(written));
        let chunk = tokio::time::timeout(SILENCE, response.chunk()).await;
        let chunk = chunk.map_err(|_| broke("the node is silent".to_owned()))?;
        let Some(chunk) = chunk.map_err(|error| broke(client::with_causes(&error)))? else { return Ok(target) };
        target = tokio::task::spawn_blocking(move || target.file.write_all(&chunk).map(|()| (target, chunk.len())))
            .await?
            .map(|(target, bytes)| {
                written += bytes as u64;
                target
            })?;
        progress.now(format!("backing up: {}", text::size(written)));
    }
}

/// Of a data directory on which no node works. Its journal is opened, as a start would; while that is so, no node starts.
async fn of_folder(data_dir: &Path, config: &Config, mut target: Target) -> Result<Target, Failure> {
    let (instance_id, taken_at) = (config.instance_id()?.to_string(), system().wall());
    let data_dir = data_dir.to_owned();
    let work = tokio::task::spawn_blocking(move || -> Result<Target, Sent> {
        let whole = || match is_half_restored(&data_dir) {
            false => Ok(()),
            true => Err(OpenError::HalfRestored { path: data_dir.clone() }),
        };
        whole()?;
        let options = Options { compact_bytes_min: u64::MAX, ..Options::default() };
        let (journal, _) = Journal::open(&data_dir.join("journal.redb"), &options)?;
        // Nobody moves names any more; somebody may have until now.
        whole()?;
        let folder = tempfile::tempdir_in(target.folder())?;
        let copy = folder.path().join("journal.redb");
        let copied = journal.copy_to(&copy)?;
        let source = Source { data_dir: &data_dir, journal: &copy, copied, instance_id, taken_at };
        write(&source, BufWriter::with_capacity(1 << 20, &mut target.file))?;
        journal.close()?;
        Ok(target)
    });
    Ok(Progress::during("backing up", work).await?.map_err(plainly)?)
}

/// The file that is written: under another name, until it was read back and found whole.
struct Target {
    to: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Target {
    fn make(to: &Path) -> Result<Self, Failure> {
        let there =
            |path: &Path| Failure::unusable(format!("{} is there already; name a file that is not", path.display()));
        if to.symlink_metadata().is_ok() {
            return Err(there(to));
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let cannot = |error: io::Error| Failure::from(format!("{} cannot be written: {error}", partial.display()));
        let mut options = OpenOptions::new();
        // Missions are other people's business. What was broken off before is written over.
        // Not through a link, and with the mode of ours: who may write in that folder need not be who may read a backup.
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let options = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
        let file = options.open(&partial).map_err(cannot)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(cannot)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::from(format!("{} is being written by somebody else", partial.display())));
            }
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => return Err(cannot(error)),
            _ => file.set_len(0).map_err(cannot)?,
        }
        Ok(Self { to: to.to_owned(), partial, file })
    }

    fn folder(&self) -> &Path {
        self.to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Reads back what was written, and gives it its name.
    fn finish(self) -> Result<Checked, Sent> {
        self.file.sync_all()?;
        let checked = check(&self.partial)?;
        std::fs::rename(&self.partial, &self.to)?;
        File::open(self.folder())?.sync_all()?;
        Ok(checked)
    }
}

impl Drop for Target {
    /// What is not whole is not left.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// What is in a backup, for programs.
pub(super) fn view(file: &Path, checked: &Checked) -> Result<Value, Failure> {
    let mut view = serde_json::to_value(checked)?;
    view["file"] = json!(file.display().to_string());
    Ok(view)
}

fn report(file: &Path, checked: &Checked, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return Ok(text::json(&view(file, checked)?)?);
    }
    let screen = Screen::of_output();
    let mut page = Page::new(&screen);
    page.title(&text::plain(&file.display().to_string()), "whole", Meaning::Good);
    facts(&mut page, checked, &screen);
    page.fact("not in it", "workspaces, the admin token, the configuration and its secrets, compiled code");
    Ok(page.show()?)
}

/// What is in a backup, for people.
pub(super) fn facts(page: &mut Page<'_>, Checked { manifest, end }: &Checked, screen: &Screen) {
    let journal = &manifest.journal;
    let taken = screen.local(manifest.taken_at);
    page.fact("taken", &text::plain(&format!("{taken}, of {}, by sortie {}", manifest.instance_id, manifest.version)));
    let unfinished = journal.unfinished;
    page.fact("missions", &format!("{}, of which {unfinished} had not ended", journal.missions));
    page.fact("files", &format!("{} artifacts, {} builds of plugins", end.artifacts, end.components));
    page.fact("size", &text::size(end.bytes));
    if end.left_out > 0 {
        let says = format!(
            "{} artifacts, whose bytes were damaged on the node's disk, or went away: see its log",
            end.left_out
        );
        page.fact_that("left out", &says, Meaning::Bad);
    }
}
