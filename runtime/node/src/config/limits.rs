//! `[limits]`: what holds for every mission and for all of them together. Whether a value can be is said where the file is read.

use std::time::Duration;

use serde::Deserialize;
use sortie_contract::envelope::OnExpiry;
use sortie_contract::limit;
use sortie_mission::child::Bounds;

/// `[limits]`: ceilings that hold for every mission.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Longest run time of a mission, in minutes. There is always one.
    pub max_runtime_minutes: f64,
    /// Most model calls of a mission.
    pub max_llm_calls: Option<u64>,
    /// Most that a mission may cost, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// Memory of one plugin, in MiB.
    pub plugin_memory_mib: u64,
    /// What results of calls may hold of the node's memory, in MiB, for all missions together.
    pub results_mib: u64,
    /// What the artifacts of one mission may take, replaced ones included, in MiB.
    pub mission_artifacts_mib: u64,
    /// What a workspace may take, in MiB.
    pub workspace_mib: u64,
    /// How many files and folders it may have.
    pub workspace_files: u64,
    /// What the artifacts and the workspaces of all missions may take, in MiB.
    pub files_mib: u64,
    /// What is kept free on the disk for the journal, in MiB.
    pub disk_reserve_mib: u64,
    /// Below so much free room it is warned, in MiB: long before anything stops.
    pub disk_warn_mib: u64,
    /// So many crashes of the node in a row, with one mission running alone and nothing new of it on record, and it is given up.
    pub crashes_alone: u32,
    /// How long a mission waits for an answer before it gives up, unless its window closes before.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub request_expiry: Duration,
    /// What becomes of one that nobody answers, where its envelope does not say.
    pub on_expiry: OnExpiry,
    /// How many schedules there may be.
    pub schedules: usize,
    /// How many missions may stand above one that a mission dispatches.
    pub children_depth_max: u32,
    /// How many a mission dispatches.
    pub children_max: u32,
    /// How many may come of a mission that none dispatched: those that it dispatches, those that these do, and so on.
    pub family_max: u32,
    /// The share of each limit of a mission that is kept for landing.
    pub landing: f64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: limit::ENVELOPE_BYTES,
            max_runtime_minutes: 24.0 * 60.0,
            max_llm_calls: None,
            max_cost_usd: None,
            plugin_memory_mib: 256,
            // Two hundred and fifty-six calls at once, and as much again that waits for plugins.
            results_mib: 512,
            // Sixteen of the largest artifacts.
            mission_artifacts_mib: 1 << 10,
            // As much as the artifacts that it may become.
            workspace_mib: 1 << 10,
            // A large checkout. Each takes a place of the file system, however small it is.
            workspace_files: 200_000,
            files_mib: 64 << 10,
            // What the queue of the journal holds, several times over: enough to end everything that there is.
            disk_reserve_mib: 256,
            // Four times what is kept: room for the work of some hours, and for somebody to look.
            disk_warn_mib: 1 << 10,
            // A few: in a loop of kills from outside it is nobody's fault.
            crashes_alone: 5,
            request_expiry: Duration::from_secs(24 * 60 * 60),
            on_expiry: OnExpiry::End,
            schedules: 100_000,
            children_depth_max: Bounds::default().depth_max,
            children_max: Bounds::default().children_max,
            family_max: Bounds::default().family_max,
            landing: 0.05,
        }
    }
}
