//! Snapshots by several writers, of whom some are thought dead.

use serde_json::{Value, json};

use super::*;
use crate::ArtifactConfig;

fn objects(dir: &std::path::Path) -> Objects {
    let config = ArtifactConfig { shared: Some(format!("file://{}", dir.display())), ..ArtifactConfig::default() };
    Objects::open(&config).expect("a store").expect("one is named")
}

fn writer(dir: &std::path::Path, name: &str) -> Snapshots {
    Snapshots::new(objects(dir), name.to_owned(), name.to_owned())
}

async fn write(snapshots: &Snapshots, line: &mut Line, chunks: &[&str]) -> Result<(), SnapshotError> {
    let mut draft = snapshots.draft(line);
    let mut digests = Vec::new();
    for chunk in chunks {
        digests.push(draft.put(chunk.as_bytes()).await?.to_string());
    }
    draft.finish(json!(digests)).await
}

/// The chunks of what holds.
async fn read(snapshots: &Snapshots) -> Vec<String> {
    let line = snapshots.line("w").await.expect("read");
    let Some(Value::Array(digests)) = line.files() else { return Vec::new() };
    let digests: Vec<Digest> =
        digests.iter().map(|digest| digest.as_str().and_then(|text| text.parse().ok()).expect("a digest")).collect();
    let mut found = HashMap::new();
    let each = |digest: &Digest, bytes: &[u8]| {
        found.insert(*digest, String::from_utf8_lossy(bytes).into_owned());
        Ok(())
    };
    snapshots.read(&line, &digests.iter().copied().collect(), each).await.expect("all of it");
    digests.iter().map(|digest| found[digest].clone()).collect()
}

#[tokio::test]
async fn what_has_not_changed_is_not_written_again_and_what_is_of_no_use_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = writer(dir.path(), "one");
    let mut line = one.line("w").await.expect("nothing there");
    assert!((line.tip(), line.files()) == (0, None));
    write(&one, &mut line, &["a", "b", "b"]).await.expect("written");
    assert_eq!(read(&one).await, ["a", "b", "b"]);
    let written = one.objects.counted().written;
    write(&one, &mut line, &["a", "c"]).await.expect("written");
    assert_eq!(one.objects.counted().written, written + 2, "a pack and a list");
    assert_eq!(read(&one).await, ["a", "c"]);
    write(&one, &mut line, &["c"]).await.expect("written");
    assert_eq!(read(&writer(dir.path(), "two")).await, ["c"]);
    let keys: Vec<String> =
        one.objects.list("workspaces").await.expect("listed").into_iter().map(|it| it.key).collect();
    assert_eq!(keys.len(), 2, "the newest, and the one pack that it needs: {keys:?}");
    // So it is for whoever comes later and knows nothing of that.
    let mut line = one.line("w").await.expect("there");
    write(&one, &mut line, &[]).await.expect("written");
    assert_eq!(read(&one).await, [""; 0]);
    assert_eq!(one.objects.list("workspaces/w/packs").await.expect("listed"), []);
}

#[tokio::test]
async fn a_writer_that_was_thought_dead_writes_nothing_more_however_long_it_slept() {
    let dir = tempfile::tempdir().expect("a folder");
    for slept in [0, 1, 20] {
        let place = tempfile::tempdir_in(&dir).expect("a folder");
        let (one, two) = (writer(place.path(), "one"), writer(place.path(), "two"));
        let mut old = one.line("w").await.expect("nothing there");
        write(&one, &mut old, &["a"]).await.expect("written");
        let mut new = two.line("w").await.expect("there");
        two.claim(&mut new).await.expect("nobody else does");
        for round in 0..slept {
            write(&two, &mut new, &["a", &round.to_string()]).await.expect("written");
        }
        let before = read(&two).await;
        for _ in 0..2 {
            let late = write(&one, &mut old, &["late"]).await;
            assert!(matches!(late, Err(SnapshotError::TakenOver)), "{slept}: {late:?}");
        }
        assert!(matches!(one.claim(&mut old).await, Err(SnapshotError::TakenOver)));
        assert_eq!(read(&two).await, before);
        write(&two, &mut new, &["b"]).await.expect("it goes on");
        // It may come again, as whoever comes.
        let mut again = one.line("w").await.expect("there");
        one.claim(&mut again).await.expect("taken over");
        write(&one, &mut again, &["b", "c"]).await.expect("written");
        assert_eq!(read(&two).await, ["b", "c"]);
        assert!(matches!(write(&two, &mut new, &["x"]).await, Err(SnapshotError::TakenOver)));
    }
}

