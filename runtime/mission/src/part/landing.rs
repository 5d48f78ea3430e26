//! Landing: whether the plugin wants to be told when a limit comes near, whether it was, and whether it lands. Which limit comes near
//! when is said by [`crate::landing`].

use sortie_contract::id::CallNo;
use sortie_contract::record::Closing;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Landing {
    /// The share of each limit that is kept for landing, in thousandths, once its plugin asked for the signal.
    share: Option<u16>,
    /// Which limit came near first, once the signal was given.
    closing: Option<Closing>,
    /// The call by which the plugin said first that it lands.
    landed: Option<CallNo>,
}

/// Why a signal cannot have been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LandingMisfit {
    /// No plugin has asked for it.
    #[error("its plugin has not asked to be told when a limit comes near")]
    NotAsked,
    /// It was given.
    #[error("its plugin was told already that a limit comes near")]
    ToldBefore,
}

impl Landing {
    /// The plugin asks for the signal, and so much is kept, in thousandths. What it asked first holds.
    pub(crate) fn asked(&mut self, share: Option<u16>) {
        self.share = self.share.or(share);
    }

    /// The signal is given.
    ///
    /// # Errors
    /// [`LandingMisfit`]; nothing has changed then.
    pub(crate) fn close(&mut self, limit: Closing) -> Result<(), LandingMisfit> {
        if self.share.is_none() {
            return Err(LandingMisfit::NotAsked);
        }
        if self.closing.is_some() {
            return Err(LandingMisfit::ToldBefore);
        }
        self.closing = Some(limit);
        Ok(())
    }

    /// The plugin lands.
    pub(crate) fn land(&mut self, call: CallNo) {
        self.landed.get_or_insert(call);
    }

    /// The share that decides when the signal is given, where it was asked for and not given yet.
    pub(crate) fn expected(&self) -> Option<u16> {
        self.share.filter(|_| self.closing.is_none())
    }

    /// The share that is kept, where the plugin knows of it and does not land yet.
    pub(crate) fn kept(&self) -> Option<u16> {
        self.share.filter(|_| self.landed.is_none())
    }

    /// The share that its plugin was told.
    pub(crate) fn share(&self) -> Option<u16> {
        self.share
    }

    /// Which limit came near first.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// The call by which the plugin said first that it lands.
    pub(crate) fn landed(&self) -> Option<CallNo> {
        self.landed
    }
}
