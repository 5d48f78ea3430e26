//! How policy and reports go over a socket: the length in four bytes, then JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, in bytes: a command as long as the system takes one, and as much environment again.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// A message as it goes over the socket.
///
/// # Errors
/// It is too long.
pub fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the command and its environment are too long"))?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(text);
    Ok(bytes)
}

/// Sends a message.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nobody there to speak with"))]
pub(crate) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

/// The next message; `None` once the other end is closed.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nobody there to speak with"))]
pub(crate) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_comes() {
        let mut line = Vec::new();
        send(&mut line, &"one").unwrap();
        send(&mut line, &"two").unwrap();
        let mut line = line.as_slice();
        assert_eq!(receive::<String>(&mut line).unwrap().as_deref(), Some("one"));
        assert_eq!(receive::<String>(&mut line).unwrap().as_deref(), Some("two"));
        assert_eq!(receive::<String>(&mut line).unwrap(), None);
    }

    #[test]
    fn what_is_too_long_is_refused_on_both_sides() {
        assert!(frame(&"x".repeat(FRAME_BYTES_MAX)).is_err());
        assert!(receive::<String>(&[0xff, 0xff, 0xff, 0xff, b'"'][..]).is_err());
    }
}
