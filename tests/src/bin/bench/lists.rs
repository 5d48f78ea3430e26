//! A page of each list: a list costs its page, however long it is.

use std::time::Instant;

use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, Receiver};

use crate::client::{Load, ms_since, waiting};
use crate::report::{Report, Unit, middle};
use crate::sizes::Sizes;

/// How often each page is asked for, in turns.
const PAGES: usize = 30;

/// Milliseconds for a page of a list of the first node, and of the second, in turns.
pub(crate) async fn pages(small: &Node, large: &Node, path: &str) -> (f64, f64) {
    let mut took = (Vec::new(), Vec::new());
    for _ in 0..PAGES {
        for (list, node) in [(&mut took.0, small), (&mut took.1, large)] {
            let begun = Instant::now();
            let page = node.get(path).await.expect_status(200);
            list.push(ms_since(begun));
            assert!(page.json["items"].is_array(), "{path}: {}", page.text);
        }
    }
    (middle(took.0), middle(took.1))
}

/// Every list but that of requests, which `blocked` measures: of queued missions, each in a session of its own, whose first event
/// waits for a receiver that is dead.
pub(crate) async fn lists(sizes: &Sizes, report: &Report) {
    let receiver = Receiver::closed();
    let body = with(waiting(), "/callback", receiver.callback()).to_string();
    let node = async |missions: u64| {
        let options = Options::new().config(&receiver.config()).env("RUST_LOG", "error").env("CALLBACK_TOKEN", "hush");
        let node = options.start().await;
        Load::count(body.clone(), missions).run(&node, 64).await;
        node
    };
    let (small, large) = (node(sizes.listed_small).await, node(sizes.listed).await);
    for path in [
        "/v1/missions?limit=50",
        "/v1/missions?status=queued&limit=50",
        "/v1/missions?status=blocked&limit=50",
        "/v1/sessions?limit=50",
        "/v1/deliveries?state=pending&limit=50",
        "/v1/events?limit=50",
        "/v1/requests",
    ] {
        let (few, many) = pages(&small, &large, path).await;
        report.beside(&format!("{path} of {}", sizes.listed), many, Unit::Ms, few);
    }
}
