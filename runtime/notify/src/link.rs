//! Links that lead to one decision: signed, so that nobody makes one; ending by themselves; good for the one request that they name.
//!
//! A link carries all that is known of it, and nothing is kept of it: it is used up with the request, which is decided once. What it lets
//! somebody do, and that looking at it does nothing, is said where its page is made.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::store;

/// The longest that a link lasts: a night and the weekend behind it.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(72);

/// Length of the key in bytes.
const KEY_BYTES: usize = 32;

/// Longest link that is looked at: the longest ids, and room.
const LINK_BYTES_MAX: usize = 2_048;

/// What is signed beside the link: a signature of something else with the same key would be worth nothing here.
const PURPOSE: &[u8] = b"sortie link 1\0";

/// The file of the key in the folder of the channels. Without it there are no links from before: a way to end all of them.
const KEY_FILE: &str = "links.key";

/// What links are signed with.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

/// What a link lets somebody decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The channel that it was sent to.
    pub channel: String,
    /// The mission that asks.
    pub mission: String,
    /// Which of its requests.
    pub request: u32,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The same within a link: channel, mission, request, and when it ends, in seconds.
#[derive(Serialize, Deserialize)]
struct Carried<'a>(&'a str, std::borrow::Cow<'a, str>, u32, i64);

/// Why a link leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotALink {
    /// This node did not make it, or with another key.
    #[error("this is no link of this node")]
    Forged,
    /// Its time is over.
    #[error("this link has ended by itself, as each does after a while")]
    Over,
}

impl Key {
    /// With these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// That of a node, from the folder of its channels; `fresh` where there is none yet. For its owner alone.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn open(folder: &Path, fresh: [u8; KEY_BYTES]) -> std::io::Result<Self> {
        let path = folder.join(KEY_FILE);
        let read = |bytes: Vec<u8>| <[u8; KEY_BYTES]>::try_from(bytes).ok();
        match std::fs::read(&path) {
            // One of another length is none: a disk was full when it was written, perhaps.
            Ok(bytes) => {
                if let Some(key) = read(bytes) {
                    return Ok(Self(key));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        store::write(&path, &fresh)?;
        Ok(Self(fresh))
    }

    /// A link: what stands behind `/go/`.
    #[must_use]
    pub fn sign(&self, grant: &Grant, now: Timestamp) -> String {
        let last = now.checked_add(AGE_MAX).unwrap_or(Timestamp::MAX);
        let expires = grant.expires_at.min(last).as_second();
        let carried = Carried(&grant.channel, grant.mission.as_str().into(), grant.request, expires);
        let text = serde_json::to_vec(&carried).expect("plain data");
        let signature = self.mac(&text).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a link lets somebody decide.
    ///
    /// # Errors
    /// [`NotALink`]
    pub fn read(&self, link: &str, now: Timestamp) -> Result<Grant, NotALink> {
        if link.len() > LINK_BYTES_MAX {
            return Err(NotALink::Forged);
        }
        let (text, signature) = link.split_once('.').ok_or(NotALink::Forged)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NotALink::Forged);
        let (text, signature) = (decoded(text)?, decoded(signature)?);
        // Takes the same time for every guess.
        self.mac(&text).verify_slice(&signature).map_err(|_| NotALink::Forged)?;
        let Carried(channel, mission, request, expires) =
            serde_json::from_slice(&text).map_err(|_| NotALink::Forged)?;
        let expires_at = Timestamp::from_second(expires).map_err(|_| NotALink::Forged)?;
        if now >= expires_at {
            return Err(NotALink::Over);
        }
        Ok(Grant { channel: channel.to_owned(), mission: mission.into_owned(), request, expires_at })
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(PURPOSE);
        mac.update(text);
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn grant(expires: &str) -> Grant {
        let (channel, mission) = ("night-shift".to_owned(), "a/\"b\" ü".to_owned());
        Grant { channel, mission, request: 3, expires_at: at(expires) }
    }

    #[test]
    fn a_link_is_what_was_signed_until_it_ends() {
        let key = Key::new([7; KEY_BYTES]);
        for (what, expires, now, expected) in [
            ("in time", "2026-11-27T02:00:00Z", "2026-11-27T01:59:59Z", Ok("2026-11-27T02:00:00Z")),
            ("over", "2026-11-27T02:00:00Z", "2026-11-27T02:00:00Z", Err(NotALink::Over)),
            ("it lasts three days at most", "2027-11-27T01:00:00Z", "2026-11-30T00:59:59Z", Ok("2026-11-30T01:00:00Z")),
            ("and then it is over", "2027-11-27T01:00:00Z", "2026-11-30T01:00:00Z", Err(NotALink::Over)),
        ] {
            let link = key.sign(&grant(expires), at("2026-11-27T01:00:00Z"));
            assert!(link.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{link}");
            let read = key.read(&link, at(now));
            assert_eq!(read, expected.map(grant), "{what}");
        }
    }

    #[test]
    fn a_link_that_was_changed_anywhere_is_none() {
        let (key, now) = (Key::new([7; KEY_BYTES]), at("2026-11-27T01:00:00Z"));
        let link = key.sign(&grant("2026-11-27T02:00:00Z"), now);
        assert!(key.read(&link, now).is_ok());
        for place in 0..link.len() {
            for other in ["A", "b", "9", "-", "."] {
                let mut forged = link.clone();
                forged.replace_range(place..=place, other);
                if forged != link {
                    assert_eq!(key.read(&forged, now), Err(NotALink::Forged), "{place} {other}");
                }
            }
            assert_eq!(key.read(&link[..place], now), Err(NotALink::Forged));
        }
        assert_eq!(Key::new([8; KEY_BYTES]).read(&link, now), Err(NotALink::Forged), "another node's");
        for text in ["", ".", "a.b.c", &"a".repeat(10_000)] {
            assert_eq!(key.read(text, now), Err(NotALink::Forged));
        }
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let first = Key::open(dir.path(), [1; KEY_BYTES]).expect("made");
        assert_eq!(first.0, Key::open(dir.path(), [2; KEY_BYTES]).expect("read").0);
        let path = dir.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").expect("written");
        assert_eq!(Key::open(dir.path(), [3; KEY_BYTES]).expect("made").0, [3; KEY_BYTES], "and ends the links before");
        assert_eq!(format!("{first:?}"), "Key(***)");
    }
}
