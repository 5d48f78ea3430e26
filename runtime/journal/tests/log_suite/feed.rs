//! Who reads the feed of all logs of a store: laws, and a reader that goes from log to log beside a random history.

use std::collections::BTreeMap;

use sortie_contract::MissionNo;
use sortie_journal::{Append, Bookmark, FeedEntry, FeedPart, Log, MemoryLog, ShareNo};

use super::fleet::{Kit, adopt, fleet, of_vp, take};
use super::stamped;

/// A reader, and what it was told.
#[derive(Default)]
pub(crate) struct Reader {
    bookmark: Bookmark,
    turn: usize,
    /// Of each mission, the number behind the last record that it was told of.
    ends: BTreeMap<MissionNo, u32>,
    /// By mission and first record.
    told: BTreeMap<(u64, u32), FeedEntry>,
}

impl Reader {
    /// Reads so many entries at most, of this log; how many came, and whether it is any further.
    pub(crate) fn reads(&mut self, log: &dyn Log, limit: usize) -> (usize, bool) {
        let parts = fleet(log).feed_parts().unwrap();
        assert_eq!(self.bookmark.is_beyond(&parts), None, "{} of {parts:?}", self.bookmark);
        let (entries, to) = self.bookmark.entries(fleet(log), &parts, limit, self.turn).unwrap();
        assert!(entries.len() <= limit);
        for entry in &entries {
            let end = self.ends.entry(entry.mission).or_default();
            assert!(entry.first >= *end, "{entry:?} comes when records up to {end} were told");
            *end = entry.first + entry.count;
            assert_eq!(self.told.insert((entry.mission.0, entry.first), *entry), None, "{entry:?} comes again");
        }
        // As whoever reads keeps it.
        let to: Bookmark = to.to_string().parse().unwrap();
        let is_further = to != self.bookmark;
        (self.bookmark, self.turn) = (to, self.turn + 1);
        (entries.len(), is_further)
    }

    /// Until there is nothing more.
    pub(crate) fn reads_all(&mut self, log: &dyn Log) {
        while self.reads(log, 3).1 {}
    }

    /// Nothing that is there was left out.
    pub(crate) fn has_all_of(&self, log: &dyn Log) {
        let parts = fleet(log).feed_parts().unwrap();
        for entry in parts.iter().flat_map(|part| of_part(log, part)) {
            assert_eq!(self.told.get(&(entry.mission.0, entry.first)), Some(&entry));
        }
    }
}

fn of_part(log: &dyn Log, part: &FeedPart) -> Vec<FeedEntry> {
    fleet(log).feed_between(part.share.floor(), part.end, usize::MAX).unwrap()
}

/// Both have the same parts, and the same is in them, whoever holds it.
pub(crate) fn agree(log: &dyn Log, model: &MemoryLog) {
    let parts = fleet(model).feed_parts().unwrap();
    assert_eq!(fleet(log).feed_parts().unwrap(), parts);
    for part in &parts {
        let entries = of_part(model, part);
        assert_eq!(of_part(log, part), entries, "{part:?}");
        for entry in &entries {
            let (after, read) = (entry.position, |log: &dyn Log| {
                let records = fleet(log).records(entry.mission, entry.first, usize::MAX).unwrap();
                // Of a mission that is gone there are none.
                records.into_iter().take(entry.count as usize).collect::<Vec<_>>()
            });
            assert_eq!(read(log), read(model), "{entry:?}");
            let few = |log: &dyn Log| fleet(log).feed_between(after, part.end, 2).unwrap();
            assert_eq!(few(log), few(model), "behind {after}");
        }
    }
}

fn tells(log: &dyn Log, no: MissionNo) {
    let next = u32::try_from(log.read_all(no, 0).unwrap().len()).unwrap();
    log.append_durable(Append::new(no, next, &[stamped("more")])).unwrap().wait().unwrap();
}

pub(crate) fn what_all_tell_is_told_once_and_in_order_whoever_is_asked(kit: &dyn Kit) {
    let logs = [0, 1, 2].map(|node| kit.open(node));
    let [a, b, c] = &logs;
    let (mut one, mut slow) = (Reader::default(), Reader::default());
    assert_eq!(one.reads(&**a, 9), (0, false), "nothing is there yet");
    let missions: Vec<MissionNo> = (0..).zip(&logs).map(|(n, log)| take(&**log, of_vp(n, n))).collect();
    for (log, no) in logs.iter().zip(&missions) {
        tells(&**log, *no);
    }
    for log in &logs {
        assert_eq!(one.reads(&**log, 2), (2, true), "each tells of all");
    }
    assert_eq!(slow.reads(&**c, 1), (1, true));
    tells(&**a, missions[0]);
    // The one with the greatest goes on with the first, and later the second with both.
    kit.silence(0);
    adopt(&**c, ShareNo(0)).unwrap();
    for _ in 0..3 {
        tells(&**c, missions[0]);
        assert_eq!(one.reads(&**b, 1).0, 1);
    }
    kit.silence(2);
    adopt(&**b, ShareNo(2)).unwrap();
    for (n, no) in missions.iter().enumerate() {
        tells(&**b, *no);
        assert!(slow.reads(&**b, 1 + n).1);
    }
    let late = take(&**b, of_vp(9, 9));
    for reader in [&mut one, &mut slow] {
        reader.reads_all(&**b);
        reader.has_all_of(&**b);
        let told: Vec<_> = missions.iter().chain([&late]).map(|no| reader.ends[no]).collect();
        assert_eq!(told, [7, 3, 3, 1]);
        assert_eq!(reader.reads(&**b, 9), (0, false), "nothing comes twice");
    }
    assert_eq!(one.bookmark, slow.bookmark, "whoever has read all is at the same place");
    assert!(one.bookmark.to_string().starts_with("f~0-1~2."), "{}", one.bookmark);
    kit.hears(0);
    kit.hears(2);
}

pub(crate) fn what_is_removed_leaves_a_gap_for_who_reads_all(kit: &dyn Kit) {
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let (gone, kept) = (take(&*a, of_vp(1, 1)), take(&*a, of_vp(2, 2)));
    tells(&*a, kept);
    let mut reader = Reader::default();
    a.remove(gone).unwrap();
    a.prune_feed_before(2).unwrap();
    a.barrier().unwrap().wait().unwrap();
    assert!(fleet(&*b).records(gone, 0, usize::MAX).unwrap().is_empty());
    assert_eq!(fleet(&*b).records(kept, 1, usize::MAX).unwrap().len(), 1);
    assert_eq!(reader.reads(&*b, 9), (2, true), "what is there");
    // All of it, behind whoever read before.
    a.prune_feed_before(9).unwrap();
    a.barrier().unwrap().wait().unwrap();
    let mut begins = Reader::default();
    assert_eq!(begins.reads(&*b, 9), (0, true), "it is told where the end is");
    assert_eq!((begins.reads(&*b, 9), reader.reads(&*b, 9)), ((0, false), (0, false)));
    assert_eq!(begins.bookmark, reader.bookmark);
    take(&*b, of_vp(3, 3));
    assert_eq!((begins.reads(&*a, 9).0, reader.reads(&*a, 9).0), (1, 1));
}
