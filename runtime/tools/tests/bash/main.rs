//! `Bash`: what a command does, what it cannot do, and that nothing outlives it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]
#![cfg(target_os = "linux")]

mod hostile;
mod kept;
mod less;
mod outlive;
mod plain;
mod world;
