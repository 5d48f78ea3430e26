//! What is wrong with an envelope, found by several who do not know of each other: what of it is told, and what it leaves open.
//!
//! Owned here: the list of mistakes while an envelope is looked at, and its bound. Never here: what a mistake is.

use alloc::vec::Vec;

use sortie_contract::limit;
use sortie_contract::mistake::Mistake;

/// Where mistakes leave open which plugin is meant.
const CHOOSES_PLUGIN: [&str; 3] = ["/vp_id", "/mission_type", "/plugin"];

/// Where mistakes leave open what a plugin would be told.
const TOLD_TO_PLUGIN: [&str; 4] = ["/objective", "/inputs", "/success_criteria", "/artifact_policy"];

/// Mistakes, each told once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) Vec<Mistake>);

impl Wrong {
    /// Adds what one of them found, but for what was found already: at the same place, or within it.
    pub(super) fn add(&mut self, found: impl IntoIterator<Item = Mistake>) {
        let known = self.0.len();
        for mistake in found {
            if self.0.len() >= limit::MISTAKES_MAX {
                return;
            }
            let place = mistake.pointer.as_str();
            if !self.0[..known].iter().any(|known| known.pointer.is_within(place)) {
                self.0.push(mistake);
            }
        }
    }

    /// Whether it is open which plugin is meant.
    pub(super) fn leaves_plugin_open(&self) -> bool {
        self.is_within(&CHOOSES_PLUGIN)
    }

    /// Whether it is open what a plugin would be told.
    pub(super) fn leaves_brief_open(&self) -> bool {
        self.is_within(&TOLD_TO_PLUGIN)
    }

    fn is_within(&self, places: &[&str]) -> bool {
        self.0.iter().any(|mistake| places.iter().any(|place| mistake.pointer.is_within(place)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use sortie_contract::mistake::Pointer;

    use super::*;

    fn found(places: &[&str]) -> Vec<Mistake> {
        places.iter().map(|place| Mistake::new(Pointer::raw(*place), "code", "detail")).collect()
    }

    #[test]
    fn what_follows_from_a_mistake_is_not_told_again() {
        for (known, further, expected) in [
            (&["/callback/status_url"][..], &["/callback"][..], &["/callback/status_url"][..]),
            (&["/autonomy_window/end_at"], &["/autonomy_window/end_at"], &["/autonomy_window/end_at"]),
            (&["/inputs/steps/0"], &["/inputs/steps/0/with"], &["/inputs/steps/0", "/inputs/steps/0/with"]),
            (&["/vp_id"], &["/vp_runtime_id", "/vp_runtime_id"], &["/vp_id", "/vp_runtime_id", "/vp_runtime_id"]),
            (&["/budget/max_minutes"], &[""], &["/budget/max_minutes"]),
        ] {
            let mut wrong = Wrong(found(known));
            wrong.add(found(further));
            assert_eq!(wrong.0, found(expected), "{known:?} {further:?}");
        }
        let mut wrong = Wrong::default();
        wrong.add(found(&["/a"; 2 * limit::MISTAKES_MAX]));
        assert_eq!(wrong.0.len(), limit::MISTAKES_MAX);
    }

    #[test]
    fn what_a_mistake_leaves_open() {
        for (place, plugin, brief) in [
            ("/vp_id", true, false),
            ("/plugin", true, false),
            ("/mission_type", true, false),
            ("/inputs/steps/3", false, true),
            ("/artifact_policy", false, true),
            ("/vp_runtime_id", false, false),
            ("/plugins", false, false),
        ] {
            let wrong = Wrong(found(&[place]));
            assert_eq!((wrong.leaves_plugin_open(), wrong.leaves_brief_open()), (plugin, brief), "{place}");
        }
    }
}
