//! What an honest command does.

use serde_json::json;
use sortie_contract::tool::{CallError, Repeat};
use sortie_tools::{BuiltIn, SecretsConfig, ToolsConfig};

use crate::world::{World, shell};

#[tokio::test]
async fn it_is_off_until_it_is_enabled() {
    for config in [json!({}), json!({"Bash": {}}), json!({"Bash": {"enabled": false, "processes": 9}})] {
        let config: ToolsConfig = serde_json::from_value(config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (_, confinement) = BuiltIn::with_shell(config, &SecretsConfig::default(), shell(dir.path())).await.unwrap();
        assert!(confinement.is_none());
    }
}

#[tokio::test]
async fn a_command_has_a_result_and_says_what_it_is() {
    let world = World::new().await;
    let info = world.toolbox.info("bash").unwrap();
    assert_eq!((info.repeat(), info.effects[0].0.as_str()), (Repeat::Effectful, "destructive_local_ops"));
    assert!(world.confinement.to_string().contains("namespaces"), "{}", world.confinement);
    let ran = world.run("echo out; echo err >&2; exit 3").await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (3, "out\n", "err\n"));
    assert_eq!(
        ran.answer,
        json!({"exit_code": 3, "stdout": "out\n", "stderr": "err\n", "truncated": false, "timed_out": false})
    );
    assert_eq!(world.run("kill -TERM $$").await.code, 143);
}

#[tokio::test]
async fn it_works_in_the_workspace_with_the_programs_of_the_system() {
    let world = World::new().await;
    std::fs::write(world.mine().join("in.txt"), "b\na\n").unwrap();
    let ran = world
        .run("set -e; pwd; sort in.txt > out.txt; mkdir -p deep/er; perl -e 'print \"perl\\n\"' > deep/er/p; cat <(echo sub); mkfifo f; ls /proc/self/fd | wc -l; echo $HOME $TMPDIR; touch /tmp/x; umask; df /dev/shm | tail -n1 | cut -d' ' -f1")
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "/workspace\nsub\n4\n/workspace /tmp\n0077\ntmpfs\n");
    assert_eq!(world.file("out.txt"), "a\nb\n");
    assert_eq!(world.file("deep/er/p"), "perl\n");
    // The next one has another `/tmp`.
    assert_eq!(world.run("ls -A /tmp").await.stdout, "");
}

#[tokio::test]
async fn its_environment_is_what_the_configuration_says_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "s3cr3t-value\n").unwrap();
    let secret = format!("file://{}", file.display());
    let world = World::with(json!({"env": {"PLAIN": "yes", "LANG": "C", "SECRET": secret}})).await;
    let ran = world.run("env | sort; echo \"[$SECRET]\" >&2; printf s3cr3t; sleep 0.2; echo -- -value").await;
    let names: Vec<&str> = ran.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["HOME", "LANG", "PATH", "PLAIN", "PWD", "SECRET", "SHLVL", "TERM", "TMPDIR", "_"]);
    assert!(ran.stdout.contains("\nSECRET=***\n") && ran.stdout.contains("\nLANG=C\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "[***]\n");
    assert!(!ran.answer.to_string().contains("s3cr3t-value"), "{ran:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_told() {
    let world = World::with(json!({"timeout": "1s", "timeout_max": "5s"})).await;
    for (arguments, expected) in [
        (json!({}), "command"),
        (json!({"command": ""}), "command"),
        (json!({"command": "true", "cwd": "/"}), "cwd"),
        (json!({"command": "true", "timeout_ms": 5_001}), "5000 ms"),
        (json!({"command": "x\0y"}), "NUL"),
        (json!({"command": "x".repeat(120_001)}), "120000"),
    ] {
        match world.call(&arguments).await {
            Err(CallError::InvalidArguments(told)) => assert!(told.contains(expected), "{told}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let long = format!("# {}\necho long", "x".repeat(119_000));
    assert_eq!(world.run_for(&long, 5_000).await.stdout, "long\n");
}

#[tokio::test]
async fn files_that_it_wrote_are_told_and_others_are_not() {
    let world = World::new().await;
    std::fs::write(world.mine().join("old.txt"), "old").unwrap();
    std::fs::write(world.mine().join("same.txt"), "same").unwrap();
    let ran = world
        .run(
            "mkdir d; echo new > d/new.txt; echo more >> old.txt; cat same.txt; chmod 600 same.txt; ln -s old.txt link",
        )
        .await;
    assert_eq!(ran.wrote, ["old.txt", "d/new.txt"], "{ran:?}");
    assert_eq!(world.run("mv old.txt moved.txt; rm d/new.txt").await.wrote, ["moved.txt"]);
    assert_eq!(world.run("true").await.wrote, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (keys, expected) in [
        (json!({"network": "hosts", "hosts": ["a.example"]}), "this version gives commands no network"),
        (json!({"read": [dir.path()]}), "data folder"),
        (json!({"write": ["/proc"]}), "no command is given"),
        (json!({"allow_private": ["127.0.0.1"]}), "WebFetch"),
    ] {
        let mut keys = keys;
        keys["enabled"] = json!(true);
        let config: ToolsConfig = serde_json::from_value(json!({"Bash": keys})).unwrap();
        let told = BuiltIn::with_shell(config, &SecretsConfig::default(), shell(dir.path()))
            .await
            .err()
            .expect("refused")
            .to_string();
        assert!(told.contains(expected), "{told}");
    }
    let config: ToolsConfig = serde_json::from_value(json!({"Read": {"processes": 9}})).unwrap();
    assert!(BuiltIn::new(config).err().unwrap().to_string().contains("[tool.Bash] only"));
}

#[tokio::test]
async fn without_a_program_that_confines_the_node_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["/bin/false", "/not/there"] {
        let config: ToolsConfig = serde_json::from_value(json!({"Bash": {"enabled": true}})).unwrap();
        let shell = sortie_tools::Shell { program: program.into(), ..shell(dir.path()) };
        let told =
            BuiltIn::with_shell(config, &SecretsConfig::default(), shell).await.err().expect("refused").to_string();
        assert!(told.contains("commands cannot be confined on this machine"), "{told}");
    }
}
