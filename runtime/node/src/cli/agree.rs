//! A question with yes or no, before something is done that its command does not say by itself.

use std::io::{IsTerminal as _, Write as _};

use super::Failure;

/// Whether somebody is there to ask.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks; an empty line is `by_default`, and the end of the input a no.
pub(super) async fn agrees(question: &str, by_default: bool) -> Result<bool, Failure> {
    let mut talk = std::io::stderr();
    write!(talk, "{question} [{}] ", if by_default { "Y/n" } else { "y/N" })?;
    talk.flush()?;
    let mut line = String::new();
    let read = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line).map(|read| (read, line)));
    let (read, line) = read.await??;
    Ok(read > 0
        && match line.trim().to_lowercase().as_str() {
            "" => by_default,
            answer => matches!(answer, "y" | "yes"),
        })
}
