//! Says how many bytes a journal holds: `weigh JOURNAL`.
//!
//! For the benchmarks: the file grows by doubling, so that its size says nothing of what a record takes. What is told is the sum of all keys
//! and values. No node may have the file open; it is a copy of it at best, for opening it may change it.

#![expect(clippy::print_stdout, reason = "what it weighs is this program's data")]

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("which journal?")?.into();
    let database = redb::Database::open(path)?;
    let look = database.begin_write()?;
    println!("{}", look.stats()?.stored_bytes());
    look.abort()?;
    Ok(())
}
