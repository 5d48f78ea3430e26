//! Bringing a plugin to a registry, as the command line does: whoever types an address means it, so that it may be any, and what the registry
//! says leads nowhere else but, for a token, to the desk that it names over https.

use std::time::Duration;

use bytes::Bytes;
use sortie_contract::digest::Digest;
use sortie_egress::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use sortie_egress::{Answer, Client, Guard, Limits, Method, StatusCode};
use url::Url;

use crate::credentials::Credentials;
use crate::digest::named;
use crate::fetch::{CONNECT_TIME, FetchError};
use crate::manifest;
use crate::place::{Reference, Which, shown};
use crate::registry::{Session, Way};

/// How long a request may take, its body with it: the largest plugin over a line of two megabits a second.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it is, by the digest of its manifest.
    pub place: String,
    /// Of the manifest.
    pub manifest: Digest,
    /// Of the component.
    pub component: Digest,
}

/// Pushes a component with its signature, where it has one.
///
/// # Errors
/// [`FetchError`], with what the registry says.
pub async fn push(
    component: Vec<u8>,
    signature: Option<&str>,
    place: &Reference,
    scheme: &str,
    credentials: Option<Credentials>,
) -> Result<Pushed, FetchError> {
    let Which::Tag(tag) = &place.which else {
        return Err(FetchError::NotAllowed(format!(
            "{place}: what is pushed gets a tag; its digest comes of what it is"
        )));
    };
    let everywhere = ["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    let guard = Guard::new(&everywhere, "").map_err(|error| FetchError::Failed(error.to_string()))?;
    let limits = Limits { connect_timeout: CONNECT_TIME, idle_per_host: 1, decompress: false };
    let client = Client::new(guard, limits);
    let way = Way { client: &client, may: &|_: &Url| Ok(()), patience: PATIENCE };
    let mut session = Session::new(way, scheme, place, "pull,push", credentials)?;
    let digest = Digest::of(&component);
    let config = manifest::config(&digest);
    let text = manifest::written(&component, &config, signature);
    upload(&mut session, component.into()).await?;
    upload(&mut session, config.into()).await?;
    let url = session.part(&format!("manifests/{tag}"))?;
    let headers = of_type(manifest::MANIFEST_TYPE);
    let manifest = Digest::of(&text);
    let answer = session.send(&Method::PUT, &url, &headers, &text.into()).await?;
    if answer.status() != StatusCode::CREATED {
        return Err(session.failure("the manifest", answer).await);
    }
    Ok(Pushed { place: place.pinned(&manifest), manifest, component: digest })
}

/// Brings some bytes there, unless they are there.
async fn upload(session: &mut Session<'_>, bytes: Bytes) -> Result<(), FetchError> {
    let digest = named(&Digest::of(&bytes));
    let there = session.part(&format!("blobs/{digest}"))?;
    let answer = session.send(&Method::HEAD, &there, &HeaderMap::new(), &Bytes::new()).await?;
    if answer.status().is_success() || answer.status().is_redirection() {
        return Ok(());
    }
    let url = session.part("blobs/uploads/")?;
    let begun = session.send(&Method::POST, &url, &HeaderMap::new(), &Bytes::new()).await?;
    if begun.status() != StatusCode::ACCEPTED {
        return Err(session.failure("a place for what is pushed", begun).await);
    }
    let mut url = upload_place(session, &url, &begun)?;
    url.query_pairs_mut().append_pair("digest", &digest);
    let answer = session.send(&Method::PUT, &url, &of_type("application/octet-stream"), &bytes).await?;
    if answer.status() == StatusCode::CREATED { Ok(()) } else { Err(session.failure("what is pushed", answer).await) }
}

/// Where the registry wants the bytes: on itself, for they are sent with what opens it.
fn upload_place(session: &Session<'_>, asked: &Url, begun: &Answer) -> Result<Url, FetchError> {
    let location = begun.header(LOCATION);
    let url = asked.join(location).ok().filter(|_| !location.is_empty());
    let url = url.ok_or_else(|| FetchError::Failed(format!("{} names no place for what is pushed", shown(asked))))?;
    if session.is_own(&url) {
        return Ok(url);
    }
    Err(FetchError::NotAllowed(format!(
        "{} wants what is pushed at {}, which is another place than the registry: nothing is sent there",
        shown(asked),
        shown(&url)
    )))
}

fn of_type(media_type: &'static str) -> HeaderMap {
    [(CONTENT_TYPE, HeaderValue::from_static(media_type))].into_iter().collect()
}
