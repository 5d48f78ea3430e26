//! Calls of models: a plugin's request becomes a call among its others, quoted before it is decided, and made like the call of a tool.
//!
//! Owned here: what is asked of the models, the tools that they are told of, and what becomes of a call that a provider refuses for
//! now. Never here: what a call costs, which the models say, and whether the budget covers it, which the core says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::RunNo;
use sortie_contract::plugin::ModelInfo;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{MissionNo, Spend, Timestamp, limit};
use sortie_mission::ModelCall;
use sortie_models::{Ask, Failed, artifacts_of, with_artifacts};
use sortie_tools::CallContext;

use super::Engine;
use super::live::Live;
use super::shared_store::ArtifactError;

/// What a plugin asks of a model.
pub(crate) struct ModelOrder {
    request: String,
    /// The tools that the model may ask for, as the mission was told of them.
    tools: Vec<ToolInfo>,
    /// The artifacts that it shows.
    shown: Vec<Shown>,
}

/// An artifact that a request shows, as it was when it was asked.
#[derive(Debug, Clone)]
struct Shown {
    name: String,
    sha256: Digest,
    /// How large it is, as often as it is shown.
    bytes: u64,
}

/// Most bytes of artifacts that one request shows: in base64 they are as many as a plugin could send itself.
const SHOWN_BYTES_MAX: u64 = limit::CALL_BYTES_MAX as u64 / 4 * 3;

/// A request with the bytes of what it shows; none, where it shows nothing and is made as it is. Else why it cannot be made.
pub(crate) type Filled = Result<Option<String>, CallError>;

/// Why a request cannot show an artifact.
enum Unshown {
    /// The store that has it is away.
    Away(ArtifactError),
    /// For good.
    Why(String),
}

/// What came of a call.
pub(crate) enum Came {
    /// Its result, and what it did cost, as far as is known.
    Done(Result<ToolAnswer, CallError>, Option<Spend>),
    /// Its provider refuses it for now and has done nothing for it: until when, if it says, and why.
    Refused { until: Option<Timestamp>, why: String },
}

impl ModelOrder {
    /// With what the mission was told of each tool, and the artifacts that it has.
    pub(crate) fn new(request: String, tools: Vec<ToolInfo>, live: &Live) -> Self {
        let named = artifacts_of(&request);
        let shown = if named.is_empty() { Vec::new() } else { live.with(|mission| shown(&named, mission.artifacts())) };
        Self { request, tools, shown }
    }

    /// The request with the bytes of what it shows, however long the store that has them is away; none, where the run is over by then.
    pub(crate) async fn filled(&self, engine: &Arc<Engine>, live: &Live, run: RunNo) -> Option<Filled> {
        if self.shown.is_empty() {
            return Some(Ok(None));
        }
        let bytes = self.shown.iter().map(|shown| shown.bytes).fold(0, u64::saturating_add);
        if bytes > SHOWN_BYTES_MAX {
            let why =
                format!("/messages: the artifacts that they show have {bytes} bytes, {SHOWN_BYTES_MAX} are allowed");
            return Some(Err(CallError::InvalidArguments(why)));
        }
        let mut round = 0;
        loop {
            let (asked, no, shown, request) = (Arc::clone(engine), live.no, self.shown.clone(), self.request.clone());
            let read = engine.ambient.unblock(move || with_shown(&asked, no, shown, &request)).await;
            let away = match read {
                Ok(Ok(request)) => return Some(Ok(Some(request))),
                Ok(Err(Unshown::Away(error))) => error,
                Ok(Err(Unshown::Why(why))) => return Some(Err(CallError::Failed(why))),
                Err(gone) => return Some(Err(CallError::Failed(gone.to_string()))),
            };
            if !engine.wait_for_store(live, Some(run), &mut round, &away).await {
                return None;
            }
        }
    }

    /// What of it is compared in a replay, and what of it is on record.
    pub(crate) fn texts(request: &str, tools: &[ToolName]) -> (String, String) {
        let call = ModelCall { request, tools };
        (call.whole(), call.on_record())
    }

