//! What a running plugin stores, and reads back.

use std::sync::Arc;

use futures_util::future::{FutureExt as _, ready};
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::Crash;
use sortie_contract::record::HostQuestion;
use sortie_mission::Command;
use sortie_mission::replay::{Asked, Recorded};
use sortie_sandbox::{BoxFuture, Stop};

use super::{RunHost, stop, unquoted};
use crate::children::NotRead;
use crate::keep::{NotKept, Source};
use crate::live::Wait;
use crate::rehearsal::no_artifact_of;

type Read = BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>>;

impl RunHost {
    pub(super) fn store(
        &self,
        name: String,
        media_type: String,
        source: Source,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let asked = Asked::Put { name: &name, media_type: &media_type, contents: source.contents() };
        let about = asked.about();
        match self.recorded(asked) {
            Err(stop) => return ready(Err(stop)).boxed(),
            Ok(Some(Recorded::Stored(artifact))) => return ready(Ok(Ok(artifact))).boxed(),
            Ok(Some(Recorded::Answer { answer, .. })) => return ready(Ok(Err(unquoted(&answer)))).boxed(),
            Ok(_) => {}
        }
        let this = self.this.upgrade().expect("a host that is called is there");
        async move {
            let (live, run) = (&this.live, this.run);
            let recorded = source.recorded();
            let kept = match source {
                Source::Memory { bytes, .. } => this.engine.keep(live, name, media_type, || Ok(bytes)).boxed(),
                Source::File { path } => {
                    let bytes = this.engine.file_of(live, &this.context.workspace, &path);
                    this.engine.keep(live, name, media_type, bytes).boxed()
                }
            };
            let artifact = match kept.await {
                Ok(artifact) => artifact,
                Err(NotKept::Over) => return Err(Stop::Over),
                Err(NotKept::Why(why)) => {
                    let answer = serde_json::Value::from(why.as_str()).to_string();
                    this.answered(HostQuestion::ArtifactPut, &about, &answer)?;
                    return Ok(Err(why));
                }
            };
            let command = || Command::StoreArtifact { run, artifact: artifact.clone(), source: recorded.clone() };
            this.engine.command_patiently(live, command, Wait::No).await.map_err(stop)?;
            Ok(Ok(artifact))
        }
        .boxed()
    }

    /// Reads an artifact of the mission back.
    pub(super) fn read(&self, name: String) -> Read {
        let asked = Asked::Get { name: &name };
        let sha256 = match self.recorded(asked) {
            Err(stop) => return ready(Err(stop)).boxed(),
            Ok(Some(Recorded::Answer { answer, .. })) => unquoted(&answer).parse().ok(),
            Ok(_) => {
                let sha256 = self.live.with(|mission| {
                    let artifact = mission.artifacts().iter().find(|artifact| artifact.name.as_str() == name);
                    artifact.map(|artifact| artifact.sha256)
                });
                if let Err(stop) = self.answered(HostQuestion::ArtifactGet, &asked.about(), &found(sha256)) {
                    return ready(Err(stop)).boxed();
                }
                sha256
            }
        };
        let (engine, live, run) = (Arc::clone(&self.engine), Arc::clone(&self.live), self.run);
        async move {
            let its = engine.artifacts_of_live(&live);
            match sha256 {
                Some(sha256) => engine.read_kept(&live, run, its, &name, sha256).await.map(Ok),
                None => Ok(Err(format!("this mission has no artifact `{name}`"))),
            }
        }
        .boxed()
    }

    /// Reads an artifact of a mission that this one has dispatched.
    pub(super) async fn read_of(&self, mission: String, name: String) -> Result<Result<Vec<u8>, String>, Stop> {
        let asked = Asked::GetOf { mission: &mission, name: &name };
        let recorded = match self.recorded(asked)? {
            Some(Recorded::Answer { answer, .. }) => Some(unquoted(&answer).parse().ok()),
            _ => None,
        };
        let wanted = if recorded.is_some() { None } else { Some(name.as_str()) };
        let left = match recorded {
            // Nothing was there, and nothing need be looked for.
            Some(None) => Ok(None),
            _ => self.engine.left_by_child(&self.live, self.run, &mission, wanted).await,
        };
        let left = match left {
            Ok(left) => left,
            Err(NotRead::Over) => return Err(Stop::Over),
            // It is on record that it was there.
            Err(NotRead::Unreadable(error)) if recorded.is_some() => {
                return Err(Stop::Crash(Crash::Unrunnable(format!(
                    "the artifact `{name}` of `{mission}` cannot be read: {error}"
                ))));
            }
            // What has been lost of a mission is not there, for its parent as for a replay.
            Err(NotRead::Unreadable(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(no = %self.live.no, mission, name, error, "what a child left cannot be read: its parent is told that it is not there");
                None
            }
        };
        let sha256 = match recorded {
            Some(recorded) => recorded,
            None => {
                let sha256 = left.as_ref().and_then(|left| left.sha256);
                self.answered(HostQuestion::ArtifactGet, &asked.about(), &found(sha256))?;
                sha256
            }
        };
        match (sha256, left) {
            (None, _) => Ok(Err(no_artifact_of(&mission, &name))),
            (Some(sha256), Some(left)) => {
                self.engine.read_kept(&self.live, self.run, left.artifacts, &name, sha256).await.map(Ok)
            }
            (Some(_), None) => Err(Stop::Crash(Crash::Unrunnable(format!(
                "the artifact `{name}` of `{mission}` cannot be read: that mission was removed"
            )))),
        }
    }
}

/// What is on record of looking for an artifact: its digest, as JSON.
fn found(sha256: Option<Digest>) -> String {
    sha256.map_or_else(|| "null".to_owned(), |sha256| format!("\"{sha256}\""))
}
