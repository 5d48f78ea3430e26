//! Signing in with a token, once; and out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, Html, IntoResponse as _, Redirect, Response};
use maud::html;

use super::Web;
use super::door::{Fields, HOST, Posted, keys};
use super::frame::{Refused, frame};
use super::session::{AGE, NotOpened};
use crate::http::places::Place;

/// Most bytes of the form: a token, and where to go on. Whoever sends it is a stranger.
const FORM_BYTES_MAX: usize = 8 << 10;

/// `GET /signin`
pub(super) async fn page(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let of = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let lost =
        "Nobody was signed in any more when the form came: nothing was done. Sign in, and look how things stand.";
    shown(StatusCode::OK, own_path(of("next").as_deref()), of("lost").map(|_| lost))
}

/// The page, with what was wrong.
fn shown(status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let main = html! {
        h1 { "Sortie" }
        form method="post" action="/signin" class="signin" {
            @if let Some(wrong) = wrong { p class="notice bad" role="alert" { (wrong) } }
            input type="hidden" name="next" value=(next);
            // What keeps passwords wants a name beside each: it is shown to nobody, and not sent.
            input type="text" autocomplete="username" value="sortie" aria-label="Name" hidden;
            label for="token" { "Token of this node" }
            input id="token" name="token" type="password" autocomplete="current-password" required autofocus
                aria-describedby="token-help";
            p id="token-help" class="dim" {
                "Its own is in " code { "DATA_DIR/token" } "; others are in its configuration. What a token may do, you may do here. "
                "The browser keeps a key of its own, never the token."
            }
            button type="submit" class="primary" { "Sign in" }
        }
    };
    (status, Html(frame("Sign in", None, &main).into_string())).into_response()
}

/// `POST /signin`
pub(super) async fn sign_in(State(web): State<Web>, request: Request) -> Result<Response, Refused> {
    // Every connection has a place; what comes without one is of a test, and counts as one peer.
    let place = request.extensions().get::<Arc<Place>>();
    let peer = place.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |place| place.peer());
    let is_secure = is_secure(request.headers());
    let before: Vec<String> = keys(request.headers(), &web.sessions.cookie).into_iter().map(str::to_owned).collect();
    let fields = Fields::read(request, FORM_BYTES_MAX).await?;
    let next = own_path(Some(fields.text("next")));
    let Some(holder) = web.tokens.of(fields.text("token")) else {
        return Ok(wrong(&web, peer, next));
    };
    // Whoever signs in over a session leaves it.
    for (before, ..) in before.iter().filter_map(|before| web.sessions.find(before, false)) {
        web.sessions.close(before);
    }
    let key = match web.sessions.open(holder.clone()) {
        Ok(key) => key,
        Err(NotOpened::Full) => {
            let said = "As many people are signed in as can be. Try again later, or restart the node: that signs everybody out.";
            return Ok(shown(StatusCode::SERVICE_UNAVAILABLE, next, Some(said)));
        }
    };
    tracing::info!(token = %holder.name, %peer, "somebody signed in to the dashboard");
    let cookie = cookie(&web.sessions.cookie, &key, AGE.as_secs(), is_secure);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// What is said of a token that is none of this node. The right one is taken however many wrong ones came before: behind a proxy all
/// people are one peer, and none of them shuts out the others.
fn wrong(web: &Web, peer: IpAddr, next: &str) -> Response {
    if !web.sessions.may_guess(peer) {
        let said = "This is no token of this node, and too many wrong ones came from this address. Wait a minute, then try again.";
        return shown(StatusCode::TOO_MANY_REQUESTS, next, Some(said));
    }
    if let Some(tokens) = web.sessions.guessed(peer) {
        tracing::warn!(%peer, tokens, "wrong tokens were shown to the dashboard");
    }
    shown(StatusCode::UNAUTHORIZED, next, Some("This is no token of this node."))
}

/// `POST /signout`
pub(super) async fn sign_out(State(web): State<Web>, headers: HeaderMap, posted: Posted) -> Response {
    web.sessions.close(posted.viewer.key);
    // Under either name: a browser that came over TLS may have signed in without it.
    let names = if is_secure(&headers) { &[true, false][..] } else { &[false] };
    let gone = names.iter().map(|is_secure| (header::SET_COOKIE, cookie(&web.sessions.cookie, "", 0, *is_secure)));
    (AppendHeaders(gone.collect::<Vec<_>>()), Redirect::to("/signin")).into_response()
}

fn cookie(name: &str, key: &str, seconds: u64, is_secure: bool) -> String {
    let (host, secure) = if is_secure { (HOST, "; Secure") } else { ("", "") };
    format!("{host}{name}={key}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Whether a browser speaks to what stands before the node over TLS. Who lies about it has a cookie that is kept closer.
fn is_secure(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = text("x-forwarded-proto").split(',').next().unwrap_or_default().trim();
    forwarded.eq_ignore_ascii_case("https")
        || text("forwarded").to_ascii_lowercase().contains("proto=https")
        || text("origin").starts_with("https://")
}

/// Where to go on: a path of this node, whatever a link says.
fn own_path(next: Option<&str>) -> &str {
    let is_own = |next: &&str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !next.starts_with("/sign")
    };
    next.filter(is_own).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn who_has_signed_in_stays_on_this_node() {
        for (next, expected) in [
            ("/inbox?a=b", "/inbox?a=b"),
            ("", "/"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
            ("/signout", "/"),
        ] {
            assert_eq!(own_path(Some(next)), expected, "{next:?}");
        }
        assert_eq!(own_path(None), "/");
    }

    #[test]
    fn a_cookie_is_for_tls_alone_where_there_is_tls() {
        for (name, value, expected) in [
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "https, http", true),
            ("forwarded", "for=1.2.3.4;proto=https", true),
            ("origin", "https://factory.example", true),
            ("origin", "http://factory.example", false),
            ("host", "https", false),
        ] {
            let name_and_value = (HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(is_secure(&HeaderMap::from_iter([name_and_value])), expected, "{name}: {value}");
        }
        assert!(cookie("c", "k", 1, true).starts_with("__Host-c=k; Path=/; "));
        assert!(cookie("c", "k", 1, false).starts_with("c=k; Path=/; "));
        assert!(cookie("c", "k", 1, true).ends_with("; HttpOnly; SameSite=Strict; Secure"));
        assert!(cookie("c", "k", 1, false).ends_with("; HttpOnly; SameSite=Strict"));
    }
}