#[tokio::test]
async fn of_all_who_take_a_folder_over_one_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = writer(dir.path(), "first");
    let mut line = first.line("w").await.expect("nothing there");
    write(&first, &mut line, &["a"]).await.expect("written");
    let take = |no: usize| {
        let writer = writer(dir.path(), &format!("w{no}"));
        async move {
            let mut line = writer.line("w").await.expect("there");
            tokio::task::yield_now().await;
            let claimed = writer.claim(&mut line).await;
            claimed.map(|()| (line.tip(), no))
        }
    };
    let all = futures_util::future::join_all((0..8).map(take)).await;
    let mut tips: Vec<u64> = all.iter().filter_map(|one| one.as_ref().ok()).map(|(tip, _)| *tip).collect();
    tips.sort_unstable();
    let distinct: HashSet<u64> = tips.iter().copied().collect();
    assert_eq!(distinct.len(), tips.len(), "a number is given once: {tips:?}");
    assert!(!tips.is_empty() && all.iter().all(|one| !matches!(one, Err(SnapshotError::Damaged(_)))));
    assert_eq!(read(&first).await, ["a"], "and what it had is there");
}

#[tokio::test]
async fn an_attempt_whose_answer_was_lost_is_known_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = writer(dir.path(), "one");
    let mut line = one.line("w").await.expect("nothing there");
    write(&one, &mut line, &["a"]).await.expect("written");
    // As if the answer to what comes now had not come.
    let (tip, newest) = (line.tip, line.newest.clone());
    write(&one, &mut line, &["a", "b"]).await.expect("written");
    (line.tip, line.newest) = (tip, newest);
    write(&one, &mut line, &["a", "b"]).await.expect("the same again");
    assert_eq!((line.tip(), read(&one).await), (tip + 1, vec!["a".to_owned(), "b".to_owned()]));
    line.tip = tip;
    write(&one, &mut line, &["c"]).await.expect("another, behind it");
    assert_eq!((line.tip(), read(&one).await), (tip + 2, vec!["c".to_owned()]));
    assert_eq!(one.objects.list("workspaces/w/log").await.expect("listed").len(), 1);
}

#[tokio::test]
async fn what_is_damaged_is_never_handed_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = writer(dir.path(), "one");
    let mut line = one.line("w").await.expect("nothing there");
    write(&one, &mut line, &["aaaa"]).await.expect("written");
    let wanted = HashSet::from([Digest::of(b"aaaa")]);
    let pack = one.objects.list("workspaces/w/packs").await.expect("listed").remove(0).key;
    for bytes in ["aaba", "aaa", ""] {
        one.objects.put(&pack, bytes.into()).await.expect("written");
        let read = one.read(&line, &wanted, |_, _| panic!("handed out")).await;
        assert!(matches!(read, Err(SnapshotError::Damaged(_))), "{bytes}: {read:?}");
    }
    one.objects.remove([pack]).await.expect("removed");
    assert!(matches!(one.read(&line, &wanted, |_, _| Ok(())).await, Err(SnapshotError::Damaged(_))));
    let whole = one.objects.get(&entry_key("w", 1), ENTRY_BYTES_MAX).await.expect("read");
    // Such as was written before lists had a digest behind them, and what only looks well.
    let plain = sealed(&whole).expect("whole").to_vec();
    let mut other = whole.to_vec();
    let at = whole.windows(8).position(|part| part == b"\"writer\"").expect("a name") + 10;
    other[at] = b'x';
    let future: &[u8] = b"{\"format\": 2, \"writer\": \"\", \"node\": \"\"}";
    for (text, is_well) in [
        (&whole[..], true),
        (&plain, true),
        (&other, false),
        (b"", false),
        (b"\n", false),
        (b"{}", false),
        (future, false),
    ] {
        one.objects.put(&entry_key("w", 1), text.to_vec().into()).await.expect("written");
        let line = one.line("w").await.expect("looked at");
        let said = (line.damage().is_none(), line.files().is_some(), line.tip());
        assert_eq!(said, (is_well, is_well, 1), "{}", String::from_utf8_lossy(text));
    }
}
