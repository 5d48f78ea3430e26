//! A stand-in for a control plane, as small as one can be that trusts nobody.
//!
//! It dispatches missions to the nodes of a fleet ([`Fleet`]), receives what they report ([`Receiver`]), and holds each event against
//! what the contract promises of it and of those before it ([`Ledger`]). It knows nodes by their HTTP interface and nothing else: no
//! crate of the runtime is in here, so that nothing is true merely because both sides believe the same.

mod deliver;
mod fleet;
mod ledger;
mod night;
mod receive;
mod violation;

pub use deliver::{Delivery, is_final};
pub use fleet::{Dispatched, Fleet, Unanswered};
pub use ledger::{Account, Ledger, Order, Taken};
pub use night::{Morning, Night, until_closed};
pub use receive::{Receiver, Weather};
pub use violation::Violation;
