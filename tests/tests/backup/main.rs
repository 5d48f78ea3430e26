//! The real binary, backed up while missions run and come, killed, and made again of its backup somewhere else: what the backup knows
//! goes on there, once, after somebody has said so.

mod kept;
mod restored;
