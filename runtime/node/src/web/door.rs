//! Who stands before a page, and whether a form was sent by one of ours.
//!
//! A form counts only if it brings along what its session put into it, and if its browser, where it says from where it comes, says from here:
//! each of the two would do. The node's interface below `/v1` knows no cookie, so that no page of others reaches it with somebody's right.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, Uri, header};
use sortie_contract::digest::Digest;
use url::Url;

use super::Web;
use super::frame::{LIVE, Refused};
use super::session::Key;
use crate::config::Scope;
use crate::http::auth::Holder;
use crate::http::body;
use crate::http::places::Place;

/// Most bytes of a form of somebody who is signed in: arguments of a call, as they may be.
const FORM_BYTES_MAX: usize = 2 << 20;

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Viewer {
    pub(super) key: Key,
    pub(super) holder: Holder,
    /// What each form must bring along.
    pub(super) form_key: String,
    /// Whether it asks for a part of a page that it has: by itself, and shows nothing else of the answer.
    pub(super) is_part: bool,
}

impl Viewer {
    /// Whether a form brought along what its session put into it. Digests are compared: how much of a guess is right takes no time that
    /// could be measured.
    pub(super) fn has_form_key(&self, given: &str) -> bool {
        Digest::of(given.as_bytes()) == Digest::of(self.form_key.as_bytes())
    }

    /// Whether it may do what changes something.
    pub(super) fn operates(&self) -> bool {
        self.holder.may(Scope::Operate)
    }
}

impl FromRequestParts<Web> for Viewer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Refused> {
        let place = parts.extensions.get::<Arc<Place>>();
        let is_part = parts.headers.contains_key("hx-request");
        let is_use = is_use(is_part, parts.uri.path());
        let found =
            keys(&parts.headers, &web.sessions.cookie).into_iter().find_map(|key| web.sessions.find(key, is_use));
        // Whose token was taken away is signed out with it.
        let found = found.filter(|(key, holder, _)| {
            let is_known = web.tokens.has(holder);
            if !is_known {
                web.sessions.close(*key);
            }
            is_known
        });
        let Some((key, holder, form_key)) = found else {
            let back = if parts.method == Method::GET { parts.uri.path_and_query() } else { None };
            return Err(Refused::unknown(back.map(PathAndQuery::as_str), is_part));
        };
        // Who is known keeps its connection, as who has shown a token does.
        if place.is_some_and(|place| !place.is_known()) {
            return Err(Refused::busy());
        }
        Ok(Self { key, holder, form_key, is_part })
    }
}

/// Whether somebody asks: what a page asks by itself, its parts and the stream to which it listens, is no use of a session.
fn is_use(is_part: bool, path: &str) -> bool {
    !is_part && path != LIVE
}

/// Before the name of a cookie that a browser takes from this host alone, and over TLS.
pub(super) const HOST: &str = "__Host-";

/// The keys in the cookies of that name, that of TLS first: where both are there, one of them is of an earlier sign-in.
pub(super) fn keys<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let names = [format!("{HOST}{name}"), name.to_owned()];
    // Two of one name were not both set by us.
    names.iter().filter_map(|name| <[&str; 1]>::try_from(named(headers, name)).ok()).flatten().collect()
}

/// The values of the cookies of that name.
fn named<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, key)| key).collect()
}

/// A form that somebody sent who is signed in.
pub(super) struct Posted {
    pub(super) viewer: Viewer,
    pub(super) fields: Fields,
}

impl FromRequest<Web> for Posted {
    type Rejection = Refused;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refused> {
        let (mut parts, sent) = request.into_parts();
        let viewer = Viewer::from_request_parts(&mut parts, web).await?;
        let fields = Fields::read(Request::from_parts(parts, sent), FORM_BYTES_MAX).await?;
        if !viewer.has_form_key(fields.text(FORM_KEY)) {
            return Err(Refused::forged(Some(&viewer)));
        }
        Ok(Self { viewer, fields })
    }
}

/// The field with what a session put into its forms.
pub(super) const FORM_KEY: &str = "form_key";

/// Most of a list that something is done to at once.
const AT_ONCE_MAX: usize = 100;

