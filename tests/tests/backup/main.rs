//! The real binary, backed up while missions run and come, killed, and made again of its backup somewhere else: what the backup knows
//! goes on there, once, after somebody has said so.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod kept;
mod restored;
