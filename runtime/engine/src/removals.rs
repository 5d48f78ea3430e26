//! Who removes, and who needs that nothing is removed for a while: a backup, which reads files one after the other that belong to one
//! moment.
//!
//! Owned here: that no removal is under way where somebody holds them up, and that none begins. Never here: what is removed.

use std::sync::Arc;

use parking_lot::Mutex;

/// Removals of a node.
#[derive(Debug, Clone, Default)]
pub struct Removals {
    /// How many hold them up. Locked for as long as one is under way.
    holders: Arc<Mutex<usize>>,
}

/// Nothing is removed for as long as this is held.
#[derive(Debug)]
pub struct Hold {
    holders: Arc<Mutex<usize>>,
}

impl Removals {
    /// Holds them up. When this returns none is under way. Blocks for the one that is.
    #[must_use]
    pub fn hold(&self) -> Hold {
        *self.holders.lock() += 1;
        Hold { holders: Arc::clone(&self.holders) }
    }

    /// Removes something, unless they are held up: whoever wanted to comes again.
    pub fn unless_held<T>(&self, remove: impl FnOnce() -> T) -> Option<T> {
        let holders = self.holders.lock();
        (*holders == 0).then(remove)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.holders.lock() -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_while_anybody_holds_removals_up() {
        let removals = Removals::default();
        assert_eq!(removals.unless_held(|| 1), Some(1));
        let (first, second) = (removals.hold(), removals.hold());
        drop(first);
        assert_eq!(removals.clone().unless_held(|| 1), None);
        drop(second);
        assert_eq!(removals.unless_held(|| 1), Some(1));
    }
}
