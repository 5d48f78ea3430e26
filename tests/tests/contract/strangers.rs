//! The command line against what is no node: nothing that answers is taken for a page, a mission or a stream that is empty.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use sortie_tests::envelope::writing;
use sortie_tests::{Node, binary};

/// Answers everybody with the same, for as long as the test runs.
fn stranger(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its own"));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let _ = connection.read(&mut [0; 16 << 10]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    url
}

/// How a command ends at that address, and what it says.
fn said(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mission.json"), writing("m").to_string()).expect("writable");
    std::fs::write(folder.path().join("p.wasm"), "x").expect("writable");
    let mut command = std::process::Command::new(binary());
    command.args(arguments).args(["--node", url, "--token", "x"]).current_dir(folder.path());
    let output = command.output().expect("the binary starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), said)
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const PAGE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<h1>Hello.</h1>";
const JSON: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"ok\":true}";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n\
                      <h1>Absent</h1>";

#[test]
fn what_is_no_node_is_never_taken_for_one() {
    let commands: [&[&str]; 18] = [
        &["ls"],
        &["show", "m"],
        &["watch", "m"],
        &["journal", "m"],
        &["artifacts", "m"],
        &["artifacts", "m", "--get", "a"],
        &["cancel", "m"],
        &["replay", "m"],
        &["requests"],
        &["deliveries"],
        &["approve", "m", "r1"],
        &["deny", "m", "r1"],
        &["answer", "m", "r1", "yes"],
        &["submit", "mission.json"],
        &["plugin", "ls"],
        &["plugin", "install", "p.wasm"],
        &["plugin", "rm", "p"],
        &["tool", "ls"],
    ];
    for answer in [EMPTY, PAGE, JSON, ABSENT] {
        let url = stranger(answer);
        for arguments in commands {
            let (code, said) = said(&url, arguments);
            assert_eq!(code, Some(6), "{arguments:?}: {said}");
            let expected = format!("what answers at {url}/ is no Sortie node");
            assert!(said.contains(&expected), "{arguments:?}, {answer:?}: {said}");
        }
        let (code, said) = said(&url, &["doctor"]);
        assert!(code == Some(1) && said.contains("is no Sortie node"), "{said}");
    }
    // What a tool returns may be any JSON.
    for answer in [EMPTY, PAGE, ABSENT] {
        let (code, said) = said(&stranger(answer), &["tool", "call", "Read", "{}"]);
        assert!(code == Some(6) && said.contains("is no Sortie node"), "{said}");
    }
}

#[tokio::test]
async fn an_address_that_is_wrong_is_told_as_what_it_is() {
    let node = Node::start().await;
    let secured = node.url().replace("http://", "https://");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its own");
    for (url, expected) in [
        (secured, format!("a node itself speaks plain http: write {}", node.url())),
        (format!("http://{free}"), "is `sortie serve` running?".to_owned()),
        (stranger("SSH-2.0-OpenSSH_9.2\r\n"), "does not speak as a node does".to_owned()),
        ("http://no.such.host.invalid".to_owned(), "cannot be reached".to_owned()),
    ] {
        for arguments in [&["ls"][..], &["submit", "mission.json"], &["watch", "m"]] {
            let (code, said) = said(&url, arguments);
            assert!(code == Some(6) && said.contains(&expected), "{url}, {arguments:?}: {said}");
        }
    }
}
