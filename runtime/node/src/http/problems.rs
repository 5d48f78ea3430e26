//! A page for each problem, at the address that its `type` names: what happened, why, and what to do.
//!
//! Made of the one list of codes and of what requests may come to; nothing is written here. Open to everybody, because who has no token has
//! problems, too. Browsers get a page, terminals a text (`Accept: text/markdown`), everything else JSON.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::limit;
use sortie_engine::shown::Page;

use super::codes::{self, CODES, Known};
use super::error::{PAGES, Problem};
use super::query::NoParameters;
use super::{Route, outcomes, reasons};

/// What a problem is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProblemPage", deny_unknown_fields)]
pub(super) struct About {
    /// The address of its page: what a problem has as its `type`.
    r#type: String,
    /// Its code: stable.
    code: &'static str,
    /// The HTTP statuses that it comes with.
    statuses: &'static [u16],
    /// When it is answered.
    when: String,
    /// Why it is answered then.
    why: &'static str,
    /// What to do about it.
    remedy: String,
    /// The requests that may come to it.
    requests: Vec<String>,
}

/// Each request, and the codes that it may come to: put together once, because everybody may ask for it.
static REQUESTS: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| {
    let routes = super::routes();
    let named = |route: &Route| format!("{} {}", route.method, route.path.replace("{*", "{"));
    routes.iter().map(|route| (named(route), outcomes::of(route).codes)).collect()
});

impl About {
    fn of(known: &Known) -> Self {
        let meet = REQUESTS.iter().filter(|(_, codes)| codes.contains(&known.code));
        Self {
            r#type: format!("{PAGES}/{}", known.code),
            code: known.code,
            statuses: known.statuses,
            when: without_links(known.when),
            why: reasons::why(known.code).unwrap_or_default(),
            remedy: without_links(known.remedy),
            requests: meet.map(|(request, _)| request.clone()).collect(),
        }
    }

    /// Its statuses, with their names.
    fn statuses(&self) -> String {
        let named = |status: &u16| {
            let name = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
            format!("{status} {}", name.unwrap_or_default())
        };
        self.statuses.iter().map(named).collect::<Vec<_>>().join(", ")
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "# `{}`\n\nStatus {}.\n\n## What happened\n\n{}\n\n## Why\n\n{}\n\n## What to do\n\n{}\n",
            self.code,
            self.statuses(),
            self.when,
            self.why,
            self.remedy
        );
        if !self.requests.is_empty() {
            text.push_str("\n## Which requests\n\n");
            self.requests.iter().for_each(|request| text.push_str(&format!("- `{request}`\n")));
        }
        text
    }

    fn html(&self) -> Markup {
        html! {
            h1 { code { (self.code) } }
            p { "Status " (self.statuses()) "." }
            h2 { "What happened" }
            p { (marked(&self.when)) }
            h2 { "Why" }
            p { (marked(self.why)) }
            h2 { "What to do" }
            p { (marked(&self.remedy)) }
            @if !self.requests.is_empty() {
                h2 { "Which requests" }
                ul { @for request in &self.requests { li { code { (request) } } } }
            }
            p { a href=(PAGES) { "All problems" } }
        }
    }
}

/// `GET /problems`
pub(super) async fn index(headers: HeaderMap, _: NoParameters) -> Response {
    match Wanted::of(&headers) {
        Wanted::Json => Json(Page::whole(CODES.iter().map(About::of))).into_response(),
        Wanted::Markdown => {
            let line = |known: &Known| format!("- `{}`: {}\n", known.code, without_links(known.when));
            markdown(format!("# Problems\n\n{}", CODES.iter().map(line).collect::<String>()))
        }
        Wanted::Html => crate::web::page_for_all(
            "Problems",
            &html! {
                h1 { "Problems" }
                p { "What this node answers when something cannot be done, by the " code { "code" } " of the answer." }
                ul {
                    @for known in CODES {
                        li {
                            a href=(format!("{PAGES}/{}", known.code)) { code { (known.code) } } " "
                            (marked(&without_links(known.when)))
                        }
                    }
                }
            },
        ),
    }
}

