//! One table for all stores: what can be done with objects, and what is said of those that are not well.

mod kit;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kit::Store;
use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_objects::{Bounds, Fault, Objects, Shelves, SnapshotError, Snapshots, key};

/// Nothing here waits for anything: what takes longer hangs.
const SOON: Duration = Duration::from_secs(20);

const REPORT: &[u8] = b"a report of some length";

/// More than an artifact may have in these tests.
const ONE_MAX: u64 = 1_000;

fn shelves(objects: &Objects) -> Shelves {
    Shelves::new(objects.clone(), Bounds { bytes_max: 100_000, files_max: 100, one_max: ONE_MAX })
}

#[tokio::test]
async fn what_is_written_is_there_until_it_is_removed() {
    for store in Store::all().await {
        let (name, objects) = (store.name, &store.objects);
        assert!(objects.list("a").await.expect(name).is_empty(), "{name}");
        objects.put("a/one", Bytes::from_static(b"1")).await.expect(name);
        objects.put("a/one", Bytes::from_static(b"one")).await.expect(name);
        objects.put("ab/two", Bytes::from_static(b"two")).await.expect(name);
        assert_eq!(objects.get("a/one", 3).await.expect(name), "one", "{name}");
        assert_eq!(objects.get_part("a/one", 1, 2).await.expect(name), "ne", "{name}");
        for (first, len) in [(1, 5), (3, 1), (9, 2)] {
            let part = objects.get_part("a/one", first, len).await;
            assert!(matches!(part, Err(Fault::Missing)), "{name}: {first} {len}: {part:?}");
        }
        assert!(matches!(objects.get("a/one", 2).await, Err(Fault::TooLarge { max: 2 })), "{name}");
        assert!(matches!(objects.get("a/two", 2).await, Err(Fault::Missing)), "{name}");
        objects.copy("a/one", "a/b/copy", 3).await.expect(name);
        assert!(matches!(objects.copy("a/none", "a/b/none", 3).await, Err(Fault::Missing)), "{name}");
        let mut found: Vec<_> =
            objects.list("a").await.expect(name).into_iter().map(|it| (it.key, it.bytes, it.is_object)).collect();
        found.sort();
        assert_eq!(found, [("a/b/copy".to_owned(), 3, true), ("a/one".to_owned(), 3, true)], "{name}");
        objects.remove(["a/one".to_owned(), "a/one".to_owned()]).await.expect(name);
        objects.remove_below("a").await.expect(name);
        assert!(objects.list("a").await.expect(name).is_empty(), "{name}");
        assert_eq!(objects.list("ab").await.expect(name).len(), 1, "{name}");
        objects.probe("me").await.expect(name);
        assert_eq!(objects.counted().failed, 0, "{name}");
    }
}

/// What happened to an object.
type Misfortune = fn(Bytes) -> Option<Bytes>;

const MISFORTUNES: [(&str, Misfortune); 6] = [
    ("gone", |_| None),
    ("cut", |bytes| Some(bytes.slice(..bytes.len() / 2))),
    ("empty", |_| Some(Bytes::new())),
    ("longer", |bytes| Some([&bytes[..], b"!"].concat().into())),
    ("huge", |_| Some(vec![b'x'; 20_000].into())),
    ("garbled", |bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Some(bytes.into())
    }),
];

/// Has it happen to the object.
async fn happens(objects: &Objects, key: &str, misfortune: Misfortune) -> Bytes {
    let whole = objects.get(key, 1 << 20).await.expect("it is there");
    match misfortune(whole.clone()) {
        Some(bytes) => objects.put(key, bytes).await.expect("written"),
        None => objects.remove([key.to_owned()]).await.expect("removed"),
    }
    whole
}

#[tokio::test]
async fn an_artifact_that_is_not_well_is_said_to_be_gone_or_damaged_and_never_given_out() {
    for store in Store::all().await {
        let shelves = shelves(&store.objects);
        let sha256 = shelves.put("place", Bytes::from_static(REPORT)).await.expect(store.name);
        let key = key("place", &sha256);
        for (case, misfortune) in MISFORTUNES {
            let case = format!("{}: {case}", store.name);
            let whole = happens(&store.objects, &key, misfortune).await;
            let mut file = tempfile::tempfile().expect("a file");
            let given = shelves.get("place", &sha256).await.map(drop);
            let read = shelves.read_into("place", &sha256, &mut file).await;
            for fault in [given, read] {
                let fault = fault.expect_err(&case);
                let is_gone = matches!(fault, Fault::Missing);
                assert_eq!(is_gone, case.ends_with("gone"), "{case}: {fault:?}");
                assert!(is_gone || matches!(fault, Fault::Damaged(_)), "{case}: {fault:?}");
            }
            // Nobody who comes anew believes what is there, unless it has the right size.
            let anew = self::shelves(&store.objects);
            anew.put("place", Bytes::from_static(REPORT)).await.expect(&case);
            let healed = anew.get("place", &sha256).await;
            assert_eq!(healed.is_ok(), !case.ends_with("garbled"), "{case}: {healed:?}");
            store.objects.put(&key, whole).await.expect(&case);
            assert_eq!(anew.get("place", &sha256).await.expect(&case), REPORT, "{case}");
        }
        assert_eq!(store.objects.counted().failed, 0, "{}: none of it was that the store is away", store.name);
    }
}

