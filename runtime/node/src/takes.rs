//! What missions of a plugin need and take, in the words of the command line and of the dashboard.

use serde_json::Value;

/// The words, as the plugin's author wrote them where they are names: whoever shows them lets nothing in them hide.
#[derive(Debug)]
pub(crate) struct Takes {
    /// What no mission can be done without.
    pub(crate) needs: Vec<String>,
    /// Tools that are of use.
    pub(crate) optional: Vec<String>,
    /// Memory and time.
    pub(crate) costs: Vec<String>,
}

impl Takes {
    /// Of a plugin, as the interface tells of it.
    pub(crate) fn of(plugin: &Value) -> Self {
        let memory = plugin["memory_bytes"].as_u64().map(|bytes| format!("{} MiB of memory", bytes.div_ceil(1 << 20)));
        let time = plugin["runtime_minutes"].as_f64().map(|minutes| format!("{minutes} min of run time"));
        Self {
            needs: plugin["needs"].as_array().into_iter().flatten().map(|need| texts(need).join(" or ")).collect(),
            optional: texts(&plugin["optional_tools"]).into_iter().map(str::to_owned).collect(),
            costs: memory.into_iter().chain(time).collect(),
        }
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
