//! The other side of the protocol: a server, over whatever a [`Desk`] can do.
//!
//! Both eras are spoken: the one of the handshake (to 2025-11-25), whose sessions are kept here, bounded, and the one without
//! (2026-07-28), in which a question to a person is an answer that asks to be called again. A desk notices nothing of it: it says what
//! its tools are, carries calls out, and asks through a [`Talk`].
//!
//! Over HTTP that is a [`Mount`], over standard input and output [`over`]. Who may ask is decided before: a [`Mount`] is handed requests
//! of callers that are known.

mod desk;
mod handler;
mod mount;
mod pipes;
mod sessions;
mod talk;
mod wrong;

pub use desk::{
    About, Answer, Body, Content, Contents, Desk, Fault, Hints, Outcome, Question, Said, Stage, Task, Template, Tool,
};
pub use mount::Mount;
pub use pipes::{ServeError, over};
pub use talk::{Reply, Talk};
