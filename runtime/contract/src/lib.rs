//! The vocabulary of Sortie: what a mission envelope, an event, a journal record and a tool *are*.
//!
//! Every other crate speaks these types; none of them performs anything. The crate owns the wire formats (what a
//! control plane sends and receives, what the journal keeps) and their rules of form. It never decides a policy
//! (`sortie-mission` does), never reads a clock, never does I/O.
//!
//! Types are valid by construction: [`Envelope::parse`] is the only way to an [`Envelope`], and whoever holds one
//! need not check it again.

pub mod artifact;
pub mod cursor;
pub mod digest;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod hidden;
pub mod host;
pub mod id;
pub mod limit;
pub mod mistake;
pub mod money;
pub mod nearly;
pub mod outcome;
pub mod overview;
pub mod plugin;
pub mod record;
pub mod request;
pub mod time;
pub mod tool;
pub mod trace;
pub mod unfold;

pub use envelope::{Envelope, Parsed};
pub use event::Event;
pub use id::{InstanceId, LaneId, MissionId, MissionNo, SessionId, VpId};
pub use jiff::Timestamp;
pub use mistake::{Mistake, Pointer};
pub use money::{MicroUsd, Spend};
pub use nearly::is_nearly;
pub use outcome::{Reason, Status};
pub use record::{Record, Stamped};
