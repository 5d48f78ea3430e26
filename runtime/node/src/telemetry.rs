//! Log lines: for people on a terminal, one JSON object a line elsewhere; `SORTIE_LOG` filters them.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged where nobody says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Usual {
    /// What a node does: the log is what is seen of it.
    All,
    /// What somebody should know of: the log stands among what is shown otherwise.
    Warnings,
}

/// Starts logging to standard error. Secrets have types that cannot be printed, so no filter is needed here.
pub(crate) fn start(format: LogFormat, usual: Usual) {
    let usual = match usual {
        Usual::All => "info",
        Usual::Warnings => "warn",
    };
    let filter = EnvFilter::try_from_env("SORTIE_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    // It logs whatever servers say, whole: arguments, results, and as much of it as they like. What is to be known of them is said by
    // `sortie-mcp`.
    let filter = filter.add_directive("rmcp=off".parse().expect("a directive"));
    // Of each attempt at a request, though the next one may succeed; what comes of all of them is said by whoever waits for it.
    let filter = filter.add_directive("object_store=error".parse().expect("a directive"));
    let human = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A line that cannot be written (the log's disk is full) is lost. To say so on standard error would be a panic.
    let lines = lines.log_internal_errors(false);
    // A second start in one process (tests) keeps the first one's.
    let _ = if human { lines.with_target(false).try_init() } else { lines.json().flatten_event(true).try_init() };
}
