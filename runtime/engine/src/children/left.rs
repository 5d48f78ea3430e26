//! What children left, for the missions that may read it.
//!
//! A run that asks for it is not to be blamed for what cannot be read: what is of the moment is waited for, what cannot be read by itself is
//! tried as often as the end of a child is, and then it is said that there is none. Whose records may be looked at is said by the first of them.

use std::sync::Arc;

use sortie_contract::digest::Digest;
use sortie_contract::envelope::{ChildOf, Envelope};
use sortie_contract::id::RunNo;
use sortie_contract::{MissionId, MissionNo};
use sortie_journal::Head;
use sortie_mission::Mission;

use super::{LATER, NotNow, TRIES_MAX};
use crate::live::Live;
use crate::shared_store::ArtifactsOf;
use crate::{Engine, ReadError};

/// What a child left under a name; nothing but where its artifacts are, where that is none of them or was not asked for.
pub(crate) struct Left {
    /// Those of the child.
    pub(crate) artifacts: ArtifactsOf,
    /// What the artifact holds.
    pub(crate) sha256: Option<Digest>,
}

/// Why nobody knows what a child left.
pub(crate) enum NotRead {
    /// The run is over, or its node stops.
    Over,
    /// What is on disk of the child cannot be read.
    Unreadable(ReadError),
}

impl Engine {
    /// What a child of a mission left under a name, if one is asked for; nothing, where there is no such child, or it has not ended.
    pub(crate) async fn left_by_child(
        self: &Arc<Self>,
        parent: &Live,
        run: RunNo,
        id: &str,
        name: Option<&str>,
    ) -> Result<Option<Left>, NotRead> {
        let Ok(id) = MissionId::new(id) else { return Ok(None) };
        let mut tries = 0;
        loop {
            let error = match self.look_for_left(parent, &id, name).await {
                Ok(left) => return Ok(left),
                // It was removed in this moment.
                Err(ReadError::Unknown) => return Ok(None),
                Err(ReadError::Task(_)) => return Err(NotRead::Over),
                Err(error) => error,
            };
            match NotNow::from(error) {
                NotNow::Unreadable(error) if tries >= TRIES_MAX => return Err(NotRead::Unreadable(error)),
                NotNow::Unreadable(_) => tries += 1,
                NotNow::Busy => {}
            }
            self.ambient.sleep(LATER).await;
            if self.is_stopping() || parent.with(Mission::run) != Some(run) {
                return Err(NotRead::Over);
            }
        }
    }

    async fn look_for_left(
        self: &Arc<Self>,
        parent: &Live,
        id: &MissionId,
        name: Option<&str>,
    ) -> Result<Option<Left>, ReadError> {
        let (engine, id, own) = (Arc::clone(self), id.clone(), parent.no);
        let accepted = self.ambient.unblock(move || {
            let own = engine.log.head(own).inspect_err(|error| engine.cannot_read_row(error))?;
            Ok::<_, ReadError>((engine.accepted_of(&id)?, own.map(|own| own.accepted_at)))
        });
        let (Some((no, head, envelope)), since) = accepted.await.map_err(ReadError::Task)?? else { return Ok(None) };
        let is_older = since.is_some_and(|since| head.accepted_at <= since);
        let may_read = |of: &ChildOf| parent.with(|mission| mission.may_read_of(of, is_older));
        if !head.status.is_final() || !envelope.child_of.as_ref().is_some_and(may_read) {
            return Ok(None);
        }
        let artifacts = self.artifacts_of(no, &envelope);
        let Some(name) = name else { return Ok(Some(Left { artifacts, sha256: None })) };
        let (engine, name) = (Arc::clone(self), name.to_owned());
        let read = self.ambient.unblock(move || {
            let mission = engine.mission(no).inspect_err(|error| engine.cannot_read(no, error))?;
            let found = mission.artifacts().iter().find(|artifact| artifact.name.as_str() == name);
            Ok::<_, ReadError>(found.map(|artifact| artifact.sha256))
        });
        let sha256 = read.await.map_err(ReadError::Task)??;
        Ok(Some(Left { artifacts, sha256 }))
    }

    /// A mission by its name, how it stands, and what was dispatched, of which its first record is read. Blocks.
    fn accepted_of(&self, id: &MissionId) -> Result<Option<(MissionNo, Head, Envelope)>, ReadError> {
        let Some(twin) = self.log.find(id).inspect_err(|error| self.cannot_read_row(error))? else { return Ok(None) };
        let envelope = self.accepted_with(twin.no).inspect_err(|error| self.cannot_read(twin.no, error))?;
        Ok(Some((twin.no, twin.head, envelope)))
    }
}