/// What a form says: each name may be there several times.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// Reads a form of at most so many bytes that a page of this node sent, as far as its browser says. Lines of a text end as they do
    /// everywhere but in what browsers send.
    pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Self, Refused> {
        if !is_ours(request.headers(), request.uri()) {
            return Err(Refused::forged(None));
        }
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().is_none_or(|kind| kind.trim() != "application/x-www-form-urlencoded") {
            return Err(Refused::bad("What was sent is no form of this page."));
        }
        let sent = body::whole(request, bytes_max).await.map_err(|problem| Refused::problem(None, &problem.body()))?;
        let pairs = url::form_urlencoded::parse(&sent).into_owned();
        Ok(Self(pairs.map(|(name, value)| (name, value.replace("\r\n", "\n"))).collect()))
    }

    /// The field of that name; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str())
    }

    /// The field of that name, unless it is blank.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.trim().is_empty())
    }

    /// What is marked of a list, each once.
    pub(super) fn marked(&self, viewer: &Viewer) -> Result<BTreeSet<&str>, Refused> {
        let marked: BTreeSet<&str> = self.all("item").collect();
        match marked.len() {
            0 => Err(Refused::bad("Nothing is marked.").seen_by(viewer)),
            1..=AT_ONCE_MAX => Ok(marked),
            _ => Err(Refused::bad(&format!("At most {AT_ONCE_MAX} are taken at once.")).seen_by(viewer)),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a request comes from a page of this node, as far as its browser says where it comes from.
pub(super) fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    // A proxy may ask under another name, and says then what it was asked under: of several proxies the first. No page of others can send
    // that header here.
    let forwarded = text("x-forwarded-host").and_then(|hosts| hosts.split(',').next());
    let asked = [forwarded, text("host"), uri.authority().map(axum::http::uri::Authority::as_str)];
    let Ok(origin) = Url::parse(origin) else { return false };
    let Some(host) = origin.host_str() else { return false };
    let own = origin.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    asked.into_iter().flatten().any(|asked| without_default_port(asked.trim(), origin.scheme()) == own)
}

/// An authority without the port that its scheme has anyway.
fn without_default_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_form_comes_from_here_or_is_none_of_ours() {
        let uri = Uri::from_static("/inbox");
        for (pairs, expected) in [
            (&[][..], true),
            (&[("host", "node:8080"), ("origin", "http://node:8080")], true),
            (&[("host", "node"), ("origin", "http://node:80")], true),
            (&[("host", "node:443"), ("origin", "https://node")], true),
            (&[("host", "node:8080"), ("origin", "http://node:8081")], false),
            (&[("host", "node:8080"), ("origin", "http://node")], false),
            (&[("host", "node"), ("origin", "http://node.evil.example")], false),
            (&[("host", "node"), ("origin", "http://evil.example/node")], false),
            (&[("host", "node"), ("origin", "null")], false),
            (&[("host", "node"), ("origin", "")], false),
            (
                &[("host", "10.0.0.2"), ("x-forwarded-host", "factory.example"), ("origin", "https://factory.example")],
                true,
            ),
            (&[("host", "b"), ("x-forwarded-host", "factory.example, a"), ("origin", "https://factory.example")], true),
            (&[("host", "b"), ("x-forwarded-host", "factory.example, evil"), ("origin", "https://evil")], false),
            (&[("host", "node"), ("sec-fetch-site", "same-origin"), ("origin", "http://node")], true),
            (&[("host", "node"), ("sec-fetch-site", "cross-site"), ("origin", "http://node")], false),
            (&[("host", "node"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "node"), ("sec-fetch-site", "none")], false),
            (&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")], true),
        ] {
            assert_eq!(is_ours(&headers(pairs), &uri), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_a_page_asks_by_itself_keeps_no_session() {
        for (is_part, path, expected) in [(false, "/", true), (true, "/", false), (false, "/live", false)] {
            assert_eq!(is_use(is_part, path), expected, "{path}");
        }
    }

    #[test]
    fn a_key_is_that_of_the_one_cookie_of_its_name() {
        for (pairs, expected) in [
            (&[("cookie", "sortie_1=abc")][..], &["abc"][..]),
            (&[("cookie", "a=b; sortie_1=abc; sortie_10=x")], &["abc"][..]),
            (&[("cookie", "a=b"), ("cookie", "sortie_1=abc")], &["abc"][..]),
            (&[("cookie", "sortie_1=abc; sortie_1=def")], &[][..]),
            (&[("cookie", "xsortie_1=abc")], &[][..]),
            (&[("cookie", "sortie_1=abc; __Host-sortie_1=def")], &["def", "abc"][..]),
            (&[("cookie", "sortie_1=abc; __Host-sortie_1=def; __Host-sortie_1=ghi")], &["abc"][..]),
            (&[("cookie", "__Secure-sortie_1=def")], &[][..]),
            (&[][..], &[][..]),
        ] {
            assert_eq!(keys(&headers(pairs), "sortie_1"), expected, "{pairs:?}");
        }
    }
}
