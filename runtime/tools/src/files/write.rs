//! `Write`: the whole content of a file.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::digest::Digest;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, Written};

use super::WRITES;
use crate::config::ToolConfig;
use crate::tool::{CallContext, Tool, answer, arguments, blocking, info};
use crate::workspace::normal;

/// The tool.
pub(crate) struct Write(ToolInfo);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the workspace. Folders on the way are made.
    path: String,
    /// All that the file is to contain.
    content: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    path: String,
    bytes: usize,
}

impl Write {
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let description = "Writes a text file of the workspace, replacing what was there. The file has the old \
            content or the new one, never a part.";
        Self(info::<Arguments>("Write", description, &WRITES, config))
    }
}

#[async_trait]
impl Tool for Write {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let Arguments { path, content } = arguments(given)?;
        let place = normal(&path)?;
        let (workspace, target) = (context.workspace.clone(), place.clone());
        let bytes = content.len();
        let sha256 = blocking(move |cancelled| {
            let _turn = workspace.editing();
            workspace.write_file(&target, content.as_bytes(), || cancelled.check())?;
            Ok(Digest::of(content.as_bytes()))
        })
        .await?;
        let path = place.to_string();
        let wrote = vec![Written { path: path.clone(), sha256: Some(sha256), changed: None }];
        Ok(ToolAnswer { wrote, ..answer(&Answer { path, bytes })? })
    }
}
