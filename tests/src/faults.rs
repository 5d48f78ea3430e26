//! Faults below a node: its clocks and its disk, as a test wants them. What brings them about is the package `sortie-faults`,
//! loaded before the C library; Linux with glibc only.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How the disk is on which a node's data lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Disk {
    /// As it should be.
    Well = 0,
    /// Nothing more can be written.
    Full = 1,
    /// Nothing can be changed.
    ReadOnly = 2,
    /// Nothing gets to it, and nothing fails.
    Stuck = 3,
    /// The same, and nothing is read from it.
    Held = 4,
}

/// What is wrong below a node. It holds from one moment to the next, and through restarts.
#[derive(Debug)]
pub struct Faults {
    path: PathBuf,
}

impl Faults {
    /// Those of the node with this folder; made, with nothing wrong, where there are none.
    ///
    /// # Panics
    /// If the folder cannot be written.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let path = folder.join("faults");
        if !path.exists() {
            fs::write(&path, [0; 24]).expect("a writable folder");
        }
        Self { path }
    }

    /// Whether what brings them about has been built.
    #[must_use]
    pub fn are_built() -> bool {
        library().is_some()
    }

    /// What a process is started with, so that these faults strike it, and its disk below a folder.
    ///
    /// # Panics
    /// If the library has not been built: `cargo build -p sortie-faults --examples` makes it.
    #[must_use]
    pub fn environment(&self, below: &Path) -> [(&'static str, PathBuf); 3] {
        let library = library().expect(
            "the faults are built, for Linux with glibc: run `cargo nextest run --workspace`, or `cargo build -p \
             sortie-faults --examples` first",
        );
        [("LD_PRELOAD", library), ("SORTIE_FAULTS", self.path.clone()), ("SORTIE_FAULTS_BELOW", below.to_owned())]
    }

    /// Sets the wall clock of the node ahead of ours by so much; back, by less than nothing.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.put(0, i64::try_from(ahead.as_nanos()).expect("less than a few centuries"));
    }

    /// Lets so much time go by for the node, on its steady clock alone: it is now so far ahead of ours. Threads that sleep
    /// notice when they wake; a request wakes enough of them.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_steady(&self, ahead: Duration) {
        self.put(8, i64::try_from(ahead.as_nanos()).expect("less than a few centuries"));
    }

    /// Lets so much time go by for the node, on all its clocks.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_ahead(&self, ahead: Duration) {
        self.set_steady(ahead);
        self.set_clock(SignedDuration::try_from(ahead).expect("less than a few centuries"));
    }

    /// Makes the disk so.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_disk(&self, disk: Disk) {
        self.put(16, disk as i64);
    }

    /// What time it is for the node.
    ///
    /// # Panics
    /// If the file cannot be read.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let mut ahead = [0; 8];
        File::open(&self.path).and_then(|file| file.read_exact_at(&mut ahead, 0)).expect("a readable file");
        Timestamp::now() + SignedDuration::from_nanos(i64::from_ne_bytes(ahead))
    }

    fn put(&self, at: u64, number: i64) {
        let file = File::options().write(true).open(&self.path).expect("a writable file");
        file.write_all_at(&number.to_ne_bytes(), at).expect("a writable file");
    }
}

fn library() -> Option<PathBuf> {
    let own = std::env::current_exe().expect("a running program has a path");
    let built = own.ancestors().skip(1).take(2).map(|folder| folder.join("examples/libsortie_faults.so"));
    built.into_iter().find(|file| file.is_file())
}
