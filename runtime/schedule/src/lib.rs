//! Recurring missions: when a schedule fires, and what becomes of each fire.
//!
//! Everything here is a total function of (schedule, position, now). There is no clock, no file, no thread and no chance: time is an
//! argument, calendars are texts that the caller has read, jitter is a digest. It is the only crate that names `cron`, iCalendar
//! and zone data.
//!
//! 1. [`Schedule::parse`] reads what an operator wrote, or says everything that is wrong with it. [`Schedule::check`] adds what
//!    can only be said at a time: that it never fires again.
//! 2. [`Schedule::next`] is the recurrence: fires strictly increase, in UTC, whatever the zone's clock does.
//! 3. A [`Position`] is how far a schedule has come. [`decide`](decide()) answers what is due with [`Action`]s; nothing has happened yet: the
//!    shell records them, applies them with [`Position::apply`], and only then acts. It asks again until there is nothing more.
//! 4. [`Hours`] are those of a lane or a node; [`meet`] says what they leave of a fire's [`FireWindow`], and which of them limits it.
//!
//! What holds, whatever clocks and crashes do: **each due fire is exactly once fired, skipped with a reason, or recorded as
//! missed**. Never both, never neither. `tests/exactly_once.rs` tries.
//!
//! | file | the rule that it owns |
//! | --- | --- |
//! | `expression`, `field` | what an expression of crontab means, by wall clock |
//! | `zone` | what a zone's clock does to it |
//! | `recurrence` | all times of a schedule together, less the excluded ones |
//! | `exclusion`, `ical` | which days and ranges are excluded |
//! | `policy` | overlap, catch-up, gaps and folds: the names and what they say |
//! | `schedule`, `parse`, `fields` | what a schedule is, and what can be wrong with one |
//! | `schema` | the same as JSON Schema, for who writes one |
//! | `position`, `decide` | how far it has come; what happens to what is due |
//! | `manual` | what people do to it: trigger, backfill, pause, change |
//! | `hours`, `window` | when a lane or a node is open; what is left of a fire's window |
//! | `carry` | in which window work goes on that is carried over |
//! | `envelope` | what its missions are: the template, filled in |
//! | `night` | which time is the night of a date |
//! | `preview` | the times to come, for people |
//! | `outlook` | what the next fire would meet, for people |

mod carry;
mod code;
mod decide;
mod envelope;
mod exclusion;
mod expression;
mod field;
mod fields;
mod hours;
mod ical;
mod manual;
mod night;
mod outlook;
mod parse;
mod policy;
mod position;
mod preview;
mod recurrence;
mod schedule;
mod schema;
mod window;
mod zone;

pub use carry::next_window;
pub use code::*;
pub use decide::{CONSIDERED_MAX, LATE, decide, wakes_at};
pub use envelope::{NAMES, Previous};
pub use exclusion::Calendars;
pub use expression::{Expression, ExpressionError};
pub use hours::Hours;
pub use manual::{
    BACKFILL_MAX, BackfillError, TriggerError, backfill, ended, is_closed, pause, refused, resume, revise, settle,
    trigger,
};
pub use night::{night, night_of};
pub use outlook::{Outlook, outlook};
pub use parse::Form;
pub use policy::{CatchUpPolicy, OnFold, OnGap, Overlap, Place, RUNNING_MAX};
pub use position::{
    Action, BACKFILLS_MAX, BUFFER_MAX, Backfill, ByHand, MissReason, Order, Origin, Pauses, Position, SkipReason, Span,
    Waiting,
};
pub use preview::{Note, Upcoming, upcoming};
pub use recurrence::{HORIZON, Hit};
pub use schedule::{Fire, Schedule};
pub use schema::{partial_schedule_schema, schedule_schema};
pub use window::{FireWindow, Limiter, Met, Opening, meet, opening};
pub use zone::{Zone, ZoneError, zone_data};
