//! Gets Redis onto the machine, for the tests of the bridge: what they start and kill is their own.

use crate::debian;

/// What tells the tests which program it is.
pub(crate) const REDIS: &str = "SORTIE_REDIS";

/// The server; the program that asks it lies beside it. What the package starts as a service is nobody's concern here.
pub(crate) fn installed() -> Result<&'static str, String> {
    debian::have("the tests of the Redis bridge", &[("redis-server", "redis-server"), ("redis-cli", "redis-tools")])?;
    Ok("redis-server")
}
