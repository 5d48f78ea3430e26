//! What a command may take: memory, processes, disk, output, time. Whoever takes more is stopped, and told so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::json;
use sortie_tools::{NodeRoom, Workspace, WorkspaceBounds};

use crate::world::{Ran, World};

const BOUNDS: WorkspaceBounds = WorkspaceBounds { bytes_max: 32 << 20, files_max: 500 };

fn stopped(ran: &Ran, why: &str) {
    let told = ran.answer["stopped"].as_str().unwrap_or_else(|| panic!("not stopped: {}", ran.answer));
    assert!(told.contains(why) && ran.code == 137, "{why}: {}", ran.answer);
}

#[tokio::test]
async fn a_fork_bomb_is_stopped() {
    let world = World::with(json!({"processes": 64})).await;
    for bomb in
        [":(){ :|:& };: ; sleep 60", "while true; do sleep 60 & done", "while true; do (setsid sleep 60 &) ; done"]
    {
        let ran = world.run_for(bomb, 5_000).await;
        // Of an ordinary user's processes the kernel refuses the one that is too many; what tries on and on runs out of time.
        if rustix::process::geteuid().is_root() {
            stopped(&ran, "more than 64 processes");
        } else {
            assert!(ran.stderr.contains("Resource temporarily unavailable"), "{bomb}: {ran:?}");
        }
    }
    let ran = world.run("for i in $(seq 20); do sleep 0.1 & done; wait; echo fine").await;
    assert_eq!(ran.stdout, "fine\n", "{ran:?}");
}

#[tokio::test]
async fn memory_has_an_end_for_one_and_for_all_together() {
    let world = World::with(json!({"memory_mib": 128})).await;
    let ran = world.run("perl -e '$x = \"x\" x (200 << 20); print length $x'").await;
    assert!(ran.code != 0 && ran.stdout.is_empty(), "one process cannot even ask for it: {ran:?}");
    let ran = world.run("for i in 1 2 3 4 5; do perl -e '$x = \"x\" x (50 << 20); sleep 60' & done; wait").await;
    stopped(&ran, "128 MiB of memory");
    // Memory that is shared counts as nobody's own for the kernel's limits.
    let shared =
        "import mmap, time\nm = mmap.mmap(-1, 200 << 20)\nfor i in range(0, 200 << 20, 4096): m[i] = 1\ntime.sleep(60)";
    stopped(&world.run(&format!("/usr/bin/python3 -c '{shared}'")).await, "128 MiB of memory");
    let ran = world.run("head -c 200M /dev/zero > /tmp/full; stat -c %s /tmp/full").await;
    assert!(ran.stdout.trim().parse::<u64>().is_ok_and(|bytes| bytes <= 64 << 20), "a /tmp of half of it: {ran:?}");
    stopped(
        &world.run("head -c 60M /dev/zero > /tmp/a; perl -e '$x = \"x\" x (50 << 20); sleep 60'").await,
        "its /tmp included",
    );
}

