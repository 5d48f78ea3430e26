//! Delivery of events: order, backoff, signing, and which secret goes where.
//!
//! The crate delivers; what is delivered, and where a mission's cursor stands, is told by an [`Outbox`]. How the parts
//! are used, in order:
//!
//! 1. [`Courier::new`] from the configuration, an outbox and a clock.
//! 2. [`Courier::reaches`] and [`Courier::may_send`] for each envelope at intake: what cannot be delivered should not be accepted.
//! 3. [`Courier::run`] in a task of its own; [`Courier::wake`] whenever a mission has something new to send.
//! 4. [`Courier::stop`]: attempts in flight get a moment, and the rest goes on after the next start.
//!
//! What it promises: deliveries of one mission arrive in their order, at least once, and the next is not tried before the
//! one before has been taken. A receiver that is slow or dead delays the missions that report to it and no others. Secrets
//! are resolved for each attempt, go to the hosts that the configuration lists for them and to no other, and are never
//! stored or printed. It never reads a wall clock, never persists anything, never follows a redirect. The network is reached through a
//! [`Transport`]: [`Http`] over `sortie-egress`, or whatever a simulation puts in its place.

mod backoff;
mod board;
mod config;
mod courier;
mod outbox;
mod secret;
mod send;

pub use config::{CallbackConfig, ConfigError, SecretConfig};
pub use courier::{Counters, Courier, Failed};
pub use outbox::{Delivery, Method, Outbox, OutboxError};
pub use send::{Http, Reply, Transport};
pub use sortie_egress::{Refused, Request, SecretError, SendError, StatusCode, read_small};
