//! The dashboard, from outside: pages of a real node over HTTP, read as a browser without scripts reads them.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod browser;
mod forms;
mod live;
mod markup;
mod pages;
mod signin;
mod strangers;
