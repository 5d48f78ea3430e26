//! Why a mission stands as it does: its records are told to the core, which says what led there.

use sortie_contract::MissionNo;
use sortie_mission::Story;

use super::shown::{CauseView, WhyView};
use super::views::PIECE_BYTES;
use super::{Engine, ReadError};

impl Engine {
    /// Why a mission stands as it does. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn why(&self, no: MissionNo) -> Result<WhyView, ReadError> {
        let (mut story, mut next) = (Story::default(), 0);
        loop {
            let records = self.log.read(no, next, PIECE_BYTES)?;
            if records.is_empty() {
                break;
            }
            for stamped in &records {
                story.hear(stamped);
                next = stamped.next_no(next);
            }
        }
        let mission = self.show(no)?;
        let mut causes: Vec<CauseView> = story.causes().into_iter().map(CauseView::from).collect();
        if let Some(from) = &mission.forked_from {
            causes.push(CauseView { record: 1, at: mission.accepted_at, says: from.says() });
        }
        Ok(WhyView {
            mission_id: mission.mission_id,
            status: mission.status,
            reason: mission.reason,
            waits_for: mission.waits_for,
            causes,
            pending_requests: mission.pending_requests,
            next_action: mission.next_action,
        })
    }
}
