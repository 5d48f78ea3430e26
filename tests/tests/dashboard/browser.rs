//! A browser without scripts: it keeps a cookie, follows no redirect by itself, and sends the forms that a page has.

use dom_query::Document;
use sortie_tests::{Answer, Node, Options, http};

/// Somebody who looks at the pages of a node.
pub(crate) struct Browser {
    pub(crate) url: String,
    /// The cookie as it is sent; empty where nobody is signed in.
    pub(crate) cookie: String,
    /// What it says as `Origin` of forms of the pages that it was shown.
    pub(crate) origin: String,
}

/// The `Origin` of a form of a page of `url` with that `Referrer-Policy`, as the standard of `fetch` has it: under some policies a browser
/// does not tell where a form comes from, to the page's own node neither.
fn origin(url: &str, policy: &str) -> String {
    let is_told = matches!(policy, "same-origin" | "strict-origin" | "origin" | "strict-origin-when-cross-origin" | "");
    if is_told { url.to_owned() } else { "null".to_owned() }
}

/// A token that may look, and nothing else; and one that may look and decide.
pub(crate) const READER: &str = "a-token-that-may-only-read";
pub(crate) const OPERATOR: &str = "a-token-that-may-also-decide";

/// A node with these tokens beside its own.
pub(crate) fn options() -> Options {
    let token = |name: &str, scopes: &str| {
        format!("[[token]]\nname = \"{name}\"\nref = \"env://{name}\"\nscopes = [{scopes}]\n")
    };
    let config = [token("READER", "\"read\""), token("OPERATOR", "\"read\", \"operate\"")].concat();
    Options::new().config(&config).env("READER", READER).env("OPERATOR", OPERATOR)
}

impl Browser {
    /// Somebody who is not signed in.
    pub(crate) fn stranger(node: &Node) -> Self {
        Self { url: node.url().to_owned(), cookie: String::new(), origin: node.url().to_owned() }
    }

    /// Somebody who signed in with this token.
    pub(crate) async fn signed_in(node: &Node, token: &str) -> Self {
        let mut browser = Self::stranger(node);
        let page = browser.get("/signin").await.expect_status(200);
        browser.origin = origin(&browser.url, page.header("referrer-policy"));
        let answer = browser.post("/signin", &[("token", token), ("next", "/")]).await.expect_status(303);
        assert_eq!(answer.header("location"), "/");
        browser.cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        browser
    }

    /// A request with what the browser keeps.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method's name");
        let request = http::client().request(method, format!("{}{path}", self.url));
        if self.cookie.is_empty() { request } else { request.header("cookie", &self.cookie) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::send(self.request("GET", path)).await.expect("an answer")
    }

    /// A page that must be there.
    pub(crate) async fn page(&self, path: &str) -> Document {
        let answer = self.get(path).await.expect_status(200);
        assert!(answer.header("content-type").starts_with("text/html"), "{path}: {answer:#?}");
        Document::from(answer.text)
    }

    /// What a form of this session brings along.
    pub(crate) async fn form_key(&self) -> String {
        let page = self.page("/schedules").await;
        page.select("form[action='/signout'] input[name=form_key]").attr("value").expect("each page has it").to_string()
    }

    /// Sends these fields and no others.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        http::send(self.form(path, fields)).await.expect("an answer")
    }

    /// A form of these fields, from a page of the node.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.bare_form(path, fields).header("origin", &self.origin).header("sec-fetch-site", "same-origin")
    }

    /// A form of these fields, which does not say where it comes from.
    pub(crate) fn bare_form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut url = reqwest::Url::parse("http://form/").expect("a URL");
        url.query_pairs_mut().extend_pairs(fields);
        let body = url.query().unwrap_or_default().to_owned();
        self.request("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Sends these fields, with what each form brings along.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let key = self.form_key().await;
        let mut fields = fields.to_vec();
        fields.push(("form_key", &key));
        self.post(path, &fields).await
    }
}

/// The text of a part of a page.
pub(crate) fn text(page: &Document, selector: &str) -> String {
    page.select(selector).text().to_string()
}
