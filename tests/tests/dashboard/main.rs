//! The dashboard, from outside: pages of a real node over HTTP, read as a browser without scripts reads them.

mod actions;
mod artifacts;
mod browser;
mod dispatch;
mod forms;
mod lists;
mod live;
mod markup;
mod pages;
mod record;
mod schedules;
mod signin;
mod strangers;
