//! A real browser, driven as a person drives it: Debian's chromium through its own driver.
//!
//! Owns how it is started and ended, how it is made to look (width, dark, without scripts), and how one waits for what it shows: by asking
//! again, never by sleeping. What it and axe say of a page is here, too; which pages, and what must hold of them, is the tests'.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::http::{Request, Response};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use thirtyfour::error::{WebDriverError, WebDriverResult};
use thirtyfour::prelude::*;
use thirtyfour::session::http::{Body, HttpClient};

use crate::{Node, until};

/// How to get what is missing.
const HINT: &str = "`cargo xtask screenshots --setup` gets chromium, its driver and axe onto the machine";

/// What a page is looked at with.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The width of the window; what is narrower than a tablet is a phone.
    pub width: u32,
    /// Whether whoever looks has it dark.
    pub is_dark: bool,
}

/// As on a phone, and as at a desk.
pub const WIDTHS: [u32; 2] = [360, 1_400];

/// A browser with one window.
pub struct Chromium {
    // Dropped in this order: the session takes the browser along, and then its driver goes.
    driver: WebDriver,
    _process: Process,
}

impl Chromium {
    /// Starts it.
    ///
    /// # Panics
    /// If it is not installed, or does not come up.
    pub async fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver does not start: {error}; {HINT}"));
        let output = process.stdout.take().expect("it was piped");
        let process = Process(process);
        let mut output = BufReader::new(output).lines().map_while(Result::ok);
        let port = output.find_map(|line| {
            let port = line.split("started successfully on port ").nth(1)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.unwrap_or_else(|| panic!("chromedriver says no port; {HINT}"));
        // Whatever else it prints must find a reader.
        std::thread::spawn(move || output.for_each(drop));
        let connected = WebDriver::builder(format!("http://127.0.0.1:{port}"), capabilities()).client(Client::fresh());
        let driver =
            connected.connect().await.unwrap_or_else(|error| panic!("chromium does not start: {error}; {HINT}"));
        let browser = Self { driver, _process: process };
        // A payload that gets to run says so, wherever it goes on from there.
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": RAN})).await;
        browser
    }

    /// What drives it.
    #[must_use]
    pub fn driver(&self) -> &WebDriver {
        &self.driver
    }

    /// Makes it look so from now on.
    ///
    /// # Panics
    /// If it does not do so.
    pub async fn look(&self, look: Look) {
        let is_phone = look.width < 700;
        let height = if is_phone { 760 } else { 1_000 };
        let window = json!({"width": look.width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.devtools("Emulation.setDeviceMetricsOverride", window).await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Lets pages run scripts, or not.
    ///
    /// # Panics
    /// If it does not do so.
    pub async fn set_scripts(&self, are_on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !are_on})).await;
    }

    /// Goes to an address, and waits until the page is there.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn go(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Signs in at a node with a token, and stands on its first page.
    ///
    /// # Panics
    /// If that does not come.
    pub async fn sign_in(&self, node: &Node, token: &str) {
        self.go(&format!("{}/signin", node.url())).await;
        self.write("#token", token).await;
        self.click("form.signin button").await;
        self.until_there("header form.who").await;
    }

    /// Waits until there is an element, and gives it.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn until_there(&self, css: &str) -> WebElement {
        until(&format!("{css} on the page"), async || self.driver.find(By::Css(css)).await.ok()).await
    }

