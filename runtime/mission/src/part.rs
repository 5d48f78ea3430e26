//! What a mission's state consists of: a part for each concept, in a file of its own.
//!
//! A part owns its fields and takes up its share of a record by a total `apply`: what cannot follow is refused with a reason of
//! the part's own type, and has changed nothing then. No part knows another: which record concerns which of them, and in which
//! order they are asked, is said once, in [`Mission::apply`](crate::Mission::apply).
//!
//! | file | what it owns |
//! | --- | --- |
//! | `runs` | where the mission stands, its runs, what they are handed |
//! | `windows` | the window that it is in, how often it was carried over, the hours of where it runs |
//! | `calls` | the numbers of host calls, the calls in flight |
//! | `books` | what calls have cost and may cost, and whether one cost more than it was said to |
//! | `landing` | whether its plugin wants to know when a limit comes near, was told, and lands |
//! | `requests` | what people are asked, and what they decided |
//! | `report` | milestones, log lines, verdicts |
//! | `artifacts` | what was stored, and what may be |
//! | `outgoing` | how many events there are |

pub(crate) mod artifacts;
pub(crate) mod books;
pub(crate) mod calls;
pub(crate) mod landing;
pub(crate) mod outgoing;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod windows;
