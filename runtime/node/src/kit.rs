//! The test kit: a plugin in a situation that a file describes, in the real sandbox and the real core, where time is skipped.
//!
//! Nothing of the driver is rebuilt here. What is around it is: a clock that goes as far as the next thing that is due once everybody
//! waits, a journal on a disk in memory, tools, models and people that say what the case says. So a day's sleep takes no time, a crash
//! is possible after each call, and each call can be made to fail.
//!
//! | file | what |
//! | --- | --- |
//! | `case` | what a case can say, and the envelope that comes of it |
//! | `clock` | time, tasks, and who waits |
//! | `bench` | the sandbox and the host, watched |
//! | `stage` | tools: those that are real, and those that are scripted |
//! | `prompter` | models |
//! | `children` | what missions come to that the plugin dispatches |
//! | `people` | who answers what the mission asks |
//! | `life` | one life of a node, to its end or to a crash |
//! | `seen` | what a run came to, and how it differs from what was expected |
//! | `trial` | a case in all its runs |
//! | `recorded` | a case of a mission that is on record |
//! | `untold` | what the file of a case says as JSON |

mod bench;
mod case;
mod children;
mod clock;
mod life;
mod people;
mod prompter;
pub(crate) mod recorded;
mod seen;
mod stage;
mod trial;
mod untold;

pub(crate) use case::{Case, schema as case_schema};
pub(crate) use trial::{Trial, Trials, UntilWhen, options, run};
