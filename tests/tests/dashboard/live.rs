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
