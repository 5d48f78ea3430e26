//! Makes a journal of many missions out of one: `multiply JOURNAL COUNT`.
//!
//! For the benchmarks, which measure a node that keeps a million missions: the file is filled through the journal as a node fills it,
//! without running anything. The last mission of the file is the pattern; each copy has an id and a key of its own, and one of ten
//! thousand VPs. Nothing else is changed, and no node may have the file open.

#![expect(clippy::print_stdout, reason = "what was done is this program's data")]

use std::error::Error;
use std::path::PathBuf;

use sortie_contract::id::IdempotencyKey;
use sortie_contract::{MissionId, MissionNo, Record, Stamped, VpId};
use sortie_journal::{Append, Head, Journal, Options, WriteError};

/// How many VPs the copies are of.
const VPS: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path: PathBuf = arguments.next().ok_or("which journal?")?.into();
    let count: u64 = arguments.next().and_then(|count| count.to_str()?.parse().ok()).ok_or("how many missions?")?;
    let (journal, opened) = Journal::open(&path, &Options::default())?;
    let last = opened.last_no;
    let head = journal.head(last)?.ok_or("there is no mission to copy")?;
    let records = journal.read(last)?;
    for no in last.0 + 1..=last.0 + count {
        let (head, records) = copy(&head, &records, no)?;
        let append = Append::new(MissionNo(no), 0, &records).head(&head);
        while let Err(error) = journal.append(append.clone()) {
            match error {
                // The newest commit makes room.
                WriteError::Overloaded => std::thread::yield_now(),
                error => return Err(error.into()),
            }
        }
    }
    journal.append_durable(Append::new(last, 0, &[]).head(&head))?.wait()?;
    journal.close()?;
    println!("{count} missions were added to {}", path.display());
    Ok(())
}

/// The pattern under another name.
fn copy(head: &Head, records: &[Stamped], no: u64) -> Result<(Head, Vec<Stamped>), Box<dyn Error>> {
    let mut copied = head.clone();
    copied.mission_id = MissionId::new(format!("kept-{no}"))?;
    copied.idempotency_key = IdempotencyKey::new(format!("kept-{no}"))?;
    copied.vp = VpId::new(format!("vp.kept-{}", no % VPS))?;
    let mut records = records.to_vec();
    let Some(Record::Accepted(accepted)) = records.first_mut().map(|first| &mut first.record) else {
        return Err("a mission begins with its acceptance".into());
    };
    let quoted = |text: &str| format!("\"{text}\"");
    for (before, after) in [
        (head.mission_id.as_str(), copied.mission_id.as_str()),
        (head.idempotency_key.as_str(), copied.idempotency_key.as_str()),
        (head.vp.as_str(), copied.vp.as_str()),
    ] {
        accepted.envelope = accepted.envelope.replace(&quoted(before), &quoted(after));
    }
    Ok((copied, records))
}
