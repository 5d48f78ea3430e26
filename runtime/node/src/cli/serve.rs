//! `sortie serve`: a node.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;
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

pub(super) async fn serve(args: ServeArgs, file: Option<PathBuf>, config: Config) -> Result<Exit, Failure> {
    let mut config = super::in_data_dir(config, args.data_dir);
    config.node.listen = args.listen.unwrap_or(config.node.listen);
    config.node.instance_id = args.instance_id.unwrap_or(config.node.instance_id);
    telemetry::start(config.telemetry.format, telemetry::Usual::All);
    crate::http::places::raise_files();
    // Signals first: one that comes while the journal is read must not kill the node in the middle.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let listener = tokio::net::TcpListener::bind(&config.node.listen)
        .await
        .map_err(|error| Failure::unusable(format!("cannot listen on {}: {error}", config.node.listen)))?;
    let address = listener.local_addr()?;
    let node = Node::open(&config, system(), Others::GoOn).await?;
    // The data directory is this process's now.
    let place = Address::write(&config.data_dir()?, format!("http://{address}"), config.node.instance_id.clone());
    let place = Arc::new(place);
    node.start();
    // Nobody may be reading, or the line may go to a disk that is full: that is no reason not to serve.
    if let Err(error) = writeln!(io::stdout(), "sortie listening on http://{address}") {
        tracing::warn!(%error, %address, "listening; standard output does not take the line that says so");
    }
    let reload = Arc::new(Mutex::new(node.reload(file)));
    let leaving = Arc::clone(&place);
    let served = node.serve(listener, async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    // It lies on a disk, and so may its tokens.
                    let reload = Arc::clone(&reload);
                    tokio::task::spawn_blocking(move || reload.lock().now());
                }
            }
        }
        // Before the data directory may be the next one's.
        leaving.remove();
        tracing::info!("stopping: no new missions; what runs goes on after the next start");
    });
    let served = served.await;
    // Where it came to an end otherwise.
    place.remove();
    served?;
    Ok(Exit::Completed)
}

/// The file in a data directory that says which node on it listens where, for as long as it does: its URL, and below what it calls itself.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    said: Said,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) url: String,
    /// Another node may listen there by now.
    pub(super) instance_id: String,
}

impl Address {
    /// What it is called.
    const NAME: &'static str = "address";

    /// More bytes than this are no address.
    const BYTES_MAX: u64 = 4096;

    /// Writes it. Without it a node does all that it does otherwise.
    fn write(data_dir: &Path, url: String, instance_id: String) -> Self {
        let path = data_dir.join(Self::NAME);
        if let Err(error) = Self::replace(&path, &format!("{url}\n{instance_id}\n")) {
            tracing::warn!(%error, path = %path.display(), "the node's address cannot be written down");
        }
        Self { path, said: Said { url, instance_id } }
    }

    /// Puts a file in the place of what is there, which may be a link to something else.
    fn replace(path: &Path, content: &str) -> io::Result<()> {
        let fresh = path.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::File::create_new(&fresh)?.write_all(content.as_bytes())?,
        }
        std::fs::rename(&fresh, path)
    }

    /// What it says; nothing where no node listens, or none wrote it. One that was killed leaves it behind.
    pub(super) fn read(data_dir: &Path) -> Option<Said> {
        Self::said(&data_dir.join(Self::NAME))
    }

    fn said(path: &Path) -> Option<Said> {
        let kind = std::fs::symlink_metadata(path).ok()?;
        if !kind.is_file() || kind.len() > Self::BYTES_MAX {
            return None;
        }
        let text = std::fs::read_to_string(path).ok()?;
        let (url, instance_id) = text.strip_suffix('\n')?.split_once('\n')?;
        // Whoever is named is sent a token: on this machine, and nothing but where it listens.
        let is_url = url
            .strip_prefix("http://")
            .is_some_and(|at| at.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback()));
        is_url.then(|| Said { url: url.to_owned(), instance_id: instance_id.to_owned() })
    }

    /// Takes it away, where it is still this node's.
    fn remove(&self) {
        if Self::said(&self.path).is_some_and(|said| said == self.said) {
            // It is not there, or cannot be removed: whoever reads it asks who answers.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(folder: &Path, url: &str) -> Address {
        Address::write(folder, url.to_owned(), "factory-1".to_owned())
    }

    #[test]
    fn an_address_is_taken_away_by_who_wrote_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = address(folder.path(), "http://127.0.0.1:1");
        assert_eq!(Address::read(folder.path()), Some(first.said.clone()));
        let next = address(folder.path(), "http://127.0.0.1:2");
        first.remove();
        assert_eq!(Address::read(folder.path()), Some(next.said.clone()));
        next.remove();
        assert!(!folder.path().join("address").exists());
    }

    #[test]
    fn what_is_no_address_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("address"), folder.path().join("other"));
        for text in [
            "",
            "\n",
            "http://127.0.0.1:1\n",
            "127.0.0.1:1\nf\n",
            "file:///etc\nf\n",
            "x y\nf\n",
            "http://192.0.2.1:1\nf\n",
            "http://a:b@127.0.0.1:1\nf\n",
            "http://127.0.0.1:1/../x\nf\n",
        ] {
            std::fs::write(&path, text).expect("writable");
            assert_eq!(Address::read(folder.path()), None, "{text:?}");
        }
        // A link is not followed, neither to be read nor to be written.
        std::fs::write(&other, "http://127.0.0.1:1\nf\n").expect("writable");
        std::fs::remove_file(&path).expect("it is there");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        assert_eq!(Address::read(folder.path()), None);
        let own = address(folder.path(), "http://127.0.0.1:2");
        assert_eq!(Address::read(folder.path()), Some(own.said));
        assert_eq!(std::fs::read_to_string(&other).expect("readable"), "http://127.0.0.1:1\nf\n");
    }
}
