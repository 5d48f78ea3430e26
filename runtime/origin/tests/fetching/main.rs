//! Plugins from servers that mean well, and from those that do not.

mod fake;
mod pushed;
mod registry;
mod web;

use std::time::Duration;

use sortie_origin::{FetchError, Fetched, PluginSourceConfig, Sources, Wanted};
use tokio::io::AsyncReadExt as _;

/// The most bytes that are taken.
const BYTES_MAX: usize = 10_000;

/// The keys of Debian's `minisign`, of which the tests of signatures tell more.
const KEY: &str = "RWSTmMDnRtWjhivmo2KBnJ9d1rzg3yZqp21m/VklMnnE29Y8DZA6eGqZ";

/// Those that a configuration comes to, where the servers of the tests may be asked.
fn sources(hosts: &[&str], more: &str) -> Sources {
    let text = format!("hosts = {hosts:?}\nallow_private = [\"127.0.0.1\"]\n{more}");
    let config: PluginSourceConfig = toml::from_str(&text).expect("a configuration");
    Sources::new(&config).expect("sources").within(Duration::from_secs(20))
}

/// Fetches: what it is, and its bytes.
async fn fetch(sources: &Sources, from: &str, digest: Option<&str>) -> Result<(Fetched, Vec<u8>), FetchError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fetched");
    let mut file = tokio::fs::File::create(&path).await.expect("a file");
    let fetched = sources.fetch(Wanted::parse(from, digest, None)?, &mut file, BYTES_MAX).await?;
    let mut bytes = Vec::new();
    tokio::fs::File::open(&path).await.expect("a file").read_to_end(&mut bytes).await.expect("readable");
    Ok((fetched, bytes))
}

/// Why something was not fetched, with its kind in front.
async fn refused(sources: &Sources, from: &str, digest: Option<&str>) -> String {
    match fetch(sources, from, digest).await {
        Ok((fetched, _)) => panic!("{from}: {fetched:?}"),
        Err(error) => {
            let kind = match error {
                FetchError::NotAllowed(_) => "not allowed",
                FetchError::Digest { .. } => "digest",
                FetchError::Unauthorized(_) => "unauthorized",
                FetchError::Credentials(_) => "credentials",
                FetchError::Failed(_) => "failed",
                FetchError::NoRoom(_) => "no room",
            };
            format!("{kind}: {error}")
        }
    }
}