    /// Waits until a part of the page says so.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn until_says(&self, css: &str, words: &str) {
        until(&format!("{css} says {words:?}"), async || self.said(css).await.contains(words).then_some(())).await;
    }

    /// Waits until the page hears of changes: what happens from now on reaches it.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn until_listening(&self) {
        // htmx keeps it there; 1 is open.
        let script = "const part = document.querySelector('[sse-connect]'); \
            return part?.['htmx-internal-data']?.sseEventSource?.readyState === 1";
        until("the page listens", async || (self.js(script, &[]).await == true).then_some(())).await;
    }

    /// What a part of the page says; nothing where it is not there.
    pub async fn said(&self, css: &str) -> String {
        // A part may be fetched anew between two questions: both are one here.
        self.js("return document.querySelector(arguments[0])?.innerText ?? ''", &[json!(css)])
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Presses an element, once it is there.
    ///
    /// # Panics
    /// If it cannot be pressed.
    pub async fn click(&self, css: &str) {
        until(&format!("{css} is pressed"), async || self.driver.find(By::Css(css)).await.ok()?.click().await.ok())
            .await;
    }

    /// Writes into a field, in place of what was there.
    ///
    /// # Panics
    /// If nothing can be written there.
    pub async fn write(&self, css: &str, text: &str) {
        let field = self.until_there(css).await;
        field.clear().await.unwrap_or_else(|error| panic!("{css}: {error}"));
        field.send_keys(text).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Presses a key, wherever the focus is.
    ///
    /// # Panics
    /// If it cannot be pressed.
    pub async fn press(&self, key: &str) {
        self.driver.action_chain().send_keys(key).perform().await.expect("a key can be pressed");
    }

    /// What a script says that this test, and no page, runs.
    ///
    /// # Panics
    /// If it fails.
    pub async fn js(&self, script: &str, arguments: &[Value]) -> Value {
        let said = self.driver.execute(script, arguments.to_vec()).await;
        said.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// What the browser complained of since this was last asked: errors of scripts, files that are not there, what a policy forbids.
    ///
    /// # Panics
    /// If it does not say.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.expect("a log");
        log.into_iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect()
    }

    /// Whether anything ran on this page that wanted to say so: see [`crate::payloads`].
    pub async fn has_run(&self) -> bool {
        self.js("return window.hasRun === true", &[]).await == true
    }

    /// By how many pixels the page is wider than its window.
    ///
    /// # Panics
    /// If the page does not say.
    pub async fn overflow(&self) -> i64 {
        let script = "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        self.js(script, &[]).await.as_i64().expect("a number")
    }

    /// What axe finds on the page: the rule, the element, what is wrong with it.
    ///
    /// # Panics
    /// If axe is not installed, or does not end.
    pub async fn axe(&self) -> Vec<String> {
        let is_there = self.js("return typeof window.axe === 'object'", &[]).await == true;
        if !is_there {
            self.js(&axe_source(), &[]).await;
        }
        let script = "const done = arguments[0]; \
            axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations), wrong => done(String(wrong)));";
        let said = self.driver.execute_async(script, Vec::new()).await.expect("axe ends");
        let Some(violations) = said.json().as_array().cloned() else { panic!("axe failed: {}", said.json()) };
        let of_node = |rule: &Value, node: &Value| {
            format!("{}: {} {} {}", rule["id"], node["target"], node["html"], node["failureSummary"])
        };
        let nodes = |rule: &Value| -> Vec<String> {
            rule["nodes"].as_array().into_iter().flatten().map(|node| of_node(rule, node)).collect()
        };
        violations.iter().flat_map(nodes).collect()
    }

    /// What there is on the page as a picture, as far down as `height_max`.
    ///
    /// # Panics
    /// If there is none.
    pub async fn picture(&self, height_max: u32) -> Vec<u8> {
        let script =
            "return [document.documentElement.clientWidth, Math.ceil(document.body.getBoundingClientRect().height)]";
        let size = self.js(script, &[]).await;
        let side = |at: usize| size[at].as_u64().expect("a size");
        let clip =
            json!({"x": 0, "y": 0, "width": side(0), "height": side(1).clamp(400, u64::from(height_max)), "scale": 1});
        let options = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.devtools("Page.captureScreenshot", options).await;
        let text = taken["data"].as_str().expect("a picture");
        base64::prelude::BASE64_STANDARD.decode(text).expect("base64")
    }

    async fn devtools(&self, method: &str, parameters: Value) -> Value {
        let said = self.driver.cdp().send_raw(method, parameters).await;
        said.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

/// The driver, which ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("chromedriver was not ended: {error}");
        }
    }
}

/// What each page begins with: whoever runs and says so by a dialog leaves a mark instead, and stops nothing.
const RAN: &str =
    "for (const name of ['alert', 'confirm', 'prompt', 'print']) window[name] = () => { window.top.hasRun = true; };";

fn capabilities() -> Capabilities {
    let mut arguments = vec![
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        "--force-color-profile=srgb",
        "--hide-scrollbars",
    ];
    // Its own sandbox does not hold for whoever may do everything.
    if rustix::process::geteuid().is_root() {
        arguments.push("--no-sandbox");
    }
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
        // A dialog is left open: the next question fails.
        "unhandledPromptBehavior": "ignore",
    });
    let Value::Object(wanted) = wanted else { unreachable!("it was just made") };
    wanted.into()
}

/// The text of axe: where `SORTIE_BROWSER_TOOLS` says, or where `cargo xtask` installs it beside these tests.
fn axe_source() -> String {
    let own = std::env::current_exe().expect("a running program has a path");
    let beside = own.ancestors().map(|folder| folder.join("tools/browser"));
    let named = std::env::var_os("SORTIE_BROWSER_TOOLS").map(PathBuf::from);
    let mut files = named.into_iter().chain(beside).map(|folder| folder.join("node_modules/axe-core/axe.min.js"));
    let file = files.find(|file| file.is_file()).unwrap_or_else(|| panic!("axe is not installed: {HINT}"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A client as the driver's library wants one: its own has a feature that nothing else here needs.
struct Client(reqwest::Client);

impl Client {
    /// One of its own: a session may be ended where the runtime has gone in which it was begun.
    fn fresh() -> Self {
        Self(reqwest::Client::builder().no_proxy().build().expect("constant settings"))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let failed = |error: reqwest::Error| WebDriverError::RequestFailed(error.to_string());
        let (parts, body) = request.into_parts();
        let body = match body {
            Body::Empty => Vec::new(),
            Body::Json(value) => value.to_string().into_bytes(),
        };
        let sent = self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send();
        let sent = sent.await.map_err(failed)?;
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = sent.status();
        *answer.body_mut() = sent.bytes().await.map_err(failed)?;
        Ok(answer)
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self::fresh())
    }
}
