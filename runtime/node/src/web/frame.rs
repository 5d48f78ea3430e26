//! What all pages have around them, and how a page says that there is nothing to show.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::Web;
use super::assets;
use super::door::{FORM_KEY, Viewer};
use super::live::ENOUGH;
use super::session::Notice;
use super::text::plain;
use crate::mcp::api::Trouble;

/// What htmx must not do: make style elements, evaluate texts, run scripts of answers, keep pages, or ask others.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,"historyEnabled":false,"historyCacheSize":0}"#;

/// The pages of the navigation: where, and what they are called.
const PAGES: [(&str, &str); 11] = [
    ("/", "Night"),
    ("/inbox", "Inbox"),
    ("/missions", "Missions"),
    ("/schedules", "Schedules"),
    ("/sessions", "Sessions"),
    ("/deliveries", "Deliveries"),
    ("/plugins", "Plugins"),
    ("/tools", "Tools"),
    ("/models", "Models"),
    ("/node", "Node"),
    ("/actions", "Log"),
];

/// A page, for who is signed in.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// Its place in the navigation.
    pub(super) at: &'a str,
    pub(super) main: Markup,
}

impl Page<'_> {
    /// The page, with what is to be said of what was done just before.
    pub(super) fn shown(self, web: &Web, viewer: &Viewer) -> Response {
        // A part of a page shows no notice: it is for the next page that somebody sees.
        let notice = if viewer.is_part { None } else { web.sessions.notice(viewer.key) };
        let instance = &web.app.called.instance_id;
        let main = html! {
            @if let Some(notice) = &notice { (told(notice)) }
            (self.main)
        };
        Html(frame(self.title, Some((viewer, self.at, instance)), &main).into_string()).into_response()
    }
}

fn told(notice: &Notice) -> Markup {
    let (class, role) = if notice.is_bad { ("notice bad", "alert") } else { ("notice good", "status") };
    html! {
        div class=(class) role=(role) {
            @for line in &notice.lines { p { (plain(line)) } }
        }
    }
}

/// A whole document around `main`; with who looks at it, which page that is, and whose node, where somebody is signed in.
pub(super) fn frame(title: &str, seen: Option<(&Viewer, &str, &str)>, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX);
                title { (plain(title)) " · Sortie" }
                link rel="icon" href=(assets::path("icon.svg"));
                link rel="stylesheet" href=(assets::path("sortie.css"));
                @if seen.is_some() {
                    script src=(assets::path("htmx.min.js")) defer {}
                    script src=(assets::path("htmx-ext-sse.min.js")) defer {}
                }
            }
            body {
                a class="skip" href="#main" { "Skip to content" }
                @if let Some((viewer, at, instance)) = seen {
                    header {
                        p class="brand" { "Sortie " span class="dim" { (plain(instance)) } }
                        nav aria-label="Pages" {
                            ul {
                                @for (path, name) in PAGES {
                                    li { a href=(path) aria-current=[(path == at).then_some("page")] { (name) } }
                                }
                            }
                        }
                        form method="post" action="/signout" class="who" {
                            (form_key(viewer))
                            span class="dim" { "Signed in with the token " b { (plain(&viewer.holder.name)) } }
                            " " button type="submit" { "Sign out" }
                        }
                    }
                }
                main id="main" tabindex="-1" { (main) }
            }
        }
    }
}

/// What each form brings along.
pub(super) fn form_key(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name=(FORM_KEY) value=(viewer.form_key); }
}

/// The first button of a form that changes something. A browser presses the first one when somebody presses Enter in a field, and where that
/// is disabled it does nothing: this one is, and nobody sees it. What it would send decides nothing either.
pub(super) fn decides_nothing() -> Markup {
    html! { button type="submit" name="decision" value="" hidden disabled { "Decide nothing" } }
}

/// Where a page hears that something has changed.
pub(super) const LIVE: &str = "/live";

/// Attributes of the part of a page that is fetched anew when something happens on the node: with scripts only.
pub(super) fn live(again: &str, part: &Markup) -> Markup {
    html! {
        div hx-ext="sse" sse-connect=(LIVE) sse-close=(ENOUGH) {
            div id="live" hx-get=(again) hx-select="#live" hx-swap="outerHTML" hx-trigger="sse:change throttle:1s, every 60s" {
                (part)
            }
        }
    }
}

/// Why a page is not shown, or a form not taken.
pub(super) struct Refused {
    status: StatusCode,
    viewer: Option<Box<Viewer>>,
    title: String,
    lines: Vec<String>,
    /// Where to sign in, for who is not.
    sign_in: Option<(String, bool)>,
    /// The problem of the interface, where it is one.
    pub(super) code: String,
}

impl Refused {
    fn new(status: StatusCode, title: &str, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        Self { status, viewer: None, title: title.to_owned(), lines, sign_in: None, code: String::new() }
    }

    /// Nobody is signed in: they come back to `back` once they are. Without it a form was sent, which is lost: that is told.
    pub(super) fn unknown(back: Option<&str>, is_part: bool) -> Self {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("next", back.unwrap_or("/"));
        if back.is_none() {
            query.append_pair("lost", "form");
        }
        let query = query.finish();
        let sign_in = Some((format!("/signin?{query}"), is_part));
        Self {
            sign_in,
            ..Self::new(StatusCode::UNAUTHORIZED, "Not signed in", &["Sign in with a token of this node."])
        }
    }

