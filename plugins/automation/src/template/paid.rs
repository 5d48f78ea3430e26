//! JSON that is paid for as it is written: a value may make a longer text than its template can pay, and nobody builds that first.

use std::io;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::digits::{Written, is_numeral};

/// Bytes that are worked through for one unit of fuel, as the template language has it.
pub(super) const BYTES_PER_FUEL: usize = 64;

/// How many times as much a byte of a list or an object costs where it is written into a text, as the template language has it.
const STRUCTURE_PRICE: u64 = 16;

/// Pays for working through so many bytes.
pub(super) fn pay(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)
}

/// A text that is paid for as it grows.
pub(super) struct Paid<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    text: Vec<u8>,
    /// Bytes that were written since the last payment.
    unpaid: usize,
    /// Why nothing more is written.
    broke: Option<Error>,
}

impl<'s, 't, 'e> Paid<'s, 't, 'e> {
    /// Nothing yet.
    pub(super) fn new(state: &'s State<'t, 'e>) -> Self {
        Self { state, text: Vec::new(), unpaid: 0, broke: None }
    }

    /// Pays for bytes, also where they are not written here.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), Error> {
        self.unpaid = self.unpaid.saturating_add(bytes);
        pay(self.state, self.unpaid)?;
        self.unpaid %= BYTES_PER_FUEL;
        Ok(())
    }

    /// A value as JSON: in one line, or each level of it indented by this.
    ///
    /// # Errors
    /// It cannot be paid, or is none.
    pub(super) fn json(&mut self, value: &Value, indent: &[u8]) -> Result<String, Error> {
        let written = if indent.is_empty() {
            serde_json::to_writer(&mut *self, &Written(value))
        } else {
            let formatter = PrettyFormatter::with_indent(indent);
            serde::Serialize::serialize(&Written(value), &mut Serializer::with_formatter(&mut *self, formatter))
        };
        if let Some(broke) = self.broke.take() {
            return Err(broke);
        }
        written.map_err(|error| unwritten(&error))?;
        String::from_utf8(std::mem::take(&mut self.text)).map_err(|error| unwritten(&error))
    }
}

impl io::Write for Paid<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.pay(bytes.len()) {
            self.broke = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a value as one line of JSON to where `{{ … }}` stands. The language takes the price of that behind it; here it is seen to
/// that no more is written than can be paid then.
pub(super) fn write(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let is_structure =
        !matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number) && !is_numeral(value);
    let price = if is_structure { STRUCTURE_PRICE } else { 1 };
    let fuel = state.fuel_levels().map_or(u64::MAX, |(_, left)| left);
    let room = fuel.saturating_mul(BYTES_PER_FUEL as u64) / price;
    let mut within = Within { out, room: usize::try_from(room).unwrap_or(usize::MAX), is_full: false };
    let written = serde_json::to_writer(&mut within, &Written(value));
    if within.is_full {
        // Whatever is left would not have paid for it.
        state.consume_fuel(fuel.saturating_add(1))?;
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    written.map_err(|error| unwritten(&error))
}

/// An output that takes so many bytes more.
struct Within<'o, 'w> {
    out: &'o mut Output<'w>,
    room: usize,
    is_full: bool,
}

impl io::Write for Within<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            self.is_full = true;
            return Err(io::ErrorKind::Other.into());
        };
        self.room = room;
        // JSON is written in whole characters.
        let text = std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.out.write_str(text).map_err(|_| io::ErrorKind::Other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritten(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, error.to_string())
}
