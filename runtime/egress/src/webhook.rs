//! Signatures in the way of [Standard Webhooks](https://www.standardwebhooks.com): who holds the same secret can tell that a
//! delivery came from the other, when, and that nobody changed it. What the node sends is signed so, and what is sent to its hooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::{Secret, SecretError};

/// The header with the id of a delivery, the same for each attempt.
pub const ID: &str = "webhook-id";

/// The header with the time of an attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";

/// The header with the signatures.
pub const SIGNATURE: &str = "webhook-signature";

/// What marks a secret as base64 of its bytes.
const PREFIX: &str = "whsec_";

/// The `webhook-signature` of a delivery: `v1,` and the base64 of its [`mac`].
///
/// # Errors
/// As [`mac`].
pub fn signature(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> Result<String, SecretError> {
    let mac = mac(secret, id, timestamp, body)?;
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// The HMAC-SHA256 over `id.timestamp.body`.
///
/// The secret is `whsec_` and base64 of the key, as the specification writes it; without that prefix, its bytes are the key.
///
/// # Errors
/// [`SecretError::SigningForm`]
///
/// # Panics
/// Never: any key will do.
pub fn mac(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> Result<Hmac<Sha256>, SecretError> {
    let decoded;
    let key = match secret.expose().strip_prefix(PREFIX) {
        Some(encoded) => {
            decoded = STANDARD.decode(encoded).map_err(|_| SecretError::SigningForm)?;
            if decoded.is_empty() {
                // Anybody has this key.
                return Err(SecretError::SigningForm);
            }
            decoded.as_slice()
        }
        None => secret.expose().as_bytes(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(id.as_bytes());
    mac.update(format!(".{timestamp}.").as_bytes());
    mac.update(body);
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_reproduced() {
        // From the test suite of the reference libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_plain_secret_is_its_own_key_and_a_broken_one_is_refused() {
        let plain = Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let prefixed = Secret::new("whsec_TWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c=".to_owned());
        assert_eq!(signature(&plain, "a", 1, b"b").unwrap(), signature(&prefixed, "a", 1, b"b").unwrap());
        let broken = Secret::new("whsec_not base64".to_owned());
        let empty = Secret::new("whsec_".to_owned());
        assert!(matches!(signature(&empty, "a", 1, b"b"), Err(SecretError::SigningForm)));
        let error = signature(&broken, "a", 1, b"b").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("not base64"), "errors do not quote secrets");
    }
}
