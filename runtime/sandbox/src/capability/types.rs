//! `types`: what several interfaces share. There is nothing to call, and so no state and no view; but a component that
//! uses a type of it imports it.
//!
//! ```
//! use sortie_sandbox::capability::types;
//! use wasmtime::Engine;
//! use wasmtime::component::{Component, Linker};
//!
//! # fn main() -> wasmtime::Result<()> {
//! let engine = Engine::default();
//! let component = wat::parse_str(r#"(component (import "sortie:mission/types@0.1.0" (instance)))"#)?;
//! let component = Component::new(&engine, component)?;
//! let mut linker = Linker::<()>::new(&engine);
//! types::add_to_linker(&mut linker)?;
//! assert!(linker.instantiate_pre(&component).is_ok());
//! # Ok(())
//! # }
//! ```

use sortie_contract::plugin::Brief;
use sortie_contract::tool::{self, ToolInfo};
use wasmtime::component::{HasData, Linker};

use crate::bindings::v0_1::sortie::mission::types as world;

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasTypes>(linker, |_| Types)
}

struct Types;

struct HasTypes;

impl HasData for HasTypes {
    type Data<'a> = Types;
}

impl world::Host for Types {}

impl From<Brief> for world::Brief {
    fn from(brief: Brief) -> Self {
        Self {
            mission_id: brief.mission_id,
            vp_id: brief.vp_id,
            vp_session_id: brief.vp_session_id,
            mission_type: brief.mission_type,
            objective: brief.objective,
            inputs: brief.inputs,
            success_criteria: brief.success_criteria,
            required_outputs: brief.required_outputs,
        }
    }
}

impl From<ToolInfo> for world::ToolInfo {
    fn from(info: ToolInfo) -> Self {
        Self {
            name: info.name.as_str().to_owned(),
            read_only: info.repeat() == tool::Repeat::ReadOnly,
            description: info.description,
            input_schema: info.input_schema.to_string(),
            effects: info.effects.into_iter().map(|class| class.0).collect(),
        }
    }
}

impl From<tool::CallError> for world::CallError {
    fn from(error: tool::CallError) -> Self {
        match error {
            tool::CallError::Denied(text) => Self::Denied(text),
            tool::CallError::BudgetExhausted(text) => Self::BudgetExhausted(text),
            tool::CallError::Cancelled => Self::Cancelled,
            tool::CallError::InvalidArguments(text) => Self::InvalidArguments(text),
            tool::CallError::Failed(text) => Self::Failed(text),
            tool::CallError::TimedOut(text) => Self::TimedOut(text),
            tool::CallError::Uncertain(text) => Self::Uncertain(text),
        }
    }
}
