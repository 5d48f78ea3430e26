//! Who vouches for a plugin: minisign signatures, held against the keys of the configuration.
//!
//! The bytes are those of the component, as they lie on somebody's disk; nobody has looked into them yet. Both forms of minisign are taken:
//! of a hash (the one that it makes today), and of the bytes themselves (`minisign -l`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{PublicKey, Signature};
use sortie_contract::limit;
use sortie_contract::plugin::Signed;

/// The longest signature that is looked at, in bytes: it has four lines, of which two are comments.
pub const SIGNATURE_BYTES_MAX: usize = 4 << 10;

/// Bytes of a key or a signature that say which algorithm it is of; those of the id stand behind them.
const ALGORITHM_BYTES: usize = 2;

/// Bytes of the id of a key.
const ID_BYTES: usize = 8;

/// The keys that a node trusts, and whether it takes what none of them signed.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
    is_required: bool,
}

#[derive(Debug, Clone)]
struct Key {
    id: String,
    name: String,
    key: PublicKey,
}

/// Why nobody whom the node trusts vouches for some bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVouched {
    /// No signature, where one is wanted.
    #[error(
        "the plugin is not signed, and this node takes only what is signed by {keys} ([plugin_source] require_signature): sign it \
         (`minisign -Sm FILE.wasm`) and send FILE.wasm.minisig along, which `sortie plugin install` does by itself where it lies beside \
         the file"
    )]
    Unsigned {
        /// The keys that would do.
        keys: String,
    },
    /// Something else than a signature.
    #[error(
        "what was sent as the signature is none of minisign ({why}): it is the whole text of FILE.wasm.minisig, four lines of which the \
         first begins with `untrusted comment:`"
    )]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// By a key that the node does not know.
    #[error(
        "the plugin is signed by the key {id}, which this node does not know: it takes only what is signed by {keys} ([plugin_source] \
         keys, require_signature). Have it signed by one of those, or let an operator add that key"
    )]
    Stranger {
        /// The key's id.
        id: String,
        /// The keys that would do.
        keys: String,
    },
    /// Not of these bytes.
    #[error(
        "the signature by {key} is not of these bytes: the plugin or its signature was changed on the way, or the signature is of another \
         build. Fetch both again, or sign this build"
    )]
    Wrong {
        /// The key that it claims.
        key: String,
    },
}

/// What is wrong with a key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no public key of minisign: write the second line of minisign.pub, which begins with RW")]
pub(crate) struct NotAKey(String);

impl Keys {
    /// These keys, each with its name (none: its id).
    pub(crate) fn new<'a>(
        keys: impl IntoIterator<Item = (Option<&'a str>, &'a str)>,
        is_required: bool,
    ) -> Result<Self, NotAKey> {
        let keys = keys.into_iter().map(|(name, text)| Key::parse(name, text));
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, is_required })
    }

    /// Whether what nobody signed is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key with this id is one of them: what one vouched for that is none any more, nobody vouches for.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Who vouches for these bytes: nobody (`None`) only where that is enough. A signature that is none, or is not of these bytes though it
    /// names a key that is known, is never passed over.
    ///
    /// # Errors
    /// [`NotVouched`]
    pub fn vouch(&self, bytes: &[u8], signature: Option<&str>) -> Result<Option<Signed>, NotVouched> {
        let Some(text) = signature else {
            if self.is_required {
                return Err(NotVouched::Unsigned { keys: self.named() });
            }
            return Ok(None);
        };
        let malformed = |why: &str| NotVouched::Malformed { why: why.to_owned() };
        if text.len() > SIGNATURE_BYTES_MAX {
            return Err(malformed(&format!("it is longer than {SIGNATURE_BYTES_MAX} bytes")));
        }
        let signature = Signature::decode(text).map_err(|error| malformed(&error.to_string()))?;
        let id = text.lines().nth(1).and_then(id_of).ok_or_else(|| malformed("it names no key"))?;
        // Ids may be the same by chance or on purpose: each key that has it is tried.
        let mut known = self.keys.iter().filter(|key| key.id == id).peekable();
        let Some(first) = known.peek() else {
            if self.is_required {
                return Err(NotVouched::Stranger { id, keys: self.named() });
            }
            return Ok(None);
        };
        let wrong = NotVouched::Wrong { key: first.to_string() };
        let by = known.find(|key| key.key.verify(bytes, &signature, true).is_ok()).ok_or(wrong)?;
        Ok(Some(Signed {
            key: id,
            name: by.name.clone(),
            comment: signature.trusted_comment().to_owned(),
            signature: text.to_owned(),
        }))
    }

    /// Its keys, for people.
    fn named(&self) -> String {
        if self.keys.is_empty() {
            return "a key of [plugin_source] keys, of which there is none".to_owned();
        }
        let named: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        named.join(" or ")
    }
}

