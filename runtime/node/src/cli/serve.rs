//! `sortie serve`: a node.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};
use crate::config::Config;
use crate::node::{Node, system};
use crate::telemetry;
use sortie_engine::recover::Others;

/// Where and as whom to serve.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where journal, artifacts, workspaces, plugins and token are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// What `target_instance_id` must name.
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
}

pub(super) async fn serve(args: ServeArgs, config: Config) -> Result<Exit, Failure> {
    let mut config = super::in_data_dir(config, args.data_dir);
    config.node.listen = args.listen.unwrap_or(config.node.listen);
    config.node.instance_id = args.instance_id.unwrap_or(config.node.instance_id);
    telemetry::start(config.telemetry.format, telemetry::Usual::All);
    crate::http::places::raise_files();
    // Signals first: one that comes while the journal is read must not kill the node in the middle.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = tokio::net::TcpListener::bind(&config.node.listen)
        .await
        .map_err(|error| Failure::unusable(format!("cannot listen on {}: {error}", config.node.listen)))?;
    let address = listener.local_addr()?;
    let node = Node::open(&config, system(), Others::GoOn).await?;
    // The data directory is this process's now.
    let place = Address::write(&config.data_dir()?, &format!("http://{address}"));
    node.start();
    // Nobody may be reading, or the line may go to a disk that is full: that is no reason not to serve.
    if let Err(error) = writeln!(std::io::stdout(), "sortie listening on http://{address}") {
        tracing::warn!(%error, %address, "listening; standard output does not take the line that says so");
    }
    let served = node.serve(listener, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new missions; what runs goes on after the next start");
    });
    let served = served.await;
    drop(place);
    served?;
    Ok(Exit::Completed)
}

/// The file in a data directory that says where the node on it listens, for as long as it does.
pub(super) struct Address(PathBuf);

impl Address {
    /// What it is called.
    const NAME: &'static str = "address";

    /// Writes it. Without it a node does all that it does otherwise.
    fn write(data_dir: &Path, url: &str) -> Self {
        let path = data_dir.join(Self::NAME);
        if let Err(error) = std::fs::write(&path, format!("{url}\n")) {
            tracing::warn!(%error, path = %path.display(), "the node's address cannot be written down");
        }
        Self(path)
    }

    /// What it says; nothing where no node listens, or none wrote it. One that was killed leaves it behind.
    pub(super) fn read(data_dir: &Path) -> Option<String> {
        let url = std::fs::read_to_string(data_dir.join(Self::NAME)).ok()?;
        Some(url.trim().to_owned()).filter(|url| !url.is_empty())
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        // It is not there, or cannot be removed: whoever reads it asks whether a node answers.
        let _ = std::fs::remove_file(&self.0);
    }
}