    /// As the plugin wrote it.
    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    fn ask<'a>(
        &'a self,
        request: &'a str,
        mission_id: &'a str,
        idempotency_key: &'a str,
        traceparent: Option<&'a str>,
    ) -> Ask<'a> {
        Ask { request, tools: &self.tools, mission_id, idempotency_key, traceparent }
    }

    /// The most that it can cost; nothing, where it is not made at all: why, its plugin is told when it is to be made.
    pub(crate) fn quote(&self, engine: &Engine) -> Spend {
        // How large an image is says nothing of what it costs.
        let some = self.shown.iter().map(|shown| (shown.name.clone(), vec![0]));
        let request = match self.shown.as_slice() {
            [] => Cow::Borrowed(self.request.as_str()),
            _ => with_artifacts(&self.request, &some.collect()).into(),
        };
        engine.models.quote(&self.ask(&request, "", "", None)).unwrap_or(Spend::NOTHING)
    }

    /// Makes it. So much was set aside for it, and it is not made where it may cost more by now.
    pub(crate) async fn make(
        &self,
        engine: &Arc<Engine>,
        context: &CallContext,
        filled: Filled,
        set_aside: Spend,
    ) -> Came {
        let filled = match filled {
            Ok(filled) => filled,
            Err(error) => return Came::Done(Err(error), Some(Spend::NOTHING)),
        };
        let request = filled.as_deref().unwrap_or(&self.request);
        let traceparent = context.traceparent();
        let ask = self.ask(request, &context.mission_id, &context.idempotency_key, traceparent.as_deref());
        match engine.models.quote(&ask) {
            Err(error) => return Came::Done(Err(error), Some(Spend::NOTHING)),
            Ok(quote) if !quote.fits(set_aside) => {
                let why =
                    format!("it may cost {quote} by now, and {set_aside} were set aside for it: it is not made again");
                return Came::Done(Err(CallError::Failed(why)), Some(Spend::NOTHING));
            }
            Ok(_) => {}
        }
        match engine.models.complete(&ask).await {
            Ok(completed) => {
                engine.spending().answered(&completed.model, completed.spent);
                let answer = ToolAnswer { result: completed.answer, wrote: Vec::new() };
                Came::Done(Ok(answer), Some(completed.spent))
            }
            // One of which nobody knows whether it was paid for has been made, for all that is known.
            Err(Failed { hold: Some(hold), spent: Some(Spend::NOTHING), .. }) => {
                Came::Refused { until: hold.until, why: hold.why }
            }
            Err(Failed { error, spent, .. }) => Came::Done(Err(error), spent),
        }
    }
}

/// Those of the named artifacts that there are; the others are refused where the request is read.
fn shown(named: &[(String, usize)], artifacts: &[Artifact]) -> Vec<Shown> {
    let of = |(name, times): &(String, usize)| {
        let artifact = artifacts.iter().find(|artifact| artifact.name.as_str() == name)?;
        let bytes = artifact.bytes.saturating_mul(u64::try_from(*times).unwrap_or(u64::MAX));
        Some(Shown { name: name.clone(), sha256: artifact.sha256, bytes })
    };
    named.iter().filter_map(of).collect()
}

/// A request with the bytes of the artifacts that it shows. Blocks.
fn with_shown(engine: &Engine, no: MissionNo, shown: Vec<Shown>, request: &str) -> Result<String, Unshown> {
    let of_mission = engine.artifacts_of_no(no);
    let store = of_mission.map_err(|error| Unshown::Why(format!("the mission cannot be read: {error}")))?;
    let mut artifacts = BTreeMap::new();
    for Shown { name, sha256, .. } in shown {
        match store.get(&sha256) {
            Ok(bytes) => drop(artifacts.insert(name, bytes)),
            Err(error) if error.may_pass() => return Err(Unshown::Away(error)),
            Err(error) => return Err(Unshown::Why(format!("the artifact `{name}` cannot be read: {error}"))),
        }
    }
    Ok(with_artifacts(request, &artifacts))
}

impl Engine {
    /// The models, as plugins are told of them.
    pub(crate) fn models_told(&self) -> Vec<ModelInfo> {
        let told = |info: sortie_models::ModelInfo| ModelInfo {
            name: info.name,
            context_tokens: info.context_tokens.map(u64::from),
            takes_tools: info.takes_tools,
            takes_images: info.takes_images,
            takes_schemas: info.takes_schemas,
            is_default: info.is_default,
        };
        self.models.list().into_iter().map(told).collect()
    }
}
