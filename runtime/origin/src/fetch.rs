//! Plugins that a node fetches itself: from an address, or from a registry, to a file; bounded in length and time, and held against the digest
//! that was named. What the bytes are nobody has looked at by then.

use std::collections::BTreeMap;
use std::time::Duration;

use sortie_contract::digest::Digest;
use sortie_contract::envelope::{NotSent, SecretRef};
use sortie_egress::header::HeaderMap;
use sortie_egress::{Answer, Client, HostPattern, Limits, SendError, StatusCode, may_be_sent};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::config::{ConfigError, Meant, PluginSourceConfig};
use crate::credentials::{Credentials, CredentialsError};
use crate::digest::{Sum, digest_of};
use crate::manifest::{self, Layer};
use crate::place::{NotAPlace, Place, Reference, Which, shown};
use crate::registry::{Session, Way};
use crate::signature::{Keys, SIGNATURE_BYTES_MAX};

/// How long all of it may take: the largest plugin over a line of two megabits a second.
const FETCH_TIME: Duration = Duration::from_secs(300);

/// How long an answer may take to begin.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long a connection may take.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The longest manifest, in bytes: one of a plugin has less than two thousand.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// What stands behind the name of a file in the name of its signature.
const SIGNATURE_END: &str = ".minisig";

/// Why a plugin could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The place is not one that may be asked, or leads to one that is not.
    #[error("{0}")]
    NotAllowed(String),
    /// Other bytes than were meant.
    #[error(
        "the SHA-256 of {what} is {found}, and {wanted} was meant: it was changed on the way or at its place, or is another build than you \
         mean"
    )]
    Digest {
        /// Of what.
        what: String,
        /// What it is.
        found: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// A registry does not let it be asked for.
    #[error("{0}")]
    Unauthorized(String),
    /// There are no credentials though there should be.
    #[error("{}", with_cause(.0))]
    Credentials(#[from] CredentialsError),
    /// No answer, another one, or one without end.
    #[error("{0}")]
    Failed(String),
    /// The disk does not take it.
    #[error("the disk does not take it")]
    NoRoom(#[from] std::io::Error),
}

fn with_cause(error: &CredentialsError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl FetchError {
    /// What came of asking a place.
    pub(crate) fn sent(place: &str, error: SendError) -> Self {
        match error {
            SendError::Refused(refused) => Self::NotAllowed(refused.to_string()),
            error => Self::Failed(format!("{place}: {error}")),
        }
    }
}

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    place: Place,
    digest: Option<Digest>,
    /// The signature, where whoever wants it has it already.
    signature: Option<String>,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// From where: an address without its query, a registry with the digest of the manifest.
    pub from: String,
    /// Of the bytes.
    pub digest: Digest,
    /// What vouches for them, perhaps.
    pub signature: Option<String>,
}

impl Wanted {
    /// What a text names; `digest` says which bytes are meant, as a fragment of an address may.
    ///
    /// # Errors
    /// [`NotAPlace`]; [`FetchError::NotAllowed`] for a digest that is none, or two that differ.
    pub fn parse(from: &str, digest: Option<&str>, signature: Option<String>) -> Result<Self, FetchError> {
        let wrong = |error: &dyn std::error::Error| FetchError::NotAllowed(error.to_string());
        let place = Place::parse(from).map_err(|error: NotAPlace| wrong(&error))?;
        let named = digest.map(digest_of).transpose().map_err(|error| wrong(&error))?;
        let written = match &place {
            Place::Web(_, digest) => *digest,
            Place::Registry(_) => None,
        };
        if let (Some(named), Some(written)) = (named, written)
            && named != written
        {
            return Err(FetchError::NotAllowed(format!(
                "two digests are named, {written} in the address and {named} beside it"
            )));
        }
        Ok(Self { place, digest: named.or(written), signature })
    }
}

/// Fetches plugins, from where an operator lets it.
pub struct Sources {
    config: PluginSourceConfig,
    keys: Keys,
    hosts: Vec<HostPattern>,
    registries: BTreeMap<String, SecretRef>,
    client: Client,
    whole: Duration,
    patience: Duration,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Sources {
    /// Those of a configuration. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn new(config: &PluginSourceConfig) -> Result<Self, ConfigError> {
        let Meant { keys, hosts, guard, registries } = config.read()?;
        let limits = Limits { connect_timeout: CONNECT_TIME, idle_per_host: 1, decompress: false };
        Ok(Self {
            config: config.clone(),
            keys,
            hosts,
            registries,
            client: Client::new(guard, limits),
            whole: FETCH_TIME,
            patience: ANSWER_TIME,
        })
    }

    /// The same, for whoever has less time.
    #[must_use]
    pub fn within(self, whole: Duration) -> Self {
        Self { whole, patience: whole, ..self }
    }

    /// The keys that are trusted.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Fetches what is wanted into `file`, at most so many bytes.
    ///
    /// # Errors
    /// [`FetchError`]; what is in the file is then nobody's.
    pub async fn fetch(&self, wanted: Wanted, file: &mut File, bytes_max: usize) -> Result<Fetched, FetchError> {
        let place = match &wanted.place {
            Place::Web(url, _) => shown(url),
            Place::Registry(reference) => reference.to_string(),
        };
        let fetching = async {
            match &wanted.place {
                Place::Web(url, _) => self.take_of_web(url, &wanted, file, bytes_max).await,
                Place::Registry(reference) => self.take_of_registry(reference, &wanted, file, bytes_max).await,
            }
        };
        let fetched = tokio::time::timeout(self.whole, fetching).await;
        fetched.unwrap_or_else(|_| {
            Err(FetchError::Failed(format!("{place} is not here after {} s; it is given up", self.whole.as_secs())))
        })
    }

    /// Whether a request may go there, as far as that can be said before its name is resolved.
    fn may(&self, url: &Url) -> Result<(), FetchError> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(FetchError::NotAllowed(format!("{} names no host", shown(url))));
        };
        let why = match may_be_sent(&self.hosts, url) {
            Ok(()) => return Ok(()),
            Err(NotSent::Plain) => format!(
                "{} would be asked over plain http, where everybody on the way could change what comes; ask it over https (an operator who \
                 means it lists `http://{host}` under [plugin_source] hosts)",
                shown(url)
            ),
            Err(NotSent::OtherHost | NotSent::Unlisted) => format!(
                "{}: the host {host}:{port} is not one that this node fetches plugins from; an operator lists those under [plugin_source] \
                 hosts",
                shown(url)
            ),
        };
        Err(FetchError::NotAllowed(why))
    }

    async fn take_of_web(
        &self,
        url: &Url,
        wanted: &Wanted,
        file: &mut File,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let may = |url: &Url| self.may(url);
        let way = Way { client: &self.client, may: &may, patience: self.patience };
        let bare = |_: &Url| HeaderMap::new();
        let (_, answer) = way.get(url.clone(), &bare).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Failed(format!("{} answers {}", shown(url), answer.status())));
        }
        let digest = taken(&shown(url), answer, None, bytes_max, file).await?;
        held(&shown(url), wanted.digest, digest)?;
        let signature = match &wanted.signature {
            Some(signature) => Some(signature.clone()),
            // Whom nobody knows nobody needs to hear.
            None if self.keys.is_empty() => None,
            None => {
                let mut beside = url.clone();
                beside.set_path(&format!("{}{SIGNATURE_END}", url.path()));
                let (_, answer) = way.get(beside.clone(), &bare).await?;
                if answer.status() == StatusCode::OK {
                    // One byte more than a signature has is enough to see that it is none.
                    let (text, _) = answer
                        .body(SIGNATURE_BYTES_MAX + 1)
                        .await
                        .map_err(|error| FetchError::sent(&shown(&beside), error))?;
                    Some(String::from_utf8_lossy(&text).into_owned())
                } else {
                    None
                }
            }
        };
        Ok(Fetched { from: shown(url), digest, signature })
    }

    async fn take_of_registry(
        &self,
        place: &Reference,
        wanted: &Wanted,
        file: &mut File,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let may = |url: &Url| self.may(url);
        let way = Way { client: &self.client, may: &may, patience: self.patience };
        let credentials = match self.registries.get(place.host()) {
            Some(reference) => Some(Credentials::at(reference, place.host()).await?),
            None => None,
        };
        let mut session = Session::new(way, self.config.scheme_of(place.host()), place, "pull", credentials)?;
        let answer = session.get(&format!("manifests/{}", place.which), Some(manifest::ACCEPT)).await?;
        if answer.status() != StatusCode::OK {
            return Err(session.failure(&format!("the manifest of {place}"), answer).await);
        }
        let body = answer.body(MANIFEST_BYTES_MAX).await;
        let (text, is_cut) = body.map_err(|error| FetchError::sent(&place.to_string(), error))?;
        if is_cut {
            return Err(FetchError::Failed(format!(
                "the manifest of {place} has more than {MANIFEST_BYTES_MAX} bytes"
            )));
        }
        // From here on nothing depends on the tag: whatever it means by then, what is fetched is what this manifest names.
        let pinned = Digest::of(&text);
        if let Which::Digest(wanted) = place.which {
            held(&format!("the manifest of {place}"), Some(wanted), pinned)?;
        }
        let Layer { digest, size, signature } =
            manifest::layer_of(&text).map_err(|why| FetchError::Failed(format!("{place}: {why}")))?;
        held(&format!("the plugin of {place}"), wanted.digest, digest)?;
        let answer = session.get(&format!("blobs/{}", crate::digest::named(&digest)), None).await?;
        if answer.status() != StatusCode::OK {
            return Err(session.failure(&format!("the plugin of {place}"), answer).await);
        }
        let what = format!("what {place} is said to be");
        let found = taken(&what, answer, Some(size), bytes_max, file).await?;
        held(&what, Some(digest), found)?;
        Ok(Fetched { from: place.pinned(&pinned), digest, signature: wanted.signature.clone().or(signature) })
    }
}

