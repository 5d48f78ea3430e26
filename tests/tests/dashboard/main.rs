//! The dashboard, from outside: pages of a real node over HTTP, read as a browser without scripts reads them.

mod browser;
mod forms;
mod live;
mod markup;
mod pages;
mod signin;
mod strangers;