#[tokio::test]
async fn a_workspace_that_is_filled_is_stopped() {
    for (name, command, why) in [
        ("one large file", "head -c 200M /dev/zero > large; echo $?; exit 3", ""),
        ("many large ones", "for i in $(seq 100); do head -c 4M /dev/zero > l$i; done; sleep 60", "32 MiB"),
        ("one that is large and empty", "truncate -s 1T sparse; exit 3", ""),
        ("two of them", "truncate -s 30M a b; sleep 60", "32 MiB"),
        (
            "what is set aside behind their ends",
            "touch a b c; for i in a b c; do fallocate -n -l 30M $i; done; sleep 60",
            "32 MiB",
        ),
        ("many small ones", "while true; do touch f$((n++)); done", "500 files"),
        ("many folders", "while true; do mkdir d$((n++)); done", "500 files"),
        ("in a folder that nobody can see into", "mkdir hid; cd hid; chmod 0 ../hid; sleep 60", "look into"),
        (
            "too deep to be seen",
            "while mkdir 0123456789012345678901234567890123456789012345678901234567890123456789; do cd 0*; done; sleep 60",
            "look into",
        ),
    ] {
        let world = World::bounded(json!({}), BOUNDS).await;
        // Root sees into every folder.
        if name == "in a folder that nobody can see into" && rustix::process::geteuid().is_root() {
            continue;
        }
        let ran = world.run(command).await;
        if why.is_empty() {
            assert!(
                ran.code == 3
                    && fs::read_dir(world.mine())
                        .unwrap()
                        .flatten()
                        .all(|file| file.metadata().unwrap().len() <= 32 << 20),
                "{name}: {ran:?}"
            );
        } else {
            stopped(&ran, why);
        }
        let hidden = world.mine().join("hid");
        if hidden.exists() {
            fs::set_permissions(hidden, fs::Permissions::from_mode(0o700)).unwrap();
        }
        // Who has too much may still make room.
        let ran = world.run("rm -rf *; ls -A").await;
        assert!(ran.code == 0 && ran.stdout.is_empty(), "{name}: {ran:?}");
        assert_eq!(world.run("head -c 20M /dev/zero > fits; ls").await.stdout, "fits\n", "{name}");
    }
}

/// A disk with so many bytes.
#[derive(Debug, Default)]
struct Room {
    taken: AtomicU64,
    is_full: std::sync::atomic::AtomicBool,
}

impl NodeRoom for Room {
    fn take(&self, bytes: u64) -> Result<(), String> {
        if self.is_full.load(Relaxed) {
            return Err("the disk of this node is nearly full".to_owned());
        }
        self.taken.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn give(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

#[tokio::test]
async fn the_node_knows_what_commands_wrote_and_its_disk_is_looked_after() {
    let mut world = World::new().await;
    let room = Arc::new(Room::default());
    world.workspace = Workspace::bounded(&world.mine(), BOUNDS, Arc::clone(&room) as _).unwrap();
    world.run("true").await;
    assert_eq!(room.taken.load(Relaxed), 0);
    world.run("head -c 3000 /dev/zero > a; head -c 2000 /dev/zero > b").await;
    assert_eq!(room.taken.load(Relaxed), 5_000);
    world.run("rm a; head -c 500 /dev/zero > b").await;
    assert_eq!(room.taken.load(Relaxed), 500);
    // A file that has no name takes the disk as well; nobody sees it, but that the disk is nearly full.
    room.is_full.store(true, Relaxed);
    stopped(&world.run("exec 3> gone; rm gone; sleep 60").await, "nearly full");
}

#[tokio::test]
async fn gigabytes_of_output_are_neither_kept_nor_waited_for() {
    let world = World::new().await;
    let ran = world.run("yes out & yes err >&2 & wait").await;
    stopped(&ran, "printed more than 256 MiB");
    assert_eq!(ran.answer["truncated"], true);
    assert!(ran.answer.to_string().len() < 1 << 20);
    let ran = world.run("seq 200000; echo end").await;
    assert!(
        ran.code == 0 && ran.stdout.starts_with("1\n2\n") && ran.stdout.ends_with("200000\nend\n"),
        "both ends are kept"
    );
    assert!(ran.stdout.contains("bytes are left out") && ran.answer["truncated"] == true);
    let ran = world.run("head -c 300000 /dev/urandom").await;
    assert!(ran.answer["truncated"] == true && !ran.stdout.is_empty(), "what is no text is text all the same");
}

#[tokio::test]
async fn time_is_up_whatever_a_command_ignores() {
    let world = World::new().await;
    for command in [
        "trap '' TERM INT HUP QUIT; while true; do sleep 1; done",
        "mkfifo f; cat f",
        "mkfifo f; exec 3<>f; read <&3",
        "sleep 1000 | cat",
        "kill -STOP $$",
        "while true; do true; done",
    ] {
        let ran = world.run_for(&format!("echo before; {command}"), 700).await;
        assert_eq!(
            (ran.code, &ran.answer["timed_out"], ran.stdout.as_str()),
            (137, &json!(true), "before\n"),
            "{command}"
        );
    }
}
