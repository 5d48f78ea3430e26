//! The dashboard before a real browser, as people have it: by mouse and by keyboard, on a phone and at a desk, in light and dark, with scripts
//! and without.
//!
//! `cargo xtask test` gets the browser onto the machine. Where there is none these tests fail, and say how to get it: a page that nobody has
//! looked at is not known to work.

mod barriers;
mod forks;
mod people;
mod plain;
mod strangers;

use sortie_tests::Options;

/// A token that may look and decide.
pub(crate) const OPERATOR: &str = "a-token-that-may-also-decide";

/// A node with that token beside its own.
pub(crate) fn options() -> Options {
    let config = "[[token]]\nname = \"ada\"\nref = \"env://ADA\"\nscopes = [\"read\", \"operate\", \"dispatch\"]\n";
    Options::new().config(config).env("ADA", OPERATOR)
}
