//! What another node answers, passed on as it comes, for as long as that one is heard.
//!
//! Of a stream of events only what is whole goes on: who is told why it ends, in the middle of an event, would take that for one it has read. An
//! answer of another kind breaks off, which whoever reads it sees by its length. Owned here: how long either may be silent, and that a
//! stream ends with the token that it was asked for with. Never here: which node is asked, and what it says.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use sortie_engine::Engine;
use sortie_engine::fleet::Member;
use tokio::time::sleep;

use super::auth::Standing;
use super::events;
use super::forward::{HEAD, Heard, falls_silent};
use super::tries::{away, unreachable};

/// A stream of which nothing is heard for so long is at its end, whoever holds its connection open: each says now and then that it is alive.
const SILENT: Duration = Duration::from_secs(2 * events::ALIVE.as_secs());

/// What ends an event.
const END: &[u8] = b"\n\n";

/// Most bytes of an event that is not whole yet: it lists all artifacts, and its text may be a MiB, of which each byte may take six.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What of a stream of events is not whole yet.
#[derive(Debug, Default)]
struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    /// All that is whole with this piece; what is behind it is kept.
    fn whole(&mut self, piece: &[u8]) -> Bytes {
        // An end may be cut in two.
        let from = self.rest.len().saturating_sub(END.len() - 1);
        self.rest.extend_from_slice(piece);
        let Some(at) = self.rest[from..].windows(END.len()).rposition(|bytes| bytes == END) else {
            return Bytes::new();
        };
        let rest = self.rest.split_off(from + at + END.len());
        std::mem::replace(&mut self.rest, rest).into()
    }

    /// Whether it is more than any event has.
    fn is_too_long(&self) -> bool {
        self.rest.len() > EVENT_BYTES_MAX
    }
}

/// A stream of events of another node, for as long as that one is there, and as whoever asked for it may read: else it ends with an event that
/// says why, and whoever reads it comes back to whoever goes on with it.
pub(super) fn events_of(
    engine: Arc<Engine>,
    member: Member,
    standing: Option<Standing>,
    answered: reqwest::Response,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let begun = Some((Box::pin(answered.bytes_stream()), Frames::default()));
    stream::unfold(begun, move |passed| {
        let (engine, member, standing) = (Arc::clone(&engine), member.clone(), standing.clone());
        async move {
            let (mut pieces, mut frames) = passed?;
            let problem = loop {
                let piece = tokio::select! {
                    biased;
                    piece = pieces.next() => piece?,
                    () = falls_silent(&engine, &member) => break away(&engine, &member),
                    () = sleep(SILENT) => break unreachable(&member, "nothing was heard of it for a while"),
                };
                // The other node may not know their token: where this one vouched for them.
                if standing.as_ref().is_some_and(|standing| !standing.holds()) {
                    return None;
                }
                let Ok(piece) = piece else { break unreachable(&member, "the connection broke") };
                let whole = frames.whole(&piece);
                if !whole.is_empty() {
                    return Some((Ok(whole), Some((pieces, frames))));
                }
                if frames.is_too_long() {
                    break unreachable(&member, "it sends more than an event has");
                }
            };
            Some((Ok(events::last_words(&problem)), None))
        }
    })
}

/// Any other answer of another node: it breaks off where nothing comes of it for as long as an answer is waited for, nor is sent to it.
pub(super) fn body_of(answered: reqwest::Response, heard: Heard) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(Box::pin(answered.bytes_stream())), move |pieces| {
        let heard = heard.clone();
        async move {
            let mut pieces = pieces?;
            let silent = async {
                sleep(HEAD).await;
                heard.has_been(HEAD).await;
            };
            let piece = tokio::select! {
                biased;
                piece = pieces.next() => piece?.map_err(io::Error::other),
                () = silent => Err(io::Error::new(io::ErrorKind::TimedOut, "another node fell silent in its answer")),
            };
            let goes_on = piece.is_ok().then_some(pieces);
            Some((piece, goes_on))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_stream_is_cut_only_whole_events_go_on() {
        let (told, begun) = ("id: 1\nevent: x\ndata: {\"a\":\"b\"}\n\n:\n\nid: 2\ndata: {}\n\n", "id: 3\nevent: x\nda");
        let (sample, whole) = ([told, begun].concat().into_bytes(), told.len());
        for first in 0..sample.len() {
            for second in first..sample.len() {
                let mut frames = Frames::default();
                let mut told = Vec::new();
                for piece in [&sample[..first], &sample[first..second], &sample[second..]] {
                    let some = frames.whole(piece);
                    assert!(some.is_empty() || some.ends_with(END), "{first} {second}");
                    told.extend_from_slice(&some);
                }
                assert_eq!(told, sample[..whole], "{first} {second}");
                assert_eq!(frames.rest, sample[whole..], "{first} {second}");
            }
        }
    }

    #[test]
    fn byte_by_byte_an_event_goes_on_with_its_last() {
        let (mut frames, sample) = (Frames::default(), b"id: 1\ndata: {}\n\n");
        let told: Vec<usize> = sample.iter().map(|byte| frames.whole(&[*byte]).len()).collect();
        assert_eq!((told.iter().sum::<usize>(), told.last()), (sample.len(), Some(&sample.len())));
        frames.whole(&vec![b'x'; EVENT_BYTES_MAX]);
        assert!(!frames.is_too_long());
        frames.whole(b"x");
        assert!(frames.is_too_long());
    }
}
