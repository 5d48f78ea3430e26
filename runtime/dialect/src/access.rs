//! Who may ask over HTTP in the old dialect: a bearer token that the control plane signed, or its operators' token.
//!
//! One algorithm is known, HS256, and none is asked for: what a token says of its own algorithm can only make it refused. That is why no
//! crate for tokens of all kinds stands here; the signature itself is that of the `hmac` crate.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use sortie_contract::Timestamp;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::SecretRef;
use sortie_contract::limit;
use sortie_egress::header::{AUTHORIZATION, HeaderMap};
use sortie_egress::{SecretError, resolve};

use crate::config::{ConfigError, HttpConfig};

/// Where the operators' token comes.
pub(crate) const OPS_TOKEN: &str = "x-ua-ops-token";

/// How far the clock of who issued a token may be from this one, in seconds.
const LEEWAY: i64 = 30;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What lets somebody in.
#[derive(Debug, Clone)]
pub struct Access {
    jwt: Option<SecretRef>,
    issuer: String,
    audience: String,
    ops: Option<SecretRef>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What they are called in what is recorded.
    pub name: String,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The node cannot read what it would compare with.
    #[error("a secret of [dialect.http] cannot be read")]
    NoSecret(#[source] SecretError),
    /// They show nothing, or what does not hold; in words for them.
    #[error("{0}")]
    Unknown(String),
}

/// What a token says of itself.
#[derive(Deserialize)]
struct Head {
    alg: String,
    crit: Option<Value>,
}

/// What a token claims.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Value>,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Access {
    /// As the configuration has it.
    ///
    /// # Errors
    /// [`ConfigError`] where nobody could be let in, or a secret stands in the place of where it is.
    pub fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        let [jwt, ops] = [("http.jwt_secret", &config.jwt_secret), ("http.ops_token", &config.ops_token)]
            .map(|(key, reference)| reference.as_deref().map(|text| secret(key, text)).transpose());
        let (jwt, ops) = (jwt?, ops?);
        if jwt.is_none() && ops.is_none() {
            return Err(ConfigError::new(
                "http",
                "name `jwt_secret` or `ops_token`: without one nobody could be let in",
            ));
        }
        if config.issuer.is_empty() || config.audience.is_empty() {
            return Err(ConfigError::new("http", "`issuer` and `audience` must not be empty"));
        }
        Ok(Self { jwt, ops, issuer: config.issuer.clone(), audience: config.audience.clone() })
    }

    /// Who asks, at this time. Secrets are read for each request: one that is replaced holds at once.
    ///
    /// # Errors
    /// [`Denied`]
    pub async fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Denied> {
        let mut why = self.wanted();
        if let (Some(reference), Some(given)) = (&self.ops, headers.get(OPS_TOKEN)) {
            let token = resolve(reference).await.map_err(Denied::NoSecret)?;
            // Digests: how much of a guess is right is not seen in how long that takes.
            if Digest::of(given.as_bytes()) == Digest::of(token.expose().as_bytes()) {
                return Ok(Caller { name: "dialect:ops-token".to_owned() });
            }
            why = format!("`{OPS_TOKEN}` is not the token of this node");
        }
        let bearer =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if let (Some(reference), Some((_, token))) = (&self.jwt, bearer) {
            let key = resolve(reference).await.map_err(Denied::NoSecret)?;
            match self.judged(token.trim(), key.expose().as_bytes(), now.as_second()) {
                Ok(name) => return Ok(Caller { name: format!("dialect:{name}") }),
                Err(refused) => why = format!("the bearer token does not hold: {refused}"),
            }
        }
        Err(Denied::Unknown(why))
    }

    /// The secrets that have no usable value right now, for whoever examines a node.
    pub async fn unavailable(&self) -> Vec<SecretError> {
        let mut found = Vec::new();
        for reference in self.jwt.iter().chain(&self.ops) {
            found.extend(resolve(reference).await.err());
        }
        found
    }

    fn wanted(&self) -> String {
        let ways = [
            self.jwt
                .as_ref()
                .map(|_| format!("`Authorization: Bearer` with a token of {} for {}", self.issuer, self.audience)),
            self.ops.as_ref().map(|_| format!("`{OPS_TOKEN}`")),
        ];
        format!("this wants {}", ways.into_iter().flatten().collect::<Vec<_>>().join(", or "))
    }

    /// Whose the token is, if it holds.
    fn judged(&self, token: &str, key: &[u8], now: i64) -> Result<String, &'static str> {
        const FORM: &str = "it is no token of three parts";
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(FORM)?;
        let (head, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(FORM)?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| FORM);
        // What it says of itself is looked at last but for this: nothing but HS256 is ever tried.
        let said: Head = serde_json::from_slice(&part(head)?).map_err(|_| FORM)?;
        if said.alg != "HS256" {
            return Err("it is not signed with HS256");
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| "its key cannot be used")?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&part(signature)?).map_err(|_| "its signature is not of this node's key")?;
        if said.crit.is_some() {
            return Err("it wants what this node does not know (`crit`)");
        }
        let claims: Claims = serde_json::from_slice(&part(claims)?).map_err(|_| "its claims cannot be read")?;
        if claims.iss.as_deref() != Some(&self.issuer) {
            return Err("it is of another issuer (`iss`)");
        }
        if !claims.aud.as_ref().is_some_and(|audience| self.is_meant(audience)) {
            return Err("it is for another audience (`aud`)");
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
        let (now, leeway) = (now as f64, LEEWAY as f64);
        match claims.exp {
            Some(end) if now < end + leeway => {}
            Some(_) => return Err("it has expired (`exp`)"),
            None => return Err("it never expires (`exp` is missing)"),
        }
        if claims.nbf.is_some_and(|begin| now < begin - leeway) {
            return Err("it does not hold yet (`nbf`)");
        }
        Ok(limit::clip(claims.sub.as_deref().unwrap_or("control-plane"), limit::QUOTE_BYTES_MAX))
    }

    fn is_meant(&self, audience: &Value) -> bool {
        match audience {
            Value::String(one) => *one == self.audience,
            Value::Array(all) => all.iter().any(|one| one.as_str() == Some(&self.audience)),
            _ => false,
        }
    }
}

