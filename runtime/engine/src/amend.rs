//! Approvals that change the arguments of a call: what the changed call is held against before the core decides about it.
//!
//! Owned here: which schema that is, and what the call would cost. Never here: whether the mission may make it, which the core says.

use std::sync::Arc;

use serde_json::Value;
use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::request::RequestNo;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_contract::{MissionNo, Spend, Stamped};
use sortie_mission::{Changed, Handle};
use sortie_tools::{Found, Toolbox};

use super::act::ActError;
use super::live::Live;
use super::{Engine, ReadError};

/// How much of a mission's records is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A call with other arguments, of a tool of the node.
pub(super) struct Amendment {
    tool: ToolName,
    toolbox: Arc<Toolbox>,
    away: Option<String>,
    quote: Spend,
}

impl Amendment {
    /// As the core is told of it.
    pub(super) fn changed(&self) -> Changed<'_> {
        let gone =
            || self.away.as_deref().map_or(Handle::Gone(&self.tool), |why| Handle::Away { tool: &self.tool, why });
        let tool = self.toolbox.info(self.tool.as_str()).map_or_else(gone, Handle::Tool);
        Changed { tool, quote: self.quote }
    }
}

impl Engine {
    /// The call that a request is about with these arguments; nothing, where the request is about none whose arguments can be changed.
    pub(super) async fn amendment(
        self: &Arc<Self>,
        live: &Live,
        request: RequestNo,
        arguments: &str,
    ) -> Result<Option<Amendment>, ActError> {
        let Some(tool) = live.with(|mission| mission.amendable(request).cloned()) else { return Ok(None) };
        let toolbox = self.toolbox();
        let name = tool.as_str();
        let away = match toolbox.find(name) {
            Found::Away(why) => Some(why),
            Found::Here(_) | Found::Nowhere => None,
        };
        let mut told = None;
        if toolbox.info(name).is_some() {
            // What the mission was told stands before the call in its records, and may not be on the disk yet.
            self.durable().await?;
            let (engine, no, wanted) = (Arc::clone(self), live.no, tool.clone());
            told =
                self.ambient.unblock(move || engine.told_on_record(no, &wanted)).await.map_err(ReadError::Task)??;
            toolbox.fits(name, arguments, told.as_ref()).map_err(|mistake| ActError::Arguments(vec![mistake]))?;
        }
        let quote = toolbox.quote(name, arguments, told.as_ref());
        Ok(Some(Amendment { tool, toolbox, away, quote }))
    }

    /// The schema of a tool as a mission was told it first; nothing, where it never asked. Blocks.
    fn told_on_record(&self, no: MissionNo, tool: &ToolName) -> Result<Option<Value>, ReadError> {
        let mut next = 0;
        loop {
            let records = self.log.read(no, next, PIECE_BYTES)?;
            if records.is_empty() {
                return Ok(None);
            }
            if let Some(told) = records.iter().find_map(|stamped| told_of(stamped, tool)) {
                return Ok(Some(told));
            }
            next = records.iter().fold(next, |no, stamped| stamped.next_no(no));
        }
    }
}

/// The schema in a record that says what the tool is. What says nothing of the arguments, of a tool that was not there, is none.
fn told_of(stamped: &Stamped, tool: &ToolName) -> Option<Value> {
    let Record::Answered { question: HostQuestion::Describe, answer, .. } = &stamped.record else { return None };
    let info: ToolInfo = serde_json::from_str(answer).ok()?;
    (info.name == *tool && info.input_schema != Value::Bool(true)).then_some(info.input_schema)
}
