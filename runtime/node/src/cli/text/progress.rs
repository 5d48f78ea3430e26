//! That something takes its time: a line that moves, on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the line moves.
const TICK: Duration = Duration::from_millis(120);

/// What is under way, for as long as this is held. It shows nothing where standard error is no terminal.
pub(in crate::cli) struct Progress(ProgressBar);

impl Progress {
    /// Says what is done, and since when.
    pub(in crate::cli) fn of(what: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what is done for as long as that takes. It is gone before anything is told of what came of it.
    pub(in crate::cli) async fn during<T>(what: impl Into<String>, done: impl Future<Output = T>) -> T {
        let _shown = Self::of(what);
        done.await
    }

    /// Says what is done now.
    pub(in crate::cli) fn now(&self, what: String) {
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
