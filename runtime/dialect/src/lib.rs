//! The older dialects of the control plane that the contract was written for: what it dispatches over HTTP and over Redis streams becomes
//! envelopes, how missions end becomes its results, and it hears heartbeats and finds receipts.
//!
//! Two halves. The one is pure: [`Dialect`] turns an old [dispatch](Dialect::dispatch) or a [job](Dialect::job) into an envelope of the
//! contract, each field of it taken, warned of, or refused with its place; [`result_of`] turns a final event into a result, [`Receipt`] the
//! end of a mission into files. The other half speaks: [`Bridge`] with Redis, [`Heartbeat`] with the headquarters, [`Access`] with whoever
//! asks over HTTP. Nothing of either is on unless the configuration has it.
//!
//! Nothing here decides about a mission. An envelope that was translated is dispatched like any other (a node does, through [`Desk`]), and
//! what is told of its end is an event like any other. What must not be lost is the journal's: a message is acknowledged once its mission is
//! on record, and a result is a delivery of the mission, with its place, its repetition and its order ([`job_of`] says of which).

mod access;
mod bridge;
mod config;
mod desk;
mod dispatch;
mod envelope;
mod heartbeat;
mod job;
mod kept;
mod link;
mod message;
mod name;
mod old;
mod reading;
mod receipt;
mod result;

pub use access::{Access, Caller, Denied};
pub use bridge::{Bridge, Counters, Standing, Untold};
pub use config::{ConfigError, DialectConfig, HeartbeatConfig, HttpConfig, ReceiptsConfig, RedisConfig, TypeConfig};
pub use desk::{Desk, Untaken};
pub use envelope::{Dialect, Made, Translated};
pub use heartbeat::{Heartbeat, Vitals};
pub use kept::kept;
pub use name::{is_bridge, job_of, mission_of_dispatch, mission_of_job, result_url};
pub use receipt::Receipt;
pub use result::result_of;