    pub(super) fn busy() -> Self {
        let said = "All connections that the node can hold are taken. Try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The node is busy", &[said])
    }

    pub(super) fn bad(said: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "That cannot be taken", &[said])
    }

    /// Nothing is there.
    pub(super) fn missing(said: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not here", &[said])
    }

    /// What axum itself refuses: a path that is no UTF-8, a method that a page has not.
    pub(super) fn unread(status: StatusCode, said: &str) -> Self {
        let said = if said.is_empty() { status.canonical_reason().unwrap_or("It cannot be read.") } else { said };
        Self::new(status, "That cannot be taken", &[said])
    }

    /// A form that no page of this session sent.
    pub(super) fn forged(viewer: Option<&Viewer>) -> Self {
        let said = [
            "This form was not sent by a page of this node, or by one of an earlier sign-in: nothing was done.",
            "Go back, reload the page, and try again. Behind a proxy, it has to pass on the name that the node is asked under (Host, or X-Forwarded-Host).",
        ];
        Self { viewer: viewer.cloned().map(Box::new), ..Self::new(StatusCode::FORBIDDEN, "Nothing was done", &said) }
    }

    /// What the interface refuses.
    pub(super) fn trouble(viewer: &Viewer, trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(problem) => Self::problem(Some(viewer), &problem),
            Trouble::Away(why) | Trouble::Arguments(why) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The node did not answer", &[&why]).seen_by(viewer)
            }
        }
    }

    /// What the interface refuses, for somebody who is not signed in.
    pub(super) fn stranger(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(problem) => Self::problem(None, &problem),
            Trouble::Away(why) | Trouble::Arguments(why) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The node did not answer", &[&why])
            }
        }
    }

    /// A problem of the interface, in its words.
    pub(super) fn problem(viewer: Option<&Viewer>, problem: &Value) -> Self {
        let status =
            problem["status"].as_u64().and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
        let title = match problem["code"].as_str() {
            Some("forbidden") => "That token may not",
            Some("not_found") => "Not here",
            Some("already_decided") => "Somebody was faster",
            Some("already_final" | "request_withdrawn") => "It is over",
            _ => "That cannot be done",
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut lines = vec![capital(&text(&problem["detail"]))];
        let errors = problem["errors"].as_array().into_iter().flatten();
        lines.extend(errors.map(|error| format!("{}: {}", text(&error["pointer"]), text(&error["detail"]))));
        lines.extend(problem["remedy"].as_str().map(str::to_owned));
        Self {
            lines,
            code: text(&problem["code"]),
            viewer: viewer.cloned().map(Box::new),
            ..Self::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), title, &[])
        }
    }

    pub(super) fn seen_by(self, viewer: &Viewer) -> Self {
        Self { viewer: Some(Box::new(viewer.clone())), ..self }
    }

    /// The same as something that the next page says.
    pub(super) fn notice(self) -> Notice {
        let mut lines = vec![format!("{}.", self.title)];
        lines.extend(self.lines);
        Notice { is_bad: true, lines }
    }

    /// The same, of this: whether it was changed, first.
    pub(super) fn about(self, what: &str) -> Notice {
        let stands = if self.is_unsure() { "it is unknown whether this was done; look" } else { "nothing was changed" };
        let Notice { is_bad, mut lines } = self.notice();
        lines.insert(0, format!("{what}: {stands}."));
        Notice { is_bad, lines }
    }

    /// Whether the node failed, and does not know itself how far it came.
    pub(super) fn is_unsure(&self) -> bool {
        self.status.is_server_error()
    }

    /// Whether what was asked for came too late, or was of nothing that is there: the page that asked for it is old.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::GONE)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        if let Some((path, is_part)) = self.sign_in {
            if !is_part {
                return Redirect::to(&path).into_response();
            }
            // A part of a page: the whole page goes to where one signs in.
            let mut response = self.status.into_response();
            if let Ok(path) = HeaderValue::from_str("/signin") {
                response.headers_mut().insert("hx-redirect", path);
            }
            return response;
        }
        let main = html! {
            h1 { (plain(&self.title)) }
            @for line in &self.lines { p { (plain(line)) } }
            @if !self.code.is_empty() { p class="dim" { "Code " code { (plain(&self.code)) } } }
            p { a href="/" { "To the night" } }
        };
        let seen = self.viewer.as_deref().map(|viewer| (viewer, "", ""));
        let mut response = (self.status, Html(frame(&self.title, seen, &main).into_string())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_that_failed_in_the_node_is_not_told_as_undone() {
        for (status, code, expected) in [
            (409, "already_decided", "m r1: nothing was changed."),
            (422, "invalid", "m r1: nothing was changed."),
            (500, "internal", "m r1: it is unknown whether this was done; look."),
            (503, "journal_failed", "m r1: it is unknown whether this was done; look."),
        ] {
            let notice =
                Refused::problem(None, &json!({"status": status, "code": code, "detail": "why"})).about("m r1");
            assert_eq!((notice.is_bad, notice.lines[0].as_str()), (true, expected), "{code}");
        }
    }
}
