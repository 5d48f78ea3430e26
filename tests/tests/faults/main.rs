//! The real binary while what is below and around it fails: its disk, its clocks, its receivers.
//!
//! `sortie-faults`, loaded before the C library, brings the faults about, for one node alone and without any rights. Linux
//! with glibc only; elsewhere there is nothing here.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod clock;
mod disk;
mod full;
mod night;
mod nights;
mod receiver;
