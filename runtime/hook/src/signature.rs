//! Whether a delivery was signed by who holds the hook's secret, and what of it the signature covers.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, de};
use sha2::Sha256;
use sortie_contract::digest::Digest;
use sortie_egress::header::{HeaderMap, HeaderName};
use sortie_egress::{Secret, SecretError, webhook};

/// How old a delivery of Standard Webhooks may be, or how far ahead its sender's clock: what the specification recommends.
pub const AGE_MAX_SECONDS: i64 = 300;

/// Most characters of the id of a delivery.
const ID_CHARS_MAX: usize = 256;

/// Where GitHub, Gitea and Forgejo put their signature.
const GITHUB: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// The way in which a service signs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scheme {
    /// [Standard Webhooks](https://www.standardwebhooks.com): id, time and body are signed.
    #[default]
    Standard,
    /// The HMAC-SHA256 of the body, in hexadecimal digits, perhaps behind `sha256=`, in this header. What is sent again is told by its body alone.
    Hex(HeaderName),
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::Hex(header) if *header == GITHUB => f.write_str("github"),
            Self::Hex(header) => write!(f, "hex:{header}"),
        }
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "standard" => Ok(Self::Standard),
            None if text == "github" => Ok(Self::Hex(GITHUB)),
            Some(("hex", name)) => {
                name.parse().map(Self::Hex).map_err(|_| format!("`{}` is no name of a header", name.escape_debug()))
            }
            _ => Err(format!("`{}` is none of `standard`, `github`, `hex:NAME-OF-THE-HEADER`", text.escape_debug())),
        }
    }
}

impl<'de> Deserialize<'de> for Scheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Scheme {
    /// Whether this secret can be one of it.
    pub(crate) fn takes(&self, secret: &Secret) -> Result<(), SecretError> {
        match self {
            Self::Standard => webhook::mac(secret, "", 0, b"").map(drop),
            Self::Hex(_) => Ok(()),
        }
    }

    /// What tells this delivery from all others of its hook, and is signed; at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// It is not signed so, in words for its sender; nothing of the secret is in them.
    pub(crate) fn signed_id(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secret: &Secret,
        now: i64,
    ) -> Result<String, String> {
        match self {
            Self::Standard => standard(headers, body, secret, now),
            Self::Hex(header) => {
                let given = text_of(headers, header)?;
                let digits = given.strip_prefix("sha256=").unwrap_or(given);
                let given: Digest = digits.parse().map_err(|_| format!("`{header}` holds no 64 hexadecimal digits"))?;
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("a key of any length");
                mac.update(body);
                mac.verify_slice(given.as_bytes()).map_err(|_| not_of_the_secret())?;
                Ok(digest(body))
            }
        }
    }
}

fn standard(headers: &HeaderMap, body: &[u8], secret: &Secret, now: i64) -> Result<String, String> {
    let [id, time, signatures] = [webhook::ID, webhook::TIMESTAMP, webhook::SIGNATURE]
        .map(|name| text_of(headers, &HeaderName::from_static(name)));
    let (id, time, signatures) = (id?, time?, signatures?);
    if id.is_empty() {
        return Err(format!("`{}` is empty: nothing tells this delivery from others", webhook::ID));
    }
    if id.chars().count() > ID_CHARS_MAX {
        return Err(format!("`{}` has more than {ID_CHARS_MAX} characters", webhook::ID));
    }
    let time: i64 = time.parse().map_err(|_| format!("`{}` is no number of seconds", webhook::TIMESTAMP))?;
    // It is anybody's number until the signature is verified.
    if now.saturating_sub(time).unsigned_abs() > AGE_MAX_SECONDS.unsigned_abs() {
        return Err(format!(
            "`{}` is more than {AGE_MAX_SECONDS} seconds from this node's clock: an old delivery, or a clock that is wrong",
            webhook::TIMESTAMP
        ));
    }
    let given = signatures.split_ascii_whitespace().filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    let mac = webhook::mac(secret, id, time, body).map_err(|_| not_of_the_secret())?;
    for given in given {
        if mac.clone().verify_slice(&given).is_ok() {
            return Ok(id.to_owned());
        }
    }
    Err(not_of_the_secret())
}

