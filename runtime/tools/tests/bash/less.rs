//! Where less confines a command: on a machine that allows no namespaces, and where an operator wants none of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sortie_tools::WorkspaceBounds;

use crate::outlive::{alive, mark};
use crate::world::{TOKEN, World};

const BOUNDS: WorkspaceBounds = WorkspaceBounds { bytes_max: 64 << 20, files_max: 2_000 };

/// The program that confines, on a machine (it sees no other) that allows nobody a namespace more.
fn without_namespaces(folder: &Path) -> PathBuf {
    let script = folder.join("program");
    let limits = "for limit in /proc/sys/user/max_*_namespaces; do echo 0 > $limit || exit 9; done";
    let text = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user sh -c '{limits}; exec \"$0\" \"$@\"' {} \"$@\"\n",
        env!("CARGO_BIN_EXE_sortie-confined")
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[tokio::test]
async fn a_machine_without_namespaces_is_refused_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let program = without_namespaces(folder.path());
    for keys in [json!({}), json!({"confine": "require"})] {
        let told = World::confined_by(&program, keys, BOUNDS).await.err().expect("refused");
        assert!(told.contains("commands cannot be confined on this machine: namespaces: unshare"), "{told}");
    }
    let keys = json!({"confine": "best_effort", "processes": 64});
    let told = World::confined_by(&program, keys, BOUNDS).await.err().expect("refused");
    assert!(told.contains("processes: it would have no effect here"), "{told}");
}

#[tokio::test]
async fn with_best_effort_it_takes_what_there_is_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let program = without_namespaces(folder.path());
    let world =
        World::confined_by(&program, json!({"confine": "best_effort", "memory_mib": 128}), BOUNDS).await.unwrap();
    let told = world.confinement.to_string();
    assert!(
        told.starts_with("commands are confined by Landlock") && told.contains("seccomp; missing: namespaces"),
        "{told}"
    );
    assert!(!world.confinement.is_whole());
    let data = world.data().display().to_string();
    let ran = world
        .run(&format!(
            "cat {data}/token ../other/secret.txt /etc/shadow /proc/{node}/environ; ls {data}; echo x > {data}/token; echo x > /etc/new; \
             (exec 3<>/dev/tcp/127.0.0.1/1); unshare -U true; echo own > own; cat own; perl -e '$x = \"x\" x (200 << 20)' || echo TRIED",
            node = std::process::id()
        ))
        .await;
    assert!(ran.stdout == "own\nTRIED\n" && !ran.stderr.contains(TOKEN), "{ran:?}");
    assert_eq!(fs::read_to_string(world.data().join("token")).unwrap(), TOKEN);
    for number in 400..405 {
        let mark = mark(number);
        let ran = world
            .run_for(
                &format!("setsid sleep {mark} & (sleep {mark} &); sleep 0.1; [ {number} = 404 ] && sleep 60"),
                1_000,
            )
            .await;
        assert_eq!((alive(&mark), ran.answer["timed_out"] == true), (0, number == 404), "{ran:?}");
    }
}

#[tokio::test]
async fn switched_off_it_confines_nothing_and_says_so() {
    let world = World::with(json!({"confine": "off"})).await;
    assert!(world.confinement.to_string().contains("not confined"), "{}", world.confinement);
    let ran = world.run("pwd; cat ../other/secret.txt").await;
    assert_eq!(ran.stdout, format!("{}\n{TOKEN}", fs::canonicalize(world.mine()).unwrap().display()));
    let mark = mark(500);
    world.run(&format!("setsid sleep {mark} & (sleep {mark} &)")).await;
    assert_eq!(alive(&mark), 0);
}