impl Key {
    fn parse(name: Option<&str>, text: &str) -> Result<Self, NotAKey> {
        let wrong = || NotAKey(limit::clip(text, limit::QUOTE_BYTES_MAX));
        let text = text.trim();
        let key = PublicKey::from_base64(text).map_err(|_| wrong())?;
        let id = id_of(text).ok_or_else(wrong)?;
        Ok(Self { name: name.unwrap_or(&id).to_owned(), id, key })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name == self.id { write!(f, "`{}`", self.id) } else { write!(f, "`{}` ({})", self.name, self.id) }
    }
}

/// The id of a key, as `minisign` prints it, from the line of a key or of a signature.
fn id_of(line: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(line.trim()).ok()?;
    let id: [u8; ID_BYTES] = bytes.get(ALGORITHM_BYTES..ALGORITHM_BYTES + ID_BYTES)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `minisign -G` and `minisign -S` of Debian wrote, of these bytes.
    pub(crate) const BYTES: &[u8] = b"plugin bytes";
    pub(crate) const KEY: &str = "RWSTmMDnRtWjhivmo2KBnJ9d1rzg3yZqp21m/VklMnnE29Y8DZA6eGqZ";
    pub(crate) const ID: &str = "86A3D546E7C09893";
    const OTHER: &str = "RWTbZqN1Bd7s0BVBb+VWQ3MSa78QLKJPq3Q14FH/OyR0YDjI88V2DzyE";
    pub(crate) const PREHASHED: &str = "untrusted comment: signature from minisign secret key\n\
        RUSTmMDnRtWjhrxv+j5rxgARHxmQNZRJQyQp0EzDxk3VimygGxQTRDG3fVd0H9dAR9N2EXwlO5QY/aaAJBHLRWskH2kZc6qMcQ0=\n\
        trusted comment: greeter 1.0.0\n\
        MKZFPETBvozgpRZwX9GW/YJv9wBI7wLS2mXG86JLBcHkrcmxWoIxLygCkHd1OjQcbnN8l8TBkhddDt2mbNYEDg==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWSTmMDnRtWjhqRR5erbSTwqvzVact4QjpsKgOdAjZkAuoMwVYuJOmGDfeYTfyKu3NV76otioKWd1b1ZSxA9XWwGZQYITOcteQ8=\n\
        trusted comment: old one\n\
        uiC6OZI6wB2ZI04YgdtwiBCZxRiG1+vsarGvqG03NJ8wiWkvppj1ljgfH3EIt3YlAxRfNWMC0BKwhTMlUk4iCQ==\n";

    fn keys(keys: &[(Option<&str>, &str)], is_required: bool) -> Keys {
        Keys::new(keys.iter().copied(), is_required).expect("keys")
    }

    #[test]
    fn what_a_known_key_signed_is_vouched_for_in_both_forms() {
        for (signature, comment) in [(PREHASHED, "greeter 1.0.0"), (LEGACY, "old one")] {
            for is_required in [false, true] {
                let keys = keys(&[(Some("others"), OTHER), (Some("release"), KEY)], is_required);
                let signed = keys.vouch(BYTES, Some(signature)).expect("a good signature").expect("a known key");
                assert_eq!(
                    (signed.key.as_str(), signed.name.as_str(), signed.comment.as_str()),
                    (ID, "release", comment)
                );
                assert_eq!(signed.signature, signature);
                let again = keys.vouch(BYTES, Some(&signed.signature)).expect("still good");
                assert_eq!(again, Some(signed));
            }
        }
    }

    #[test]
    fn nobody_vouches_for_changed_bytes_comments_and_signatures() {
        let known = keys(&[(Some("release"), KEY)], false);
        let changed = [
            (&b"plugin byteS"[..], PREHASHED.to_owned()),
            (b"", PREHASHED.to_owned()),
            (b"plugin byteS", LEGACY.to_owned()),
            // What stands beside it is signed, too.
            (BYTES, PREHASHED.replace("greeter 1.0.0", "greeter 9.0.0")),
            (BYTES, LEGACY.replace("old one", "new one")),
            // A signature of a hash is none of the bytes, and the other way round.
            (BYTES, PREHASHED.replace("RUSTmM", "RWSTmM")),
            (BYTES, LEGACY.replace("RWSTmM", "RUSTmM")),
        ];
        for (bytes, signature) in changed {
            let refused = known.vouch(bytes, Some(&signature)).expect_err(&signature);
            assert_eq!(refused, NotVouched::Wrong { key: format!("`release` ({ID})") }, "{signature}");
        }
    }

    #[test]
    fn what_is_no_signature_is_told_so_whether_one_is_wanted_or_not() {
        let long = format!("{PREHASHED}{}", "x".repeat(SIGNATURE_BYTES_MAX));
        for text in ["", "x", "a\nb\nc\nd\n", &PREHASHED.replace("trusted comment: g", "comment: g"), &long] {
            for is_required in [false, true] {
                let refused = keys(&[(None, KEY)], is_required).vouch(BYTES, Some(text)).expect_err(text);
                assert!(matches!(refused, NotVouched::Malformed { .. }), "{text}: {refused}");
            }
        }
    }

    #[test]
    fn what_nobody_known_signed_is_taken_only_where_that_is_enough() {
        for known in [&[][..], &[(Some("others"), OTHER)]] {
            let (lax, strict) = (keys(known, false), keys(known, true));
            assert_eq!(lax.vouch(BYTES, None), Ok(None));
            assert_eq!(lax.vouch(BYTES, Some(PREHASHED)), Ok(None), "a stranger's signature says nothing");
            let unsigned = strict.vouch(BYTES, None).expect_err("not signed").to_string();
            assert!(unsigned.contains("minisign -Sm"), "{unsigned}");
            let stranger = strict.vouch(BYTES, Some(PREHASHED)).expect_err("a stranger").to_string();
            assert!(stranger.contains(ID), "{stranger}");
            for says in [unsigned, stranger] {
                let named = if known.is_empty() { "of which there is none" } else { "`others` (D0ECDE0575A366DB)" };
                assert!(says.contains(named), "{says}");
            }
        }
    }

    /// Whoever knows a key's id can make a key of the same: it must not stand in the way of the other.
    #[test]
    fn a_key_of_the_same_id_takes_nothing_from_another() {
        let mut twin = BASE64_STANDARD.decode(OTHER).expect("a key");
        twin[2..10].copy_from_slice(&BASE64_STANDARD.decode(KEY).expect("a key")[2..10]);
        let twin = BASE64_STANDARD.encode(twin);
        let both = keys(&[(Some("twin"), &twin), (Some("release"), KEY)], true);
        assert_eq!(both.vouch(BYTES, Some(PREHASHED)).expect("good").expect("known").name, "release");
        let alone = keys(&[(Some("twin"), &twin)], true);
        assert!(matches!(alone.vouch(BYTES, Some(PREHASHED)), Err(NotVouched::Wrong { .. })));
    }

    #[test]
    fn what_is_no_key_is_told_so() {
        for text in ["", "release", "untrusted comment: minisign public key", &KEY[..50], PREHASHED] {
            let says = Keys::new([(None, text)], false).expect_err(text).to_string();
            assert!(says.contains("begins with RW"), "{says}");
        }
    }
}
