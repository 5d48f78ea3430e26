//! Digests as people and registries write them: `sha256:` and 64 hex digits.

use sha2::{Digest as _, Sha256};
use sortie_contract::digest::Digest;
use sortie_contract::limit;

/// What stands before the digits.
pub(crate) const SHA256: &str = "sha256:";

/// A text that names no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no digest: it is `sha256:` and 64 hex digits, as `sha256sum FILE` prints them")]
pub struct NotADigest(String);

/// The digest that is written so; `sha256=` and the digits alone are understood, too.
///
/// # Errors
/// [`NotADigest`]
pub fn digest_of(text: &str) -> Result<Digest, NotADigest> {
    let digits = text.strip_prefix(SHA256).or_else(|| text.strip_prefix("sha256=")).unwrap_or(text);
    digits.parse().map_err(|_| NotADigest(limit::clip(text, limit::QUOTE_BYTES_MAX)))
}

/// As registries write it.
pub(crate) fn named(digest: &Digest) -> String {
    format!("{SHA256}{digest}")
}

/// A digest of what comes piece by piece.
#[derive(Default)]
pub(crate) struct Sum(Sha256);

impl Sum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::from(<[u8; 32]>::from(self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_understood_as_people_write_it() {
        let digest = Digest::of(b"x");
        for text in [format!("sha256:{digest}"), format!("sha256={digest}"), digest.to_string()] {
            assert_eq!(digest_of(&text), Ok(digest), "{text}");
        }
        for text in ["", "sha256:", "sha512:00", "md5=1", "sha256:xyz"] {
            assert!(digest_of(text).expect_err(text).to_string().contains("64 hex digits"));
        }
        let mut sum = Sum::default();
        sum.add(b"");
        sum.add(b"x");
        assert_eq!(sum.digest(), digest);
    }
}
