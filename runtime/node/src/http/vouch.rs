//! One node of a store vouches for somebody towards another: pages are asked for by people whom the node that they are signed in at knows, and
//! who have no token there to show.
//!
//! Each node makes up a key when it starts, and tells it to the others in its row of the store: whoever may read that may do what nodes do
//! anyway. What is vouched for is one request, of one holder, with their scopes, at about this time: by the store's clock, because those of
//! two nodes may be minutes apart. What a holder may not do here they may not do there.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sortie_contract::Timestamp;

use super::App;
use super::auth::{Holder, Inside};
use crate::config::Scope;

/// Where the words stand.
pub(super) const HEADER: HeaderName = HeaderName::from_static("sortie-vouched");

/// How long words hold, in seconds: either way, for the store's clock may be set.
const HOLDS_SECONDS: i64 = 60;

/// Bytes of chance in a key.
const KEY_BYTES: usize = 32;

/// What others vouch with towards this node; new with each start.
pub(crate) struct Key(pub(crate) String);

impl Default for Key {
    fn default() -> Self {
        use rand::Rng as _;
        let mut bytes = [0_u8; KEY_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// What is vouched for.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    at: i64,
    name: String,
    scopes: Vec<String>,
    /// Whether they hold the own token of the node that says this.
    #[serde(default)]
    is_own: bool,
}

/// That `holder` asks this of the node that has this key; nothing, where it has none.
pub(super) fn words(key: &str, method: &str, target: &str, holder: &Holder, now: Timestamp) -> Option<HeaderValue> {
    let scopes = holder.scopes().iter().map(|scope| scope.as_str().to_owned()).collect();
    let words = Words { at: now.as_second(), name: holder.name.to_string(), scopes, is_own: holder.is_own() };
    let words = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&words).expect("plain data"));
    let seal = URL_SAFE_NO_PAD.encode(sealed(key, method, target, &words)?.finalize().into_bytes());
    HeaderValue::try_from(format!("{words}.{seal}")).ok()
}

/// Who asks, as the node says that sends the request; nothing, where it says nothing that holds.
fn heard(key: &str, method: &str, target: &str, said: &str, now: Timestamp) -> Option<Holder> {
    let (words, seal) = said.split_once('.')?;
    sealed(key, method, target, words)?.verify_slice(&URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
    let words: Words = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(words).ok()?).ok()?;
    if words.at.abs_diff(now.as_second()) > HOLDS_SECONDS.unsigned_abs() {
        return None;
    }
    // Scopes that are not known here open nothing here.
    let scopes: Vec<Scope> = words.scopes.iter().filter_map(|scope| Scope::named(scope)).collect();
    let holder = if words.is_own { Holder::of_another_node } else { Holder::new };
    Some(holder(&words.name, &scopes))
}

fn sealed(key: &str, method: &str, target: &str, words: &str) -> Option<Hmac<Sha256>> {
    if key.is_empty() {
        return None;
    }
    let mut seal = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    for part in [method, target, words] {
        seal.update(part.as_bytes());
        seal.update(b"\n");
    }
    Some(seal)
}

/// Lets whoever another node vouches for in as who they are there.
pub(super) async fn listen(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let said = request.headers_mut().remove(HEADER);
    if let Some(said) = said.as_ref().and_then(|said| said.to_str().ok())
        && app.engine.has_fleet()
    {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let now = app.engine.store_time();
        if let Some(holder) = heard(&app.peers.key.0, request.method().as_str(), target, said, now) {
            request.extensions_mut().insert(Inside(holder));
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_for_one_request_to_one_node_for_a_while() {
        let (key, other) = (Key::default(), Key::default());
        let holder = Holder::new("ann", &[Scope::Read]);
        let at: Timestamp = "2026-11-27T12:00:00Z".parse().expect("a time");
        let later = |seconds: i64| at.checked_add(jiff::SignedDuration::from_secs(seconds)).expect("a time");
        let said = words(&key.0, "GET", "/v1/missions/m?at=1", &holder, at).expect("words");
        let said = said.to_str().expect("text");
        let heard = |key: &Key, method, target, said: &str, now| heard(&key.0, method, target, said, now);
        let found = heard(&key, "GET", "/v1/missions/m?at=1", said, later(5)).expect("it holds");
        assert!(&*found.name == "ann" && found.may(Scope::Read) && !found.may(Scope::Operate));
        let own = words(&key.0, "GET", "/", &Holder::of_another_node("admin", &[Scope::Admin]), at).expect("words");
        let own = heard(&key, "GET", "/", own.to_str().expect("text"), at).expect("it holds");
        assert!(own.is_own() && own.may(Scope::Admin) && !found.is_own());
        for (label, found) in [
            ("another node", heard(&other, "GET", "/v1/missions/m?at=1", said, at)),
            ("another method", heard(&key, "POST", "/v1/missions/m?at=1", said, at)),
            ("another path", heard(&key, "GET", "/v1/missions/n?at=1", said, at)),
            ("later", heard(&key, "GET", "/v1/missions/m?at=1", said, later(61))),
            ("before", heard(&key, "GET", "/v1/missions/m?at=1", said, later(-61))),
            ("other words", heard(&key, "GET", "/v1/missions/m?at=1", &format!("x{said}"), at)),
            ("no words", heard(&key, "GET", "/v1/missions/m?at=1", "", at)),
        ] {
            assert!(found.is_none(), "{label}");
        }
        assert!(words("", "GET", "/", &holder, at).is_none(), "a node without a key hears nobody");
    }
}
