//! The tools that a server says it has: asked for page by page, and read one by one, so that one that is nonsense spoils no other.

use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult};
use rmcp::service::{Peer, RoleClient};
use serde_json::Value;
use sortie_contract::limit;
use sortie_tools::TOOLS_MAX;

use crate::calling;

/// Most pages of one list: more than a node takes tools.
const PAGES_MAX: usize = 64;

/// A tool as a server describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) description: String,
    /// As it came: what is no schema is told when the tool is taken.
    pub(crate) input_schema: Value,
    pub(crate) hints: Hints,
}

/// What a server says of what a tool does. Whatever is no boolean was not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) read_only: Option<bool>,
    pub(crate) destructive: Option<bool>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) open_world: Option<bool>,
}

impl Listed {
    /// One entry of a list; `None` where it has no name.
    pub(crate) fn of(entry: &Value) -> Option<Self> {
        let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty());
        let hint = |key: &str| entry["annotations"][key].as_bool();
        let description = text("description").or_else(|| text("title")).unwrap_or_default();
        Some(Self {
            name: text("name")?.to_owned(),
            description: limit::clip(description, limit::NOTE_BYTES_MAX),
            input_schema: entry["inputSchema"].clone(),
            hints: Hints {
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
                idempotent: hint("idempotentHint"),
                open_world: hint("openWorldHint"),
            },
        })
    }
}

/// All that it has, as far as a node can take it: whoever has more is told so by one that is beyond the last.
pub(crate) async fn tools(peer: &Peer<RoleClient>) -> Result<Vec<Listed>, String> {
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page = page(peer, cursor.clone()).await?;
        let entries = page["tools"].as_array().ok_or("its answer to tools/list has no list of tools")?;
        for entry in entries {
            match Listed::of(entry) {
                Some(listed) => tools.push(listed),
                None => tracing::warn!("a tool server lists a tool without a name; it is left out"),
            }
            if tools.len() > TOOLS_MAX {
                return Ok(tools);
            }
        }
        match page["nextCursor"].as_str() {
            Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
            _ => return Ok(tools),
        }
    }
    tracing::warn!(pages = PAGES_MAX, "a tool server's list has more pages than are read");
    Ok(tools)
}

async fn page(peer: &Peer<RoleClient>, cursor: Option<String>) -> Result<Value, String> {
    let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
    let request = ListToolsRequest { params, ..ListToolsRequest::default() };
    let answer = calling::ask(peer, ClientRequest::ListToolsRequest(request)).await;
    match answer.map_err(|error| error.to_string())? {
        ServerResult::ListToolsResult(page) => serde_json::to_value(page).map_err(|error| error.to_string()),
        // Something in it is not of the protocol's form: it is read by hand.
        ServerResult::CustomResult(page) => Ok(page.0),
        _ => Err("its answer to tools/list is none".to_owned()),
    }
}