fn not_of_the_secret() -> String {
    "the signature is not one of this hook's secret over this very body".to_owned()
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| format!("`{name}` is no text")),
        (Some(_), Some(_)) => Err(format!("there is more than one `{name}`")),
        (None, _) => Err(format!("there is no `{name}`: the delivery is not signed as this hook wants it")),
    }
}

/// The first half of a SHA-256, in hexadecimal digits: enough that no two are the same.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut digits = Digest::of(bytes).to_string();
    digits.truncate(32);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_614_265_330;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    /// The example of Standard Webhooks' own test suite.
    fn reference() -> (Secret, Vec<(&'static str, &'static str)>, &'static [u8]) {
        (
            Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            vec![
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v2,AA== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            br#"{"test": 2432232314}"#,
        )
    }

    #[test]
    fn the_example_of_the_specification_is_taken_and_nothing_that_differs_from_it() {
        let (secret, pairs, body) = reference();
        let asked =
            |pairs: &[(&str, &str)], body: &[u8], now| Scheme::Standard.signed_id(&headers(pairs), body, &secret, now);
        assert_eq!(asked(&pairs, body, NOW).as_deref(), Ok("msg_p5jXN8AQM9LWM0D4loKWxJek"));
        assert!(
            asked(&pairs, body, NOW + AGE_MAX_SECONDS).is_ok() && asked(&pairs, body, NOW - AGE_MAX_SECONDS).is_ok()
        );
        assert!(asked(&pairs, br#"{"test": 2432232315}"#, NOW).is_err(), "another body");
        assert!(asked(&pairs, body, NOW + AGE_MAX_SECONDS + 1).unwrap_err().contains("clock"));
        assert!(asked(&pairs, body, i64::MIN).is_err() && asked(&pairs, body, i64::MAX).is_err());
        for (place, value, says) in [
            (0, "msg_other", "secret"),
            (0, "", "is empty"),
            (1, "1614265331", "secret"),
            (1, "soon", "seconds"),
            (1, "-9223372036854775808", "clock"),
            (2, "", "secret"),
            (2, "v1,g0hM9SsE", "secret"),
            (2, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "secret"),
        ] {
            let mut changed = pairs.clone();
            changed[place].1 = value;
            let told = asked(&changed, body, NOW).unwrap_err();
            assert!(told.contains(says), "{value}: {told}");
            changed.remove(place);
            assert!(asked(&changed, body, NOW).unwrap_err().contains("there is no"));
        }
        let mut twice = pairs.clone();
        twice.push(pairs[0]);
        assert!(asked(&twice, body, NOW).unwrap_err().contains("more than one"));
    }

    #[test]
    fn the_example_of_github_is_taken_and_nothing_that_differs_from_it() {
        // From GitHub's own documentation.
        let secret = Secret::new("It's a Secret to Everybody".to_owned());
        let signed = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let scheme: Scheme = "github".parse().unwrap();
        let asked = |value: &str, body: &[u8]| {
            scheme.signed_id(&headers(&[("X-Hub-Signature-256", value)]), body, &secret, NOW)
        };
        let id = asked(&format!("sha256={signed}"), b"Hello, World!").unwrap();
        assert_eq!(id.len(), 32);
        assert_eq!(asked(&signed.to_uppercase(), b"Hello, World!"), Ok(id));
        assert!(asked(signed, b"Hello, World?").unwrap_err().contains("secret"));
        for value in
            ["", "sha256=", "sha1=757107ea0eb2509fc211221cce984b8a37570b6d", &signed[1..], &signed.replace('7', "+")]
        {
            assert!(asked(value, b"Hello, World!").unwrap_err().contains("hexadecimal"), "{value}");
        }
        assert!(scheme.signed_id(&HeaderMap::new(), b"", &secret, NOW).unwrap_err().contains("there is no"));
    }

    #[test]
    fn schemes_have_names() {
        for name in ["standard", "github", "hex:x-grafana-alerting-signature"] {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
        }
        for name in ["", "Standard", "hex:", "hex:a b", "sha1", "hex"] {
            assert!(name.parse::<Scheme>().is_err(), "{name}");
        }
    }
}
