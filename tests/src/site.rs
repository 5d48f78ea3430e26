//! The pages of `examples/research`, as a server gives them.

use std::fs;

use crate::{Received, Reply, project};

/// Where the example says that its pages are: replaced by where they are in a test.
pub const ADDRESS: &str = "127.0.0.1:9080";

/// The page that is asked for, or that there is none.
#[must_use]
pub fn page(got: &Received) -> Reply {
    let name = got.path.trim_start_matches('/');
    let text = fs::read_to_string(project().join("examples/research/pages").join(name));
    match text.ok().filter(|_| !name.contains("..")) {
        Some(text) => Reply::Body(200, "text/html; charset=utf-8", text),
        None => Reply::Status(404),
    }
}
