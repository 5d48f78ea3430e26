//! The smallest plugin: says hello and is done. The first one to read, and the one that benchmarks run.

use sortie_plugin::{Brief, Failure, Manifest, Outcome, Plugin, Tools};

struct Hello;

impl Plugin for Hello {
    fn describe() -> Manifest {
        Manifest::new("hello", env!("CARGO_PKG_VERSION"), "Says hello.")
    }

    fn run(brief: Brief, _tools: Tools) -> Result<Outcome, Failure> {
        Ok(Outcome::new(format!("hello, {}", brief.vp_id)))
    }
}

sortie_plugin::export!(Hello);
