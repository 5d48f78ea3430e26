//! The whole record of a mission, for whoever goes over it on this node with nothing done.

use std::sync::Arc;

use sortie_contract::MissionNo;
use sortie_contract::record::Stamped;

use super::fork::Nobody;
use super::rehearsal::Audience;
use super::views::PIECE_BYTES;
use super::{Engine, ReadError};

impl Engine {
    /// All records of a mission; nothing, where they are more than so many bytes. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn whole_record(&self, no: MissionNo, bytes_max: usize) -> Result<Option<Vec<Stamped>>, ReadError> {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0_usize, 0);
        loop {
            let piece = self.log.read(no, next, PIECE_BYTES)?;
            if piece.is_empty() {
                return Ok(Some(records));
            }
            for stamped in piece {
                next = stamped.next_no(next);
                bytes = bytes.saturating_add(stamped.encode().len());
                records.push(stamped);
            }
            if bytes > bytes_max {
                return Ok(None);
            }
        }
    }

    /// An audience that looks on and does nothing: artifacts are those that the mission has on this node.
    #[must_use]
    pub fn nobody(self: &Arc<Self>, no: MissionNo) -> Arc<dyn Audience> {
        Arc::new(Nobody { engine: Arc::clone(self), no })
    }
}
