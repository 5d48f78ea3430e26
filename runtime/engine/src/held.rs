//! Which plugins missions hold: those that run, those that wait, and those that are kept, whose record may be gone over again.
//!
//! It only looks. Whoever keeps plugins asks, and removes what is in nobody's hands.

use rustc_hash::FxHashSet;
use sortie_contract::MissionNo;
use sortie_contract::digest::Digest;

use super::{Engine, ReadError};

/// How many heads are read at once.
const CHUNK: usize = 1_024;

impl Engine {
    /// The plugins of all missions, by digest. A mission that is accepted while it looks has a plugin that is installed. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]: what cannot be read may hold anything.
    pub fn plugins_held(&self) -> Result<FxHashSet<Digest>, ReadError> {
        let mut held = FxHashSet::default();
        // Heads of older journals do not say.
        let mut silent: Vec<MissionNo> = Vec::new();
        let mut after = None;
        loop {
            let heads = self.log.heads_oldest_first(after, CHUNK)?;
            let Some(last) = heads.last().map(|(no, _)| *no) else { break };
            for (no, head) in heads {
                match head.overview {
                    Some(overview) => drop(held.insert(overview.plugin.digest)),
                    None => silent.push(no),
                }
            }
            after = Some(last);
        }
        for no in silent {
            match self.mission(no) {
                Ok(mission) => drop(held.insert(mission.plugin().digest)),
                // Removed meanwhile.
                Err(ReadError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }
}
