//! A watch over the workspace while a command runs in it: whatever the command writes, its workspace and the node have their bounds.

use std::convert::Infallible;
use std::time::Duration;

use super::wrote::Before;
use crate::workspace::Workspace;

/// How long it waits between two looks: in that time a fast disk takes less than what the node keeps free.
const PAUSE: Duration = Duration::from_millis(200);

/// And so much more for each file that there is to look at.
const PAUSE_A_FILE: Duration = Duration::from_micros(10);

/// Comes back when the workspace holds too much, and says what.
pub(super) async fn overfull(workspace: &Workspace, before: &Before) -> String {
    match watch(workspace, before).await {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

async fn watch(workspace: &Workspace, before: &Before) -> Result<Infallible, String> {
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let (workspace, floor) = (workspace.clone(), before.measure());
        let measured = tokio::task::spawn_blocking(move || workspace.measure(Some(floor))).await;
        let files = measured.map_err(|_| "its workspace cannot be looked at; the node's log says why".to_owned())??;
        pause = PAUSE + PAUSE_A_FILE * u32::try_from(files).unwrap_or(u32::MAX);
    }
}