async fn snapshot(snapshots: &Snapshots, chunk: &[u8]) -> Digest {
    let mut line = snapshots.line("w").await.expect("looked at");
    let mut draft = snapshots.draft(&mut line);
    let digest = draft.put(chunk).await.expect("put");
    draft.finish(json!([digest.to_string()])).await.expect("written");
    digest
}

#[tokio::test]
async fn a_snapshot_that_is_not_well_is_said_with_its_object_and_is_begun_anew_by_who_says_so() {
    for store in Store::all().await {
        let snapshots = Snapshots::new(store.objects.clone(), "one".to_owned(), "one".to_owned());
        for part in ["packs", "log"] {
            for (case, misfortune) in MISFORTUNES {
                let case = format!("{}: {part}: {case}", store.name);
                store.objects.remove_below("workspaces").await.expect(&case);
                let digest = snapshot(&snapshots, REPORT).await;
                // Another one has taken it over: a list is spoken of by a claim.
                let other = Snapshots::new(store.objects.clone(), "two".to_owned(), "two".to_owned());
                let mut line = other.line("w").await.expect(&case);
                other.claim(&mut line).await.expect(&case);
                let key = store.objects.list(&format!("workspaces/w/{part}")).await.expect(&case);
                let key = key.into_iter().map(|found| found.key).min().expect("one");
                let whole = happens(&store.objects, &key, misfortune).await;
                let mut line = other.line("w").await.expect(&case);
                let read = match line.damage() {
                    Some(why) => Err(SnapshotError::Damaged(why.to_owned())),
                    None => other.read(&line, &HashSet::from([digest]), |_, _| Ok(())).await,
                };
                // What is behind the end of a pack is of no use, and no harm.
                if (part, case.ends_with("longer")) == ("packs", true) {
                    read.expect(&case);
                    continue;
                }
                let Err(SnapshotError::Damaged(why)) = read else { panic!("{case}: {read:?}") };
                assert!(why.contains(&key) && why.starts_with(store.objects.place()), "{case}: {why}");
                // It is put back; or it is given up.
                store.objects.put(&key, whole).await.expect(&case);
                let well = other.line("w").await.expect(&case);
                other.read(&well, &HashSet::from([digest]), |_, _| Ok(())).await.expect(&case);
                other.give_up(&mut line).await.expect(&case);
                let empty = snapshots.line("w").await.expect(&case);
                assert_eq!((empty.files(), empty.damage()), (Some(&json!([])), None), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn of_all_who_create_an_object_one_does_where_the_store_can_tell() {
    for store in Store::all().await {
        let (name, objects) = (store.name, &store.objects);
        // Not all servers that speak as S3 does heed that something is to be written only where nothing is.
        let gives_once = objects.gives_once("me").await;
        assert!(matches!(gives_once, Ok(()) | Err(Fault::Odd(_))), "{name}: {gives_once:?}");
        assert!(objects.list("probe").await.expect(name).is_empty(), "{name}");
        let create = |no: u8| async move { objects.create("x/1", Bytes::from(vec![no])).await.map(|()| no) };
        let all = futures_util::future::join_all((0..16).map(create)).await;
        let (made, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|one| matches!(one, Err(Fault::Taken))), "{name}: {refused:?}");
        let there = objects.get("x/1", 1).await.expect(name);
        assert!(made.iter().any(|one| matches!(one, Ok(no) if there == vec![*no])), "{name}: {made:?}");
        // s3s-fs looks, and writes then: whoever comes in between is not seen.
        assert!(name == "s3s-fs" || gives_once.is_ok() && made.len() == 1, "{name}: {made:?} {gives_once:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_and_keys_that_are_not_taken_are_a_store_that_is_away() {
    for store in Store::all().await {
        let Some(shared) = store.config.shared.clone().filter(|shared| shared.starts_with("s3:")) else { continue };
        let mut config = store.config.clone();
        // moto takes any keys; s3s-fs has folders for buckets, makes each with the first object, and misses only the object.
        let faults = if store.name == "s3s-fs" {
            config.secret_access_key = config.access_key_id.clone();
            let objects = Objects::open(&config).expect("a store").expect("one is named");
            vec![objects.get("a", 1).await.map(drop).expect_err(store.name)]
        } else {
            config.shared = Some(shared.replace("factory", "nowhere"));
            let objects = Objects::open(&config).expect("a store").expect("one is named");
            vec![
                objects.get("a", 1).await.map(drop).expect_err(store.name),
                objects.put("a", Bytes::from_static(b"a")).await.expect_err(store.name),
            ]
        };
        for fault in faults {
            assert!(fault.may_pass(), "{}: {fault:?}", store.name);
        }
    }
}

/// Makes something at a path, with room of its own elsewhere.
type Makes = fn(&Path, &Path);

/// What lies in the place of an object of a folder.
const ODDITIES: [(&str, Makes); 6] = [
    ("a folder", |path, _| std::fs::create_dir(path).expect("made")),
    ("a link", |path, aside| std::os::unix::fs::symlink(aside, path).expect("made")),
    ("a link to nowhere", |path, _| std::os::unix::fs::symlink("nowhere", path).expect("made")),
    ("a link to a device", |path, _| std::os::unix::fs::symlink("/dev/zero", path).expect("made")),
    ("a pipe", |path, _| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("made");
    }),
    ("a socket", |path, _| drop(std::os::unix::net::UnixListener::bind(path).expect("made"))),
];

#[tokio::test]
async fn what_lies_in_the_place_of_an_object_is_neither_waited_for_nor_followed_nor_written_through() {
    let store = Store::folder();
    let (objects, root) = (&store.objects, store.folder.as_deref().expect("a folder"));
    let outside = tempfile::tempdir().expect("a folder");
    let aside = outside.path().join("aside");
    for (case, put) in ODDITIES {
        let does = async {
            objects.put("a/one", Bytes::from_static(REPORT)).await.expect(case);
            std::fs::rename(root.join("a/one"), &aside).expect("moved");
            put(&root.join("a/one"), &aside);
            for fault in [
                objects.get("a/one", ONE_MAX).await.map(drop).expect_err(case),
                objects.get_part("a/one", 0, 3).await.map(drop).expect_err(case),
                objects.copy("a/one", "a/two", ONE_MAX).await.expect_err(case),
            ] {
                let said = fault.to_string();
                let named = case.split(" to ").next().unwrap_or(case);
                assert!(matches!(fault, Fault::Odd(_)) && said.contains(named), "{case}: {fault:?}");
            }
            assert!(matches!(objects.create("a/one", Bytes::from_static(b"x")).await, Err(Fault::Taken)), "{case}");
            // Of what is no folder an object takes the place, and nothing is written through it.
            let written = objects.put("a/one", Bytes::from_static(b"new")).await;
            if case == "a folder" {
                assert!(matches!(written, Err(Fault::Odd(_))), "{case}: {written:?}");
                std::fs::remove_dir(root.join("a/one")).expect("it is empty");
            } else {
                written.expect(case);
                assert_eq!(objects.get("a/one", ONE_MAX).await.expect(case), "new", "{case}");
            }
            assert_eq!(std::fs::read(&aside).expect("there"), REPORT, "{case}");
            // What is removed goes with all that lies in places of objects.
            objects.put("a/one", Bytes::from_static(b"new")).await.expect(case);
            put(&root.join("a/odd"), &aside);
            objects.remove_below("a").await.expect(case);
            assert!(objects.list("a").await.expect(case).is_empty(), "{case}");
            let _ = std::fs::remove_dir(root.join("a/odd"));
            assert_eq!(std::fs::read(&aside).expect("there"), REPORT, "{case}");
        };
        tokio::time::timeout(SOON, does).await.unwrap_or_else(|_| panic!("{case}: it is waited for"));
    }
    assert_eq!(objects.counted().failed, 0, "none of it was that the store is away");
}

#[tokio::test]
async fn what_lies_in_the_place_of_a_folder_on_the_way_is_said() {
    let store = Store::folder();
    let (objects, root) = (&store.objects, store.folder.as_deref().expect("a folder"));
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("one"), REPORT).expect("written");
    for (case, put) in ODDITIES.into_iter().filter(|(case, _)| *case != "a folder") {
        let does = async {
            put(&root.join("a"), outside.path());
            for fault in [
                objects.get("a/one", ONE_MAX).await.map(drop).expect_err(case),
                objects.put("a/one", Bytes::from_static(b"x")).await.expect_err(case),
                objects.list("a").await.map(drop).expect_err(case),
                objects.remove(["a/one".to_owned()]).await.expect_err(case),
            ] {
                let said = fault.to_string();
                assert!(matches!(fault, Fault::Odd(_)) && said.starts_with("`a` is "), "{case}: {fault:?}");
            }
            std::fs::remove_file(root.join("a")).expect("removed");
        };
        tokio::time::timeout(SOON, does).await.unwrap_or_else(|_| panic!("{case}: it is waited for"));
    }
    assert_eq!(std::fs::read(outside.path().join("one")).expect("there"), REPORT);
}
