//! Which plugins missions hold: those that run, those that wait, and those that are kept, whose record may be gone over again.
//!
//! It only looks. Whoever keeps plugins asks, and removes what is in nobody's hands.

use rustc_hash::FxHashMap;
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, Status};

use super::shown::HeldView;
use super::{Engine, ReadError};

/// How many heads are read at once.
const CHUNK: usize = 1_024;

/// How many missions are named.
const NAMED_MAX: usize = 20;

impl Engine {
    /// The plugins of all missions, by digest, with who holds each. A mission that is accepted while it looks has a plugin that is
    /// installed. Goes through all missions; blocks.
    ///
    /// # Errors
    /// [`ReadError`]: what cannot be read may hold anything.
    pub fn plugins_held(&self) -> Result<FxHashMap<Digest, HeldView>, ReadError> {
        let mut held = FxHashMap::<Digest, HeldView>::default();
        // Heads of older journals do not say.
        let mut silent: Vec<(MissionNo, Status, String)> = Vec::new();
        let mut after = None;
        loop {
            let heads = self.log.heads_oldest_first(after, CHUNK)?;
            let Some(last) = heads.last().map(|(no, _)| *no) else { break };
            for (no, head) in heads {
                let (status, name) = (head.status, head.mission_id.as_str());
                match head.overview {
                    Some(overview) => held.entry(overview.plugin.digest).or_default().add(status, name),
                    None => silent.push((no, status, name.to_owned())),
                }
            }
            after = Some(last);
        }
        for (no, status, name) in silent {
            match self.mission(no) {
                Ok(mission) => held.entry(mission.plugin().digest).or_default().add(status, &name),
                // Removed meanwhile.
                Err(ReadError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }
}

impl HeldView {
    fn add(&mut self, status: Status, name: &str) {
        match status {
            Status::Running => self.running += 1,
            Status::Queued | Status::Blocked => self.waiting += 1,
            Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut => self.kept += 1,
        }
        if !status.is_final() && self.missions.len() < NAMED_MAX {
            self.missions.push(name.to_owned());
        }
    }

    /// How many of them are not over.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.running + self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_plugin_is_counted_and_the_unfinished_are_named() {
        let mut held = HeldView::default();
        for status in Status::ALL {
            held.add(status, status.as_str());
        }
        assert_eq!((held.running, held.waiting, held.kept, held.unfinished()), (1, 2, 4, 3));
        assert_eq!(held.missions, ["queued", "running", "blocked"]);
        for no in 0..100 {
            held.add(Status::Queued, &format!("m-{no}"));
        }
        assert_eq!((held.waiting, held.missions.len()), (102, NAMED_MAX));
    }
}
