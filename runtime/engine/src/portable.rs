//! Workspaces that go with their sessions, as the driver keeps and fetches them: before a record says what a call came to, what it left in the workspace
//! is where another node finds it. So whoever goes on with a mission has the files that its record speaks of.
//!
//! A call that broke off may have written or not, there as here: it is asked about, or made again, by what it is.

use std::sync::Arc;

use sortie_contract::id::RunNo;
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{SessionId, VpId};

use super::Engine;
use super::fleet::Unreachable;
use super::live::Live;
use super::order::Order;
use super::workspaces::{CarryError, Fetched};

/// Why a run has no workspace to work in.
pub(super) enum Unfetched {
    /// The run is over.
    Over,
    /// It cannot be had.
    Why(String),
}

impl Engine {
    /// Has the workspace of a run's session here, however long the store is away. What cannot be read is waited for, too, as before a run: it was well
    /// when the run was given its turn, or the store was away then.
    pub(super) async fn fetch_workspace(
        &self,
        live: &Live,
        run: RunNo,
        vp: &VpId,
        session: &SessionId,
    ) -> Result<(), Unfetched> {
        if !self.workspaces.is_portable() {
            return Ok(());
        }
        let mut round = 0;
        loop {
            let (workspaces, vp, session) = (Arc::clone(&self.workspaces), vp.clone(), session.clone());
            let fetched = self.ambient.unblock(move || workspaces.fetch_back(&vp, &session)).await;
            let error = match fetched {
                // Where there is none though there was one, the mission was held back until somebody let it go on.
                Ok(Ok(Fetched::Here | Fetched::Nothing)) => {
                    self.waits_no_more(live.no);
                    return Ok(());
                }
                Ok(Err(CarryError::Broken(why))) => return Err(Unfetched::Why(why)),
                Ok(Err(CarryError::Damaged(why))) => {
                    self.waits_for_workspace(live, Unreachable::Damaged(why.clone()));
                    CarryError::Damaged(why)
                }
                Ok(Err(error)) => error,
                Err(gone) => return Err(Unfetched::Why(gone.to_string())),
            };
            if !self.wait_for_store(live, Some(run), &mut round, &error).await {
                self.waits_no_more(live.no);
                return Err(Unfetched::Over);
            }
        }
    }

    /// Keeps what a call left in the workspace, however long the store is away, and says what the call came to: nothing, where the run is over by then,
    /// or another node has the session.
    pub(super) async fn keep_what_is_left(
        &self,
        live: &Live,
        run: RunNo,
        order: &Order,
        outcome: Result<ToolAnswer, CallError>,
    ) -> Option<Result<ToolAnswer, CallError>> {
        if !self.workspaces.is_portable() || !order.may_write() {
            return Some(outcome);
        }
        let (vp, session) = live.with(|mission| (mission.envelope().vp_id.clone(), mission.session().clone()));
        let mut round = 0;
        loop {
            let (workspaces, vp, session) = (Arc::clone(&self.workspaces), vp.clone(), session.clone());
            let error = match self.ambient.unblock(move || workspaces.keep(&vp, &session)).await {
                Ok(Ok(())) => return Some(outcome),
                Ok(Err(CarryError::TakenOver)) => {
                    tracing::error!(no = %live.no, "another node has the session of a mission that runs here: its run ends");
                    return None;
                }
                Ok(Err(CarryError::Broken(why) | CarryError::Damaged(why))) => {
                    let why = format!("what it left in the workspace cannot be kept: {why}");
                    return Some(Err(CallError::Failed(why)));
                }
                Ok(Err(error @ CarryError::Away(_))) => error,
                Err(_) => return None,
            };
            if !self.wait_for_store(live, Some(run), &mut round, &error).await {
                return None;
            }
        }
    }

    /// Keeps what lies in a workspace at the end of a run, whoever put it there: what calls left is kept already, so that this may fail.
    pub(super) async fn settle_workspace(&self, vp: &VpId, session: &SessionId) {
        if !self.workspaces.is_portable() {
            return;
        }
        let (workspaces, vp, session) = (Arc::clone(&self.workspaces), vp.clone(), session.clone());
        let place = workspaces.place(&vp, &session);
        if let Ok(Err(error)) = self.ambient.unblock(move || workspaces.settle(&vp, &session)).await {
            tracing::debug!(place = %place.display(), %error, "a workspace is not kept at the end of a run");
        }
    }
}