/// `GET /problems/{code}`
pub(super) async fn show(Path(code): Path<String>, headers: HeaderMap, _: NoParameters) -> Result<Response, Problem> {
    let named = limit::clip(&code, limit::QUOTE_BYTES_MAX);
    let known = codes::find(&code).ok_or_else(|| Problem::not_found(&format!("problem `{named}`")))?;
    let about = About::of(known);
    Ok(match Wanted::of(&headers) {
        Wanted::Json => Json(about).into_response(),
        Wanted::Markdown => markdown(about.markdown()),
        Wanted::Html => crate::web::page_for_all(about.code, &about.html()),
    })
}

fn markdown(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}

/// What a client would rather read.
#[derive(Debug, PartialEq)]
enum Wanted {
    Json,
    Html,
    Markdown,
}

impl Wanted {
    /// The first of what is named that there is: clients name what they like best first. What names nothing gets JSON, as everywhere here.
    fn of(headers: &HeaderMap) -> Self {
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = accepts.split(',').filter_map(|kind| match kind.split(';').next().unwrap_or_default().trim() {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "text/markdown" | "text/plain" => Some(Self::Markdown),
            "application/json" => Some(Self::Json),
            _ => None,
        });
        named.into_iter().next().unwrap_or(Self::Json)
    }
}

/// A text of the list without links into the documents, which a node does not serve: `[SECURITY](SECURITY.md#x)` is `SECURITY`.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let read = link.split_once("](").and_then(|(name, target)| Some((name, target.split_once(')')?.1)));
        plain.push_str(before);
        match read {
            Some((name, behind)) if !name.contains(['[', '`']) => {
                plain.push_str(name);
                rest = behind;
            }
            _ => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// A text of which the parts between backquotes are code.
fn marked(text: &str) -> Markup {
    html! {
        @for (no, part) in text.split('`').enumerate() {
            @if no % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_out_and_brackets_of_code_stay() {
        for (text, expected) in [
            ("see [SECURITY](SECURITY.md#which-calls).", "see SECURITY."),
            ("add `[model.NAME]` to it", "add `[model.NAME]` to it"),
            ("its `[[token]]` (or [A](b) and [C](d))", "its `[[token]]` (or A and C)"),
            ("`[retention]` and [SECURITY](S.md)", "`[retention]` and SECURITY"),
            ("an open [ bracket", "an open [ bracket"),
        ] {
            assert_eq!(without_links(text), expected);
        }
    }

    #[test]
    fn a_browser_gets_a_page_a_terminal_a_text_and_a_program_json() {
        for (accepts, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Wanted::Html),
            ("text/markdown", Wanted::Markdown),
            ("text/plain, */*", Wanted::Markdown),
            ("application/json, text/html", Wanted::Json),
            ("*/*", Wanted::Json),
            ("", Wanted::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accepts.parse().expect("a value"));
            assert_eq!(Wanted::of(&headers), expected, "{accepts}");
        }
    }

    #[test]
    fn a_page_says_all_that_the_list_says_and_nothing_of_it_is_markup() {
        for known in CODES {
            let about = About::of(known);
            assert!(!about.why.is_empty(), "{}", known.code);
            let (text, page) = (about.markdown(), about.html().into_string());
            let bare = |text: &str| text.replace(['`', '&', '<', '>', '"'], "");
            let plain = page.split(['<', '>']).enumerate().filter(|(no, _)| no % 2 == 0).map(|(_, text)| text);
            let plain = bare(
                &plain
                    .collect::<String>()
                    .replace("&quot;", "")
                    .replace("&amp;", "")
                    .replace("&lt;", "")
                    .replace("&gt;", ""),
            );
            for said in [&about.when, &about.remedy, &about.why.to_owned()] {
                assert!(text.contains(said.as_str()), "{text}");
                assert!(plain.contains(&bare(said)), "{said}: {plain}");
                assert_eq!(said.matches('`').count() % 2, 0, "{}: {said}", known.code);
                assert!(!said.contains("]("), "{}: {said}", known.code);
            }
        }
    }
}
