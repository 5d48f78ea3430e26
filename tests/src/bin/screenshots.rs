//! `cargo xtask screenshots`: the pictures of docs/DASHBOARD.md, of each page, on a phone and at a desk, of a night that a node has had.

#![expect(clippy::print_stdout, reason = "what was taken is its data")]

use std::fs;

use sortie_tests::chromium::WIDTHS;
use sortie_tests::showcase::{ASKS_TO_EDIT, CODED, OPERATOR, Showcase};
use sortie_tests::{Chromium, Look, project};

/// How far down a picture goes: what is below that is more of the same.
const HEIGHT_MAX: u32 = 1_600;
/// Bytes of all of them: they are in the repository.
const BYTES_MAX: usize = 1_500_000;

#[tokio::main]
async fn main() {
    let night = Showcase::play().await;
    if std::env::var_os("HOLD").is_some() {
        println!("HOLD {}", night.node.url());
        std::future::pending::<()>().await;
    }
    let (node, browser) = (&night.node, Chromium::start().await);
    let folder = project().join("docs/images");
    fs::create_dir_all(&folder).expect("a writable folder");
    let mut bytes = 0;
    let mut take = async |name: &str, path: &str, look: Look| {
        browser.look(look).await;
        browser.go(&format!("{}{path}", node.url())).await;
        let picture = browser.picture(HEIGHT_MAX).await;
        bytes += picture.len();
        let file = folder.join(format!("{name}-{}{}.png", look.width, if look.is_dark { "-dark" } else { "" }));
        println!("{} ({} bytes)", file.display(), picture.len());
        fs::write(file, picture).expect("a writable file");
    };
    for width in WIDTHS {
        take("signin", "/signin", Look { width, is_dark: false }).await;
    }
    browser.sign_in(node, OPERATOR).await;
    for (name, path) in pages() {
        for width in WIDTHS {
            take(name, &path, Look { width, is_dark: false }).await;
        }
        if name == "night" {
            for width in WIDTHS {
                take(name, &path, Look { width, is_dark: true }).await;
            }
        }
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes in all");
}

/// Each page, and what it is called.
fn pages() -> Vec<(&'static str, String)> {
    let of = |id: &str| format!("/missions/{id}");
    vec![
        ("night", "/".to_owned()),
        ("inbox", "/inbox".to_owned()),
        ("missions", "/missions".to_owned()),
        ("mission", of(CODED)),
        ("mission-asks", of(ASKS_TO_EDIT)),
        ("patch", format!("{}/files/changes.patch", of(CODED))),
        ("schedules", "/schedules".to_owned()),
        ("sessions", "/sessions".to_owned()),
        ("deliveries", "/deliveries".to_owned()),
        ("plugins", "/plugins".to_owned()),
        ("tools", "/tools".to_owned()),
        ("models", "/models".to_owned()),
        ("node", "/node".to_owned()),
    ]
}
