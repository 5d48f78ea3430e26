//! Streams and polling: what is written goes to the log, what is read is at its end, and what is waited for is time.

use wasmtime::component::Resource;

use super::output::Stream;
use super::world::cli::{
    stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin, terminal_stdout,
};
use super::world::io::{error, poll, streams};
use super::world::sockets::{instance_network, ip_name_lookup, network};
use super::{CALL_BYTES_MAX, Wasi};
use crate::pending::HANDLES_MAX;

/// A resource that nobody is ever given.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Never {}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Pollable {
    /// A stream: there is never anything to wait for.
    Ready,
    /// The monotonic clock, at so many nanoseconds.
    At(u64),
}

/// Standard input, at its end.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Input;

/// Standard output or error.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Output(Stream);

/// A network without anybody in it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Network;

/// What only the holder of a resource can ask for that is never given.
fn never<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("a handle that the node never gave"))
}

impl poll::HostPollable for Wasi<'_> {
    fn ready(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(match *self.played.table.get(&pollable)? {
            Pollable::Ready => true,
            Pollable::At(when) => self.played.clock.monotonic(self.side)? >= when,
        })
    }

    async fn block(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        match *self.played.table.get(&pollable)? {
            Pollable::Ready => Ok(()),
            Pollable::At(when) => self.played.clock.wait(self.side, when).await,
        }
    }

    fn drop(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        self.played.table.delete(pollable)?;
        Ok(())
    }
}

impl poll::Host for Wasi<'_> {
    /// All that are ready; if none is, those that are first.
    async fn poll(&mut self, asked: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
        if asked.is_empty() || asked.len() > HANDLES_MAX {
            return Err(self.side.exceeded(format!("`poll` takes 1 to {HANDLES_MAX} pollables")));
        }
        let asked: Vec<Pollable> =
            asked.iter().map(|handle| self.played.table.get(handle).copied()).collect::<Result<_, _>>()?;
        let is_timed = asked.iter().any(|pollable| matches!(pollable, Pollable::At(_)));
        let mut now = if is_timed { self.played.clock.monotonic(self.side)? } else { 0 };
        let due = |pollable: &Pollable| match *pollable {
            Pollable::Ready => 0,
            Pollable::At(when) => when,
        };
        let first = asked.iter().map(due).min().unwrap_or(0);
        if first > now {
            self.played.clock.wait(self.side, first).await?;
            now = first;
        }
        Ok((0_u32..).zip(&asked).filter(|(_, pollable)| due(pollable) <= now).map(|(index, _)| index).collect())
    }
}

impl error::HostError for Wasi<'_> {
    fn to_debug_string(&mut self, _error: Resource<Never>) -> wasmtime::Result<String> {
        never()
    }

    fn drop(&mut self, _error: Resource<Never>) -> wasmtime::Result<()> {
        never()
    }
}

impl error::Host for Wasi<'_> {}
impl streams::Host for Wasi<'_> {}

impl streams::HostInputStream for Wasi<'_> {
    fn read(&mut self, _input: Resource<Input>, _len: u64) -> wasmtime::Result<Result<Vec<u8>, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn blocking_read(
        &mut self,
        _input: Resource<Input>,
        _len: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn skip(&mut self, _input: Resource<Input>, _len: u64) -> wasmtime::Result<Result<u64, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn blocking_skip(
        &mut self,
        _input: Resource<Input>,
        _len: u64,
    ) -> wasmtime::Result<Result<u64, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn subscribe(&mut self, _input: Resource<Input>) -> wasmtime::Result<Resource<Pollable>> {
        self.handle(Pollable::Ready)
    }

    fn drop(&mut self, input: Resource<Input>) -> wasmtime::Result<()> {
        self.played.table.delete(input)?;
        Ok(())
    }
}

impl Wasi<'_> {
    fn written(
        &mut self,
        output: &Resource<Output>,
        bytes: &[u8],
    ) -> wasmtime::Result<Result<(), streams::StreamError>> {
        self.bounded(bytes.len() as u64, "a write")?;
        let Output(stream) = *self.played.table.get(output)?;
        self.played.written.write(self.side, self.said, stream, bytes).map(Ok)
    }

    fn zeroes(&mut self, output: &Resource<Output>, count: u64) -> wasmtime::Result<Result<(), streams::StreamError>> {
        let count = self.bounded(count, "a write")?;
        self.written(output, &vec![0; count])
    }
}

