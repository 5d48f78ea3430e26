//! Whose a dispatch is, before this node decides about it.
//!
//! All missions of a VP are with one node, whatever a dispatch names: their order, their workspace and their budgets hold because one
//! decides about them. So who has the VP comes first; where nobody has, the node that is named, or one of those that are meant.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::InstanceId;
use sortie_contract::envelope::Envelope;
use sortie_contract::plugin::PluginRef;
use sortie_journal::{Admitted, Decision, Keys, OwnedKeys, Owner, ShareNo};
use sortie_mission::NodeRules;
use sortie_mission::placement::{Candidate, Target, place};

use super::{Draining, Member};
use crate::intake::DispatchError;
use crate::{Engine, ReadError};

/// For how long a node that could not be reached gets nothing that another can do as well. It costs little to be wrong: few dispatches wait for
/// a connection in vain, and one that is back is soon asked again.
const UNREACHED: Duration = Duration::from_secs(10);

/// That a node could not be reached.
pub(super) struct Unreached {
    /// When, by the steady clock.
    at: Duration,
    /// Where it was looked for.
    url: Option<String>,
}

/// What a node was given that it has not told of yet: many that come at once are spread all the same.
pub(super) struct Placed {
    /// Since when this is counted, by the steady clock.
    since: Duration,
    missions: u64,
}

impl Engine {
    /// Sees that an envelope need not go to another node. Whoever asks knows that no mission of its name or key is here. Nothing is claimed:
    /// that is [`Engine::claim`]'s, once this node has nothing against the envelope.
    ///
    /// # Errors
    /// [`DispatchError::Elsewhere`] where it is another's, [`DispatchError::Draining`] where this node is being drained.
    pub(crate) async fn stays(self: &Arc<Self>, envelope: &Envelope, may_place: bool) -> Result<(), DispatchError> {
        if self.log.fleet().is_some()
            && may_place
            && !self.is_home(envelope)?
            && let Some(member) = self.placed(envelope)
        {
            return Err(DispatchError::Elsewhere(Box::new(member)));
        }
        // Where nobody takes over what is here, what runs goes on here with all that belongs to it.
        let goes_on_here = self.log.fleet().is_none() && envelope.parent().is_some();
        if self.draining() == Draining::No || goes_on_here {
            return Ok(());
        }
        self.unless_elsewhere(envelope).await?;
        Err(DispatchError::Draining)
    }

    /// Has an envelope that this node would take be its to decide about, and its VP be at home here.
    ///
    /// # Errors
    /// [`DispatchError::Elsewhere`] where it is another's.
    pub(crate) async fn claim(&self, envelope: &Envelope) -> Result<(), DispatchError> {
        let Some(fleet) = self.log.fleet() else { return Ok(()) };
        match fleet.claim(keys(envelope).into()).await? {
            Owner::Mine => Ok(()),
            Owner::Elsewhere(peer) => Err(DispatchError::Elsewhere(Box::new(Member::of(peer)))),
        }
    }

    /// Sees that an envelope that this node does not take is not another's, which may. Nothing is claimed: what is refused leaves nothing.
    ///
    /// # Errors
    /// [`DispatchError::Elsewhere`] where it is another's.
    pub(crate) async fn unless_elsewhere(self: &Arc<Self>, envelope: &Envelope) -> Result<(), DispatchError> {
        if self.log.fleet().is_none() {
            return Ok(());
        }
        let (engine, keys) = (Arc::clone(self), OwnedKeys::from(keys(envelope)));
        let look = move || engine.log.fleet().map_or(Ok(None), |fleet| fleet.other(&keys));
        match self.ambient.unblock(look).await.map_err(ReadError::Task)?.map_err(ReadError::from)? {
            Some(peer) => Err(DispatchError::Elsewhere(Box::new(Member::of(peer)))),
            None => Ok(()),
        }
    }

    /// Whether missions of its VP are here. Nobody waits here, but for the log's own lock.
    fn is_home(&self, envelope: &Envelope) -> Result<bool, DispatchError> {
        let mut is_home = false;
        let admitted = self.log.admit(keys(envelope), &mut |known| {
            is_home = known.newest_session.is_some();
            Decision::Answer
        });
        // One like it is on its way to the disk: here.
        Ok(is_home || matches!(admitted?, Admitted::OnItsWay(_)))
    }

