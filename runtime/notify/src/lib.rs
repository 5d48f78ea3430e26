//! What people are told while they are away: which of what happens is worth a message, grouped, by webhook or by mail; and links that
//! lead to one decision.
//!
//! What is owed to a channel is derived from the journal: a channel holds a place in the node's records (its [`Ledger`], a file of its own)
//! and what it has taken up since and not sent. Both are put down before anything is sent, and what was sent is struck off behind that: a
//! crash sends again and loses nothing. Each channel has its own place, task and backoff, so that one that hangs holds nobody back; what
//! waits behind one that is down becomes a count with the newest few.
//!
//! | file | what |
//! | --- | --- |
//! | `news` | what a record is worth: pure |
//! | `ledger` | what a channel owes and when: grouping, repetition, backoff: pure, time is an argument |
//! | `message` | what is told, before it has a form |
//! | `shape`, `mail` | its forms: Slack, ntfy, JSON, a template, a letter |
//! | `config` | `[[notify]]` |
//! | `channel` | one attempt, over HTTP or SMTP, through `sortie-egress` |
//! | `notifier` | the tasks: who reads, who sends |
//! | `store` | a ledger's file |
//! | `link` | signed links that end by themselves |
//!
//! Never here: what a night is, how a mission is read, what a link's page looks like: a node says so through [`Source`].

mod channel;
mod config;
mod ledger;
mod link;
mod mail;
mod message;
mod news;
mod notifier;
mod shape;
mod store;

pub use config::{ConfigError, Encryption, Form, MailConfig, NotifyConfig, examine};
pub use ledger::{Ledger, Rules};
pub use link::{Grant, Key, NotALink};
pub use message::{Line, Message, Section};
pub use news::{About, Item, Kind, News, Wanted, is_told, of_record};
pub use notifier::{Notifier, Setup, Source, SourceError, Step, TestError, View};
pub use store::last_of;
