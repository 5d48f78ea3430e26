//! The pure core of Sortie: what a mission is, what may happen to it next, and what it looks like from outside.
//!
//! A mission is a log. Its state is a fold over the records of its journal, and every change begins as a question:
//!
//! 1. [`admission`] says what becomes of a dispatched envelope: taken, taken before, or why not.
//! 2. [`Mission::begin`] folds the first record, [`Mission::apply`] each further one.
//! 3. [`Mission::decide`] answers a [`Command`] with the records that it leads to, or with a [`Refusal`]. Nothing has
//!    happened yet: the shell journals the records, applies them, and only then acts.
//! 4. [`Mission::event_of`] and [`Mission::outgoing_of`] say what a record looks like to the control plane.
//!
//! Beside it, [`queue::Queue`] says whose turn it is.
//!
//! All of it is total and synchronous. There is no clock, file, thread, random number or map of random order here; time is
//! an argument. `no_std` is how that is proved, not what it is for.
//!
//! | file | the rule that it owns |
//! | --- | --- |
//! | `admission` | what a node takes, under which session, on which plugin; and what it says to a second dispatch |
//! | `gate` | which calls a mission may make |
//! | `budget` | what it may still spend |
//! | `wider` | budgets of more than one mission: whose they are, when they are renewed, what they cover |
//! | `pool` | how much a node holds of what all nodes have together, asks for, and gives back |
//! | `payment` | whether a call is paid for, waits for that, or is asked about |
//! | `spend` | what each record moves in the books, and what follows where a call was dearer, or broke off |
//! | `child` | what a mission may give those that it dispatches |
//! | `landing` | when a limit comes near, and what is kept behind it |
//! | `hold` | until when a call is put off that its provider refuses for now |
//! | `model` | what of a model's call is compared, and what is on record |
//! | `window`, `cadence` | when it may run, when it reports |
//! | `part/`, `state`, `apply` | what is so: its parts, all of them, and the fold that makes them |
//! | `command`, `decide` | what may happen next |
//! | `decision` | what a decision comes to that somebody sends |
//! | `request` | when it must ask, and what follows from an answer |
//! | `question` | what a tool asks people while it makes a call, and when nobody waits for the answer any more |
//! | `quarantine` | what is told of one whose records cannot be read |
//! | `crashes` | when one is suspected to stop its node, and given up |
//! | `night` | what became of it in a night |
//! | `retention` | how long it is kept once it is over |
//! | `run_clock` | how long it has been running |
//! | `suspension` | when a run leaves memory |
//! | `timer` | when a timer is due that a plugin has set |
//! | `replay` | what a run is told that goes over recorded ground |
//! | `outputs`, `finish` | how it ends, and as what a file is kept |
//! | `view` | what others see of it |
//! | `why` | which records led to how it stands |
//! | `delivery` | where what it sends stands, after each attempt and each act of an operator |
//! | `queue` | whose turn it is |
//! | `placement` | which of several nodes gets it |

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
mod apply;
mod budget;
mod cadence;
pub mod child;
mod command;
mod crashes;
mod decide;
mod decision;
pub mod delivery;
mod finish;
pub mod fork;
pub mod gate;
mod hold;
mod kind;
mod landing;
mod model;
mod night;
mod outputs;
mod overview;
mod part;
mod payment;
pub mod placement;
pub mod pool;
mod quarantine;
mod question;
pub mod queue;
pub mod replay;
mod request;
mod retention;
mod run_clock;
mod spend;
mod state;
mod suspension;
mod timer;
mod unused;
mod view;
mod why;
pub mod wider;
mod window;

pub use admission::{Admission, Ceilings, Denial, NodeRules, admit};
pub use apply::{CallMisfit, Illegal, LandingMisfit, Misfit, ReportMisfit, RequestMisfit, RunMisfit, WindowMisfit};
pub use budget::{Booking, Limits};
pub use command::{Changed, Command, Conditions, Ending, Handle, Now, Refusal};
pub use crashes::{CRASHES_MAX, SUSPECTED_AFTER, is_suspect};
pub use decide::at_a_glance;
pub use decision::SentDecision;
pub use kind::{changes_asks, changes_standing};
pub use model::ModelCall;
pub use night::{Left, Night, Part};
pub use outputs::media_type;
pub use quarantine::Remains;
pub use retention::{Kept, KeptAs, Retention, RetentionRule, Retentions};
pub use run_clock::RunClock;
pub use state::{Criterion, Due, Mission, OpenRequest, Standing, Storable};
pub use suspension::{Idle, Leave};
pub use timer::Timer;
pub use unused::{Shelved, Stays, stays};
pub use view::{Outgoing, effective_budget, event_key, request_view, upload_url};
pub use why::{Cause, Story};
