//! The reading of the contract, rule by rule, as far as the core decides it. The files are the sections of that page; each
//! test is named after its rule.

mod after_a_crash;
mod amendments;
mod carry_over;
mod children;
mod dispatch;
mod fine_print;
mod landing;
mod leaving;
mod lifecycle;
mod models;
mod money;
mod overview;
mod quarantine;
mod questions;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod suspension;
mod the_fold;
mod tool_names_patterns_effect_classes;
mod wider;

use sortie_contract::plugin;
use sortie_mission::Ending;

/// The plugin says that it could not.
fn failed(summary: &str, tool: Option<&str>, next_action: Option<&str>) -> Ending {
    Ending::Returned(plugin::Verdict::Failed {
        summary: summary.to_owned(),
        tool: tool.map(str::to_owned),
        next_action: next_action.map(str::to_owned),
    })
}