/// A reference to a secret. What is none may be the secret itself, so it is not repeated.
pub(crate) fn secret(key: &str, text: &str) -> Result<SecretRef, ConfigError> {
    text.parse().map_err(|why| ConfigError::new(key, format!("{why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &[u8] = b"a key of the control plane, long";
    const NOW: i64 = 1_795_744_800;

    fn access() -> Access {
        let config = "jwt_secret = \"env://A\"\nops_token = \"env://B\"\n";
        Access::new(&toml::from_str(config).expect("a section")).expect("it can be meant")
    }

    fn token(head: &Value, claims: &Value, key: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn claims() -> Value {
        json!({"iss": "universal-agent", "aud": "ua-ops", "sub": "simone", "exp": NOW + 60, "nbf": NOW - 60})
    }

    #[test]
    fn a_token_holds_if_everything_in_it_does() {
        let (access, head) = (access(), json!({"alg": "HS256", "typ": "JWT"}));
        let judge = |token: &str| access.judged(token, KEY, NOW);
        assert_eq!(judge(&token(&head, &claims(), KEY)), Ok("simone".to_owned()));
        let several = token(&head, &json!({"iss": "universal-agent", "aud": ["x", "ua-ops"], "exp": NOW}), KEY);
        assert_eq!(judge(&several), Ok("control-plane".to_owned()), "within the leeway, for one of several");
        for (key, value, told) in [
            ("iss", json!("other"), "iss"),
            ("iss", json!(null), "iss"),
            ("aud", json!("other"), "aud"),
            ("aud", json!(["other"]), "aud"),
            ("aud", json!(7), "aud"),
            ("exp", json!(NOW - 31), "expired"),
            ("exp", json!(null), "never expires"),
            ("exp", json!("soon"), "claims"),
            ("nbf", json!(NOW + 31), "yet"),
        ] {
            let mut claims = claims();
            claims[key] = value.clone();
            let refused = judge(&token(&head, &claims, KEY)).expect_err("refused");
            assert!(refused.contains(told), "{key} {value}: {refused}");
        }
    }

    #[test]
    fn no_other_algorithm_and_no_other_key_lets_anybody_in() {
        let access = access();
        let judge = |token: &str| access.judged(token, KEY, NOW).expect_err("refused");
        for alg in ["none", "None", "HS512", "RS256", "hs256", ""] {
            assert!(judge(&token(&json!({"alg": alg}), &claims(), KEY)).contains("HS256"), "{alg}");
        }
        let good = token(&json!({"alg": "HS256"}), &claims(), KEY);
        assert!(judge(&token(&json!({"alg": "HS256"}), &claims(), b"another key")).contains("signature"));
        assert!(judge(&token(&json!({"alg": "HS256", "crit": ["x"]}), &claims(), KEY)).contains("crit"));
        let (signed, _) = good.rsplit_once('.').expect("three parts");
        for odd in [
            signed.to_owned(),
            format!("{signed}."),
            format!("{good}."),
            format!("{good}.x"),
            String::new(),
            "..".to_owned(),
        ] {
            judge(&odd);
        }
        // Each letter counts.
        for at in 0..good.len() {
            let mut changed = good.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            if changed != good {
                // The last letter has bits that are no part of the signature; a strict decoder refuses those, too.
                judge(&changed);
            }
        }
    }

    #[test]
    fn the_example_of_rfc_7515_is_verified() {
        // Appendix A.1: its claims are not ours, so that it is refused for those, and not for its signature.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = URL_SAFE_NO_PAD.decode(key).expect("a key");
        assert_eq!(access().judged(token, &key, NOW), Err("it is of another issuer (`iss`)"));
    }

    #[tokio::test]
    async fn either_way_lets_in_and_a_secret_is_read_for_each_request() {
        let folder = tempfile::tempdir().expect("a folder");
        let [jwt, ops] = ["jwt", "ops"].map(|name| folder.path().join(name));
        let config = format!("jwt_secret = \"file://{}\"\nops_token = \"file://{}\"\n", jwt.display(), ops.display());
        let access = Access::new(&toml::from_str(&config).expect("a section")).expect("it can be meant");
        let now = Timestamp::from_second(NOW).expect("a time");
        let headers = |name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                sortie_egress::header::HeaderName::try_from(name).expect("a name"),
                value.parse().expect("a value"),
            );
            headers
        };
        let mine = headers(OPS_TOKEN, "hush");
        assert!(matches!(access.caller(&mine, now).await, Err(Denied::NoSecret(_))));
        assert_eq!(access.unavailable().await.len(), 2);
        std::fs::write(&ops, "other\n").expect("written");
        std::fs::write(&jwt, KEY).expect("written");
        assert!(matches!(access.caller(&mine, now).await, Err(Denied::Unknown(why)) if !why.contains("hush")));
        std::fs::write(&ops, "hush\n").expect("written");
        assert_eq!(access.caller(&mine, now).await.expect("let in").name, "dialect:ops-token");
        let bearer = headers("authorization", &format!("bearer {}", token(&json!({"alg": "HS256"}), &claims(), KEY)));
        assert_eq!(access.caller(&bearer, now).await.expect("let in").name, "dialect:simone");
        for nobody in [HeaderMap::new(), headers("authorization", "Basic a"), headers("authorization", "Bearer hush")] {
            assert!(matches!(access.caller(&nobody, now).await, Err(Denied::Unknown(_))), "{nobody:?}");
        }
    }

    #[test]
    fn a_section_that_lets_nobody_in_is_refused_and_no_secret_repeated() {
        for (text, told) in [
            ("", "jwt_secret"),
            ("ops_token = \"hush\"", "ops_token"),
            ("ops_token = \"env://A\"\nissuer = \"\"", "issuer"),
        ] {
            let error = Access::new(&toml::from_str(text).expect("a section")).expect_err(text).to_string();
            assert!(error.contains(told) && !error.contains("hush"), "{error}");
        }
    }
}
