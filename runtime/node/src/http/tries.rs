//! A dispatch on its way to another node that cannot be reached: it goes to the next that can do it as well.
//!
//! Owned here: what whoever asks is told then, and when it is asked anew whose a dispatch is: only where it certainly was not taken, because
//! there was no connection, or what answered is not the node that was meant. That it is made once does not hang on this: whoever takes it
//! claims its name, its key and its VP in the store first, and is told where somebody else was faster. Never here: which node is chosen (the
//! core, which is told who could not be reached).

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use sortie_engine::Engine;
use sortie_engine::fleet::Member;
use sortie_journal::ShareNo;

use super::App;
use super::error::Problem;
use super::forward::{self, Asked};

/// Most nodes that are tried for one dispatch: with each it may wait for a connection.
const NODES_MAX: usize = 3;

/// A request that was sent on and not answered.
#[derive(Debug)]
pub(super) struct Unsent {
    /// What whoever asks is told.
    pub(super) problem: Problem,
    /// Whether it certainly came to nothing: nobody who is meant has seen it.
    pub(super) is_untaken: bool,
}

impl Unsent {
    /// One that certainly came to nothing.
    pub(super) fn untaken(problem: Problem) -> Self {
        Self { problem, is_untaken: true }
    }
}

impl From<Problem> for Unsent {
    fn from(problem: Problem) -> Self {
        Self { problem, is_untaken: false }
    }
}

impl From<Unsent> for Problem {
    fn from(unsent: Unsent) -> Self {
        unsent.problem
    }
}

/// Who has it cannot be reached.
pub(super) fn unreachable(member: &Member, why: &str) -> Problem {
    let detail = format!("the node `{}` has this and cannot be reached from here: {why}", member.name);
    Problem::unavailable("holder_unreachable", &detail).with("node", member.name.as_str().into())
}

/// Who has it is gone, and nobody goes on with it yet.
pub(super) fn away(engine: &Engine, member: &Member) -> Problem {
    let detail = format!(
        "the node `{}` has this and is away; another one goes on with what it had once its lease has run out",
        member.name
    );
    let left = member.lease_left.max(engine.lease() / 3);
    let seconds = u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "holder_away", detail)
        .with("node", member.name.as_str().into())
        .retry_after(seconds)
}

/// The nodes that were tried for one dispatch in vain, and why.
#[derive(Default)]
pub(super) struct Tries(Vec<(ShareNo, Problem)>);

impl Tries {
    /// Sends it on to the node that has it, or was chosen. `None`: it was not taken there, and whose it is may be asked anew. That answer comes
    /// [`NODES_MAX`] times at most.
    pub(super) async fn send(
        &mut self,
        app: &App,
        asked: &Asked,
        member: &Member,
        sent: Bytes,
    ) -> Option<Result<Response, Problem>> {
        if let Some((_, problem)) = self.0.iter().find(|(share, _)| *share == member.share) {
            // It is that one's, or nobody else can do it.
            return Some(Err(problem.clone()));
        }
        match forward::try_send(app, asked, member, sent).await {
            // What was sent on to this node is not placed here.
            Err(unsent) if unsent.is_untaken && !asked.is_forwarded() && self.0.len() < NODES_MAX => {
                self.0.push((member.share, unsent.problem));
                None
            }
            sent => Some(sent.map_err(Problem::from)),
        }
    }
}