/// Whether these are the bytes that are meant.
fn held(what: &str, wanted: Option<Digest>, found: Digest) -> Result<(), FetchError> {
    match wanted {
        Some(wanted) if wanted != found => Err(FetchError::Digest { what: what.to_owned(), found, wanted }),
        _ => Ok(()),
    }
}

/// Takes the body of an answer into a file: its digest. Of one that is longer than it may be, or than it was said to be, no more is taken.
async fn taken(
    what: &str,
    mut answer: Answer,
    said: Option<u64>,
    bytes_max: usize,
    file: &mut File,
) -> Result<Digest, FetchError> {
    let max = bytes_max as u64;
    if said.is_some_and(|said| said > max) {
        return Err(FetchError::Failed(format!(
            "{what} has {} bytes, and a plugin has at most {max}",
            said.unwrap_or_default()
        )));
    }
    let (mut sum, mut bytes, most) = (Sum::default(), 0_u64, said.unwrap_or(max));
    while let Some(chunk) = answer.chunk().await.map_err(|error| FetchError::sent(what, error))? {
        bytes += chunk.len() as u64;
        if bytes > most {
            let bound = if said.is_some() { "more than its manifest says" } else { "more than a plugin may" };
            return Err(FetchError::Failed(format!("{what} has {bound}, {most} bytes; the rest was not read")));
        }
        sum.add(&chunk);
        file.write_all(&chunk).await?;
    }
    if said.is_some_and(|said| said != bytes) {
        return Err(FetchError::Failed(format!("{what} ends after {bytes} of {} bytes", said.unwrap_or_default())));
    }
    file.flush().await?;
    Ok(sum.digest())
}
