//! The stream that tells pages to look again.

use std::time::Duration;

use futures_util::StreamExt as _;
use sortie_tests::envelope::writing;
use sortie_tests::{Node, PATIENCE};

use crate::browser::Browser;

#[tokio::test]
async fn a_page_is_told_of_changes_and_not_of_what_changed() {
    let node = Node::start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let response = browser.request("GET", "/live").send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().expect("a value"))
    );
    let mut frames = response.bytes_stream();
    node.run(&writing("secret-name")).await;
    let frame =
        tokio::time::timeout(PATIENCE, frames.next()).await.expect("in time").expect("a frame").expect("readable");
    assert_eq!(&frame[..], b"event: change\ndata: \n\n");
    // Whoever signs out hears nothing more.
    browser.send("/signout", &[]).await.expect_status(303);
    node.run(&writing("another")).await;
    let end = tokio::time::timeout(PATIENCE + Duration::from_secs(20), frames.next()).await.expect("in time");
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn a_browser_keeps_connections_for_its_pages() {
    let node = Node::start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/").await;
    let close = page.select("[sse-connect='/live']").attr("sse-close").expect("what it does not come back after");
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(browser.request("GET", "/live").send().await.expect("an answer").bytes_stream());
    }
    // The oldest of three is told to stop, and does.
    let mut said = Vec::new();
    while let Some(frame) = tokio::time::timeout(PATIENCE, streams[0].next()).await.expect("in time") {
        said.extend_from_slice(&frame.expect("readable"));
    }
    assert_eq!(String::from_utf8_lossy(&said), format!("event: {close}\ndata: \n\n"));
    node.run(&writing("one")).await;
    for stream in &mut streams[1..] {
        let frame = tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time").expect("a frame");
        assert_eq!(&frame.expect("readable")[..], b"event: change\ndata: \n\n");
    }
}
