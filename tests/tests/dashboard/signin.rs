//! Signing in and out: what a cookie is, what it opens, and what it does not.

use serde_json::json;
use sortie_tests::{Node, http};

use crate::browser::{Browser, READER, options, text};

#[tokio::test]
async fn a_cookie_is_a_key_and_never_the_token() {
    let node = Node::start().await;
    let stranger = Browser::stranger(&node);
    let answer = stranger.post("/signin", &[("token", node.token()), ("next", "/inbox?a=b")]).await.expect_status(303);
    assert_eq!(answer.header("location"), "/inbox?a=b");
    let cookie = answer.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.split("; ").any(|found| found == attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(node.token()), "{cookie}");
    assert!(!answer.text.contains(node.token()));
    let form = stranger.form("/signin", &[("token", node.token())]).header("x-forwarded-proto", "https");
    let secure = http::send(form).await.expect("an answer").expect_status(303);
    let set = secure.header("set-cookie");
    assert!(set.starts_with("__Host-sortie_") && set.ends_with("; Secure"), "{secure:#?}");
    let cookie_of_tls = set.split(';').next().expect("a cookie").to_owned();
    Browser { cookie: cookie_of_tls, ..Browser::stranger(&node) }.get("/").await.expect_status(200);
    let again = stranger.post("/signin", &[("token", node.token())]).await.expect_status(303);
    assert_ne!(again.header("set-cookie"), cookie, "each session has a key of its own");
    let page = Browser::signed_in(&node, node.token()).await.get("/").await;
    assert!(!page.text.contains(node.token()), "no page shows it");
}

#[tokio::test]
async fn who_is_not_signed_in_is_shown_nothing() {
    let node = Node::start().await;
    let stranger = Browser::stranger(&node);
    for path in [
        "/",
        "/inbox",
        "/missions",
        "/missions/x",
        "/missions/x/files/a",
        "/missions/x/download/a",
        "/schedules",
        "/sessions",
        "/deliveries",
        "/plugins",
        "/tools",
        "/models",
        "/node",
        "/live",
    ] {
        for cookie in ["", "sortie_0=x", "session=x"] {
            let browser = Browser { cookie: cookie.to_owned(), ..Browser::stranger(&node) };
            let answer = browser.get(path).await.expect_status(303);
            assert!(answer.header("location").starts_with("/signin?next=%2F"), "{path}: {answer:#?}");
        }
        // Tokens are for the interface: a page takes none, so that no link or script of others can bring one along.
        http::send(node.request("GET", path)).await.expect("an answer").expect_status(303);
    }
    for path in ["/inbox", "/missions/x/cancel", "/missions/x/requests/r1", "/signout"] {
        let answer = stranger.post(path, &[("decision", "approve")]).await.expect_status(303);
        let page = stranger.page(answer.header("location")).await;
        assert!(text(&page, "[role=alert]").contains("nothing was done"), "{path}: {}", text(&page, "main"));
    }
}

#[tokio::test]
async fn the_interface_knows_no_cookie() {
    let node = Node::start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    browser.get("/").await.expect_status(200);
    for (method, path) in [
        ("GET", "/v1/missions"),
        ("GET", "/v1/node"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/node/halt"),
        ("POST", "/v1/missions"),
        ("POST", "/mcp"),
    ] {
        let answer = http::send(browser.request(method, path)).await.expect("an answer");
        assert_eq!(answer.status, 401, "{method} {path}: {answer:#?}");
    }
    // Nor what the node says to itself within the process.
    let forged = browser.request("GET", "/v1/node").header("inside", "admin").header("x-inside", "admin");
    http::send(forged).await.expect("an answer").expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_wrong_token_opens_nothing_and_who_guesses_waits() {
    let node = options().start().await;
    let stranger = Browser::stranger(&node);
    for wrong in ["", " ", "guess", &node.token()[1..]] {
        let answer = stranger.post("/signin", &[("token", wrong)]).await.expect_status(401);
        assert_eq!(answer.header("set-cookie"), "", "{wrong:?}");
        assert!(answer.text.contains("no token of this node"), "{wrong:?}");
    }
    let mut guesses = 0;
    while stranger.post("/signin", &[("token", "guess")]).await.status == 401 {
        guesses += 1;
        assert!(guesses < 100, "somebody may guess for ever");
    }
    let wrong = stranger.post("/signin", &[("token", "guess")]).await.expect_status(429);
    assert!(wrong.text.contains("Wait a minute"), "{}", wrong.text);
    // Who has a token is not shut out by others who guess: behind a proxy all of them come from one address.
    let right = stranger.post("/signin", &[("token", READER)]).await.expect_status(303);
    assert!(right.header("set-cookie").contains("sortie_"), "{right:#?}");
}

#[tokio::test]
async fn a_stranger_sends_no_more_than_a_token_needs() {
    let node = options().start().await;
    let stranger = Browser::stranger(&node);
    for (bytes, status) in [(7 << 10, 401), (9 << 10, 413)] {
        let token = "x".repeat(bytes);
        stranger.post("/signin", &[("token", &token)]).await.expect_status(status);
    }
}

#[tokio::test]
async fn who_signs_out_is_out_and_others_are_not() {
    let node = options().start().await;
    let (here, there) = (Browser::signed_in(&node, READER).await, Browser::signed_in(&node, READER).await);
    let answer = here.send("/signout", &[]).await.expect_status(303);
    assert!(answer.header("set-cookie").contains("Max-Age=0"), "{answer:#?}");
    here.get("/").await.expect_status(303);
    there.get("/").await.expect_status(200);
}

#[tokio::test]
async fn signing_in_over_a_session_ends_it() {
    let node = options().start().await;
    let before = Browser::signed_in(&node, READER).await;
    let answer = before.post("/signin", &[("token", node.token())]).await.expect_status(303);
    before.get("/").await.expect_status(303);
    let name = |browser: &Browser| browser.cookie.split('=').next().map(str::to_owned);
    assert!(answer.header("set-cookie").starts_with(&name(&before).expect("a name")));
    // Two nodes that nobody named sign nobody out of each other, though a browser on one machine sends both what it keeps of either.
    let other = Node::start().await;
    assert_ne!(name(&Browser::signed_in(&other, other.token()).await), name(&before));
}

#[tokio::test]
async fn a_restart_signs_everybody_out() {
    let mut node = Node::start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    node.stop().await;
    node.restart().await;
    let again = Browser { cookie: browser.cookie, ..Browser::stranger(&node) };
    again.get("/").await.expect_status(303);
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]), "the token holds");
}