    /// The other node that gets a mission of a VP that is not here; `None`: this one decides about it.
    fn placed(&self, envelope: &Envelope) -> Option<Member> {
        let members = self.members();
        let others = || members.iter().filter(|member| !member.is_me);
        others().next()?;
        let target = Target::of(&envelope.target_instance_id);
        if let Target::Named(name) = target {
            let named = others().find(|member| member.is_live() && !member.node.is_empty() && member.name == name);
            if name == self.settings.rules.instance_id.as_str() || named.is_some() {
                return named.filter(|_| name != self.settings.rules.instance_id.as_str()).cloned();
            }
            // It is not there: whoever has what it had.
            if self.fleet.stands_for.lock().contains(name) {
                return None;
            }
            let called = |member: &&Member| !member.node.is_empty() && member.is_called(name);
            return others().filter(called).max_by_key(|member| member.is_live()).cloned();
        }
        let parsed: Vec<BTreeMap<String, PluginRef>> =
            members.iter().map(|member| plugins_by(&member.card.plugins_by)).collect();
        let candidates: Vec<Candidate<'_>> = {
            let placed = self.fleet.placed.lock();
            let with = |member: &Member| placed.get(&member.share).map_or(0, |placed| placed.missions);
            let open = |member: &Member| match member.is_me {
                true => self.open_missions(),
                false => member.card.open.saturating_add(with(member)),
            };
            let both = members.iter().zip(&parsed);
            let candidates = both.map(|(member, plugins_by)| Candidate {
                is_unreached: self.is_unreached(member),
                ..candidate(member, plugins_by, open(member))
            });
            candidates.collect()
        };
        let index = place(envelope, &candidates)?;
        let member = Some(&members[index]).filter(|member| !member.is_me)?;
        let since = self.ambient.steady();
        self.fleet.placed.lock().entry(member.share).or_insert(Placed { since, missions: 0 }).missions += 1;
        Some(member.clone())
    }

    /// A node could not be reached: for some seconds it gets nothing that another can do as well.
    pub fn could_not_reach(&self, member: &Member) {
        let unreached = Unreached { at: self.ambient.steady(), url: member.card.url.clone() };
        self.fleet.unreached.lock().insert(member.share, unreached);
    }

    /// It can be reached.
    pub fn has_reached(&self, member: &Member) {
        self.fleet.unreached.lock().remove(&member.share);
    }

    /// Whether it could not be reached a moment ago, where it says that it is.
    fn is_unreached(&self, member: &Member) -> bool {
        let now = self.ambient.steady();
        self.fleet.unreached.lock().get(&member.share).is_some_and(|unreached| {
            !member.is_me && unreached.url == member.card.url && now.saturating_sub(unreached.at) < UNREACHED
        })
    }

    /// Whoever has said something new has counted what it was given; what was given long ago never came there.
    pub(super) fn forget_placed(&self, members: &[Member]) {
        self.fleet.unreached.lock().retain(|share, _| members.iter().any(|member| member.share == *share));
        let (before, now, lease) = (self.members(), self.ambient.steady(), self.lease());
        let open = |members: &[Member], share: ShareNo| {
            members.iter().find(|member| member.share == share).map(|member| member.card.open)
        };
        self.fleet.placed.lock().retain(|share, placed| {
            open(&before, *share) == open(members, *share) && now.saturating_sub(placed.since) < lease
        });
    }

    /// The rules by which this node takes an envelope: what is meant for its groups, for a node whose missions it has, or for another of
    /// its store while the VP is with this one, is meant for it.
    pub(crate) fn rules_for(&self, envelope: &Envelope) -> Cow<'_, NodeRules> {
        let rules = &self.settings.rules;
        let target = &envelope.target_instance_id;
        if *target == rules.instance_id || target.as_str() == "*" || !self.answers_for(target) {
            return Cow::Borrowed(rules);
        }
        Cow::Owned(NodeRules { instance_id: target.clone(), ..rules.clone() })
    }

    fn answers_for(&self, target: &InstanceId) -> bool {
        let target = Target::of(target);
        let own = self.fleet.own.get().map(|own| &own.card);
        if own.is_some_and(|card| target.means(self.settings.rules.instance_id.as_str(), &card.groups, &card.labels)) {
            return true;
        }
        if let Target::Named(name) = target
            && self.fleet.stands_for.lock().contains(name)
        {
            return true;
        }
        self.members().iter().any(|member| match target {
            Target::Named(name) => member.is_called(name),
            target => target.means(&member.name, &member.card.groups, &member.card.labels),
        })
    }
}

fn keys(envelope: &Envelope) -> Keys<'_> {
    Keys {
        mission_id: &envelope.mission_id,
        source: &envelope.source_instance_id,
        idempotency_key: &envelope.idempotency_key,
        vp: &envelope.vp_id,
    }
}

fn plugins_by(written: &BTreeMap<String, String>) -> BTreeMap<String, PluginRef> {
    written.iter().filter_map(|(by, plugin)| Some((by.clone(), plugin.parse().ok()?))).collect()
}

fn candidate<'a>(member: &'a Member, plugins_by: &'a BTreeMap<String, PluginRef>, open: u64) -> Candidate<'a> {
    let card = &member.card;
    Candidate {
        name: &member.name,
        node: &member.node,
        groups: &card.groups,
        labels: Some(&card.labels),
        plugins_by: Some(plugins_by),
        plugins: &card.plugins,
        tools: &card.tools,
        lanes: &card.lanes,
        open,
        max_running: card.max_running,
        // Nobody can send it anything where it does not say where it is.
        is_closed: !member.is_live() || card.is_draining || card.is_paused || (!member.is_me && card.url.is_none()),
        is_unreached: false,
    }
}