impl streams::HostOutputStream for Wasi<'_> {
    fn check_write(&mut self, _output: Resource<Output>) -> wasmtime::Result<Result<u64, streams::StreamError>> {
        Ok(Ok(CALL_BYTES_MAX))
    }

    fn write(
        &mut self,
        output: Resource<Output>,
        contents: Vec<u8>,
    ) -> wasmtime::Result<Result<(), streams::StreamError>> {
        self.written(&output, &contents)
    }

    fn blocking_write_and_flush(
        &mut self,
        output: Resource<Output>,
        contents: Vec<u8>,
    ) -> wasmtime::Result<Result<(), streams::StreamError>> {
        self.written(&output, &contents)
    }

    /// A line is logged once it is whole.
    fn flush(&mut self, _output: Resource<Output>) -> wasmtime::Result<Result<(), streams::StreamError>> {
        Ok(Ok(()))
    }

    fn blocking_flush(&mut self, _output: Resource<Output>) -> wasmtime::Result<Result<(), streams::StreamError>> {
        Ok(Ok(()))
    }

    fn subscribe(&mut self, _output: Resource<Output>) -> wasmtime::Result<Resource<Pollable>> {
        self.handle(Pollable::Ready)
    }

    fn write_zeroes(
        &mut self,
        output: Resource<Output>,
        len: u64,
    ) -> wasmtime::Result<Result<(), streams::StreamError>> {
        self.zeroes(&output, len)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        output: Resource<Output>,
        len: u64,
    ) -> wasmtime::Result<Result<(), streams::StreamError>> {
        self.zeroes(&output, len)
    }

    /// There is nothing to read.
    fn splice(
        &mut self,
        _output: Resource<Output>,
        _source: Resource<Input>,
        _len: u64,
    ) -> wasmtime::Result<Result<u64, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn blocking_splice(
        &mut self,
        _output: Resource<Output>,
        _source: Resource<Input>,
        _len: u64,
    ) -> wasmtime::Result<Result<u64, streams::StreamError>> {
        Ok(Err(streams::StreamError::Closed))
    }

    fn drop(&mut self, output: Resource<Output>) -> wasmtime::Result<()> {
        self.played.table.delete(output)?;
        Ok(())
    }
}

impl stdin::Host for Wasi<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<Input>> {
        self.handle(Input)
    }
}

impl stdout::Host for Wasi<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<Output>> {
        self.handle(Output(Stream::Out))
    }
}

impl stderr::Host for Wasi<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<Output>> {
        self.handle(Output(Stream::Err))
    }
}

impl terminal_input::HostTerminalInput for Wasi<'_> {
    fn drop(&mut self, _terminal: Resource<Never>) -> wasmtime::Result<()> {
        never()
    }
}

impl terminal_output::HostTerminalOutput for Wasi<'_> {
    fn drop(&mut self, _terminal: Resource<Never>) -> wasmtime::Result<()> {
        never()
    }
}

impl terminal_input::Host for Wasi<'_> {}
impl terminal_output::Host for Wasi<'_> {}

impl terminal_stdin::Host for Wasi<'_> {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<Never>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Wasi<'_> {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<Never>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Wasi<'_> {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<Never>>> {
        Ok(None)
    }
}

impl network::HostNetwork for Wasi<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.played.table.delete(network)?;
        Ok(())
    }
}

impl network::Host for Wasi<'_> {
    fn network_error_code(&mut self, _error: Resource<Never>) -> wasmtime::Result<Option<network::ErrorCode>> {
        never()
    }
}

impl instance_network::Host for Wasi<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.handle(Network)
    }
}

impl ip_name_lookup::HostResolveAddressStream for Wasi<'_> {
    fn resolve_next_address(
        &mut self,
        _stream: Resource<Never>,
    ) -> wasmtime::Result<Result<Option<network::IpAddress>, network::ErrorCode>> {
        never()
    }

    fn subscribe(&mut self, _stream: Resource<Never>) -> wasmtime::Result<Resource<Pollable>> {
        never()
    }

    fn drop(&mut self, _stream: Resource<Never>) -> wasmtime::Result<()> {
        never()
    }
}

impl ip_name_lookup::Host for Wasi<'_> {
    fn resolve_addresses(
        &mut self,
        _network: Resource<Network>,
        _name: String,
    ) -> wasmtime::Result<Result<Resource<Never>, network::ErrorCode>> {
        Ok(Err(network::ErrorCode::AccessDenied))
    }
}
