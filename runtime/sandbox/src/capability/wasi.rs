//! `wasi`: what languages with a standard library take from a system, played: WASI 0.2 without a system behind it.
//!
//! | a guest asks for | it gets |
//! | --- | --- |
//! | standard output and error | the mission's log, line by line; so much in one run, the rest is counted |
//! | standard input | its end |
//! | clocks | the mission's recorded time (`clock`): it passes while the guest waits, not while it computes |
//! | sleep, timers | a timer of the mission, as by `time.after` |
//! | randomness | bytes that follow from the mission's id (`random`): the same in each run, and no secret |
//! | arguments, environment, folders | none |
//! | sockets, names | `access-denied` (`denied`) |
//! | `exit` | the end of the run, as a crash that says so |
//!
//! So a replay meets the same answers, and none of them needs a kind of record of its own. In `describe` and `check` there is no
//! mission: time begins in 1970, sleeping is over at once, and nobody reads what is written.
//!
//! Its interfaces are not of the mission's world: any world may be beside them. Which there are, `world/wasi.rs` lists.
//!
//! ```
//! use sortie_sandbox::capability::Side;
//! use sortie_sandbox::capability::report::Said;
//! use sortie_sandbox::capability::wasi::{self, Played, Wasi, WasiView};
//! use wasmtime::component::{Component, Linker};
//! use wasmtime::{Engine, Store};
//!
//! struct Data {
//!     side: Side,
//!     said: Said,
//!     played: Played,
//! }
//!
//! impl WasiView for Data {
//!     fn wasi(&mut self) -> Wasi<'_> {
//!         Wasi::new(&mut self.side, &mut self.said, &mut self.played)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let engine = Engine::default();
//! let component = wat::parse_str(
//!     r#"(component
//!         (import "wasi:random/random@0.2.3" (instance $random (export "get-random-u64" (func (result u64)))))
//!         (core func $u64 (canon lower (func $random "get-random-u64")))
//!         (core module $m
//!             (import "random" "u64" (func $u64 (result i64)))
//!             (func (export "ask") (result i64) (call $u64)))
//!         (core instance $i (instantiate $m (with "random" (instance (export "u64" (func $u64))))))
//!         (func (export "ask") (result u64) (canon lift (core func $i "ask"))))"#,
//! )?;
//! let mut linker = Linker::<Data>::new(&engine);
//! wasi::random(&mut linker)?;
//! let mut drawn = |mission: &str| {
//!     let data = Data { side: Side::absent(), said: Said::default(), played: Played::of(mission) };
//!     let mut store = Store::new(&engine, data);
//!     let guest = linker.instantiate(&mut store, &Component::new(&engine, &component)?)?;
//!     guest.get_typed_func::<(), (u64,)>(&mut store, "ask")?.call(&mut store, ())
//! };
//! assert_eq!(drawn("m-1")?, drawn("m-1")?, "each run of a mission draws the same");
//! assert_ne!(drawn("m-1")?, drawn("m-2")?);
//! # Ok(())
//! # }
//! ```

mod clock;
pub(crate) mod denied;
pub(crate) mod io;
mod output;
mod random;

use sortie_contract::plugin::Crash;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::bindings::wasi::wasi as world;
use crate::capability::report::Said;
use crate::host::Stop;
use crate::pending::HANDLES_MAX;
use crate::side::Side;
use clock::Clock;
use output::Written;
use random::Random;

/// Most bytes that one call brings or takes: whoever wants more asks again.
const CALL_BYTES_MAX: u64 = 1 << 20;

/// What is played for one guest: its clock, its randomness, its streams.
pub struct Played {
    clock: Clock,
    random: Random,
    written: Written,
    /// Streams and pollables that it holds.
    table: ResourceTable,
}

impl Played {
    /// For a guest whose randomness follows from that seed: the id of its mission, or of the one that it is a fork of; in `describe` and `check`
    /// there is none.
    #[must_use]
    pub fn of(seed: &str) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { clock: Clock::default(), random: Random::of(seed), written: Written::default(), table }
    }
}

/// WASI, as one guest sees it.
pub struct Wasi<'a> {
    side: &'a mut Side,
    said: &'a mut Said,
    played: &'a mut Played,
}

