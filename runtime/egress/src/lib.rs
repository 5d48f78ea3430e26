//! The only way out to the network: host patterns, the guard against private addresses, secret references, and the
//! HTTP client, once for everybody who sends something.
//!
//! What is sent, to whom, and what an answer means is told by others (`sortie-tools`, `sortie-callback`); the crate
//! owns what must hold for all of them:
//!
//! - A host is what a [`HostPattern`] of the configuration names, whichever way it is written.
//! - An address is judged where it is used: the [`Client`] connects to nothing that its [`Guard`] did not see, however
//!   a name was resolved. It follows no redirect, asks no proxy and sends no cookie.
//! - The value of a [`Secret`] is read for each use, and has no way into a log line, an error or the journal. One that a request names
//!   ([`NamedSecrets`]) goes to the hosts that are listed for it, and a [`Redactor`] takes it out of what they answer.
//!
//! It never decides who may ask for what, never repeats a request, never reads a clock.

mod address;
mod client;
mod dial;
mod guard;
mod host;
mod later;
mod named;
mod redact;
mod secret;
pub mod webhook;

pub use address::{Network, NotANetwork};
pub use client::{Answer, Client, Limits, Request, SendError, SetupError};
pub use dial::{Authorities, Secured, dial, secure};
pub use guard::{Guard, Refused};
pub use host::{HostPattern, NotAHost, may_be_sent, may_carry_secrets};
pub use later::retry_after;
pub use named::{NamedSecretError, NamedSecrets, NotATemplate, Opened, Template, Withheld, usable};
pub use redact::{Redactor, Stream as RedactedStream};
pub use reqwest::{Method, StatusCode, header};
pub use secret::{Secret, SecretError, read_small, resolve};