impl<'a> Wasi<'a> {
    /// Of the guest with that side, for which that is played.
    pub fn new(side: &'a mut Side, said: &'a mut Said, played: &'a mut Played) -> Self {
        Self { side, said, played }
    }

    /// Logs what the guest wrote without a line break behind it, and how much was left out. At the end of a run.
    ///
    /// # Errors
    /// The host ends the run.
    pub fn written_out(&mut self) -> wasmtime::Result<()> {
        self.played.written.out(self.side, self.said)
    }

    /// A handle for a stream or a pollable.
    fn handle<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<Resource<T>> {
        let pushed = self.played.table.push(entry);
        pushed.map_err(|_| self.side.exceeded(format!("a plugin holds at most {HANDLES_MAX} streams and pollables")))
    }

    /// Refuses to bring or take more than that at once.
    fn bounded(&mut self, bytes: u64, what: &str) -> wasmtime::Result<usize> {
        match usize::try_from(bytes) {
            Ok(fits) if bytes <= CALL_BYTES_MAX => Ok(fits),
            _ => Err(self.side.exceeded(format!("{what} of {bytes} bytes at once: at most {CALL_BYTES_MAX}"))),
        }
    }
}

/// Data of a store whose guest finds a WASI.
pub trait WasiView: Send {
    /// What the interfaces stand on.
    fn wasi(&mut self) -> Wasi<'_>;
}

struct HasWasi;

impl HasData for HasWasi {
    type Data<'a> = Wasi<'a>;
}

macro_rules! linked {
    ($($name:ident: $package:ident / $interface:ident, $title:literal;)*) => {
        $(
            #[doc = concat!("Adds `wasi:", $title, "` to a linker.\n\n# Errors\nIt is there already.")]
            pub fn $name<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
                world::$package::$interface::add_to_linker::<T, HasWasi>(linker, T::wasi)
            }
        )*
    };
}

linked! {
    error: io / error, "io/error";
    poll: io / poll, "io/poll";
    streams: io / streams, "io/streams";
    monotonic_clock: clocks / monotonic_clock, "clocks/monotonic-clock";
    wall_clock: clocks / wall_clock, "clocks/wall-clock";
    random: random / random, "random/random";
    insecure: random / insecure, "random/insecure";
    insecure_seed: random / insecure_seed, "random/insecure-seed";
    environment: cli / environment, "cli/environment";
    exit: cli / exit, "cli/exit";
    stdin: cli / stdin, "cli/stdin";
    stdout: cli / stdout, "cli/stdout";
    stderr: cli / stderr, "cli/stderr";
    terminal_input: cli / terminal_input, "cli/terminal-input";
    terminal_output: cli / terminal_output, "cli/terminal-output";
    terminal_stdin: cli / terminal_stdin, "cli/terminal-stdin";
    terminal_stdout: cli / terminal_stdout, "cli/terminal-stdout";
    terminal_stderr: cli / terminal_stderr, "cli/terminal-stderr";
    instance_network: sockets / instance_network, "sockets/instance-network";
    ip_name_lookup: sockets / ip_name_lookup, "sockets/ip-name-lookup";
}

/// Adds `wasi:sockets/network` to a linker.
///
/// # Errors
/// It is there already.
pub fn network<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    // What is not stable in it is not linked.
    let options = world::sockets::network::LinkOptions::default();
    world::sockets::network::add_to_linker::<T, HasWasi>(linker, &options, T::wasi)
}

impl world::cli::environment::Host for Wasi<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl world::cli::exit::Host for Wasi<'_> {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(self.left(if status.is_ok() { "as a success" } else { "as a failure" }))
    }

    fn exit_with_code(&mut self, status_code: u8) -> wasmtime::Result<()> {
        Err(self.left(&format!("with the code {status_code}")))
    }
}

impl Wasi<'_> {
    /// It called `exit`: whoever ends so says neither what was done nor what was not.
    fn left(&mut self, how: &str) -> wasmtime::Error {
        let said = self.written_out().ok().and_then(|()| self.said.error());
        let said = said.map(|said| format!("; it said: {said}")).unwrap_or_default();
        let text = format!("the plugin called `exit`, {how}: a plugin ends by what it returns{said}");
        self.side.stop(Stop::Crash(Crash::Trapped(text)))
    }
}
