//! People are told while they are away: by webhook and by mail, in few messages, again behind a crash; and a link decides one request.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, writing};
use sortie_tests::{Answer, Node, Options, Receiver, Reply, http, until};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A channel to a receiver, with further lines.
fn channel(receiver: &Receiver, on: &str, rest: &str) -> Options {
    Options::new().config(&format!(
        "[node]\npublic_url = \"https://factory.example/\"\n\
         [[notify]]\nname = \"night\"\non = {on}\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\n{rest}",
        receiver.url()
    ))
}

/// A mission that fails at once.
fn failing(id: &str) -> Value {
    automation(id, &json!([{"id": "r", "tool": "Read", "with": {"path": "gone.txt"}}]))
}

/// A mission that asks before it writes.
fn asking(id: &str) -> Value {
    with(writing(id), "/constraints/approval_required", json!(["Write"]))
}

/// Waits until so many messages came, and gives them.
async fn messages(receiver: &Receiver, count: usize) -> Vec<Value> {
    let came = until(&format!("{count} messages"), async || {
        let came = receiver.received();
        (came.len() >= count).then_some(came)
    })
    .await;
    came.into_iter().map(|received| received.json).collect()
}

/// What a browser that knows nobody gets at the path of a link.
async fn follow(node: &Node, link: &str, form: Option<&[(&str, &str)]>) -> Answer {
    let path = link.strip_prefix("https://factory.example/").expect("a link of this node");
    let url = format!("{}/{path}", node.url().trim_end_matches('/'));
    let request = match form {
        None => http::client().get(url),
        Some(fields) => http::client()
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")),
    };
    http::send(request).await.expect("an answer")
}

#[tokio::test]
async fn a_link_leads_to_one_decision_and_is_used_up_with_it() {
    let receiver = Receiver::start().await;
    let node = channel(&receiver, r#"["blocked"]"#, "links = true\ngroup = \"1s\"").start().await;
    node.accept(&asking("asks")).await;
    node.until_status("asks", "blocked").await;
    let told = messages(&receiver, 1).await.remove(0);
    assert_eq!(told["title"], "factory-1: 1 request waits for people");
    let line = &told["sections"][0]["lines"][0];
    assert_eq!((line["name"].as_str(), line["decides"].as_bool()), (Some("asks"), Some(true)), "{told:#}");
    let link = line["url"].as_str().expect("a link").to_owned();

    // Looking does nothing, however often; programs look first.
    for _ in 0..3 {
        let page = follow(&node, &link, None).await.expect_status(200);
        assert!(page.text.contains("note.txt") && page.text.contains("Approve this call"), "{}", page.text);
        assert!(
            page.header("content-security-policy").contains("default-src 'none'")
                && page.header("set-cookie").is_empty()
        );
    }
    assert_eq!(node.mission("asks").await["status"], "blocked");
    // A link that was changed is none, and says nothing of any mission.
    let forged = format!("{}A", &link[..link.len() - 1]);
    let page =
        follow(&node, if forged == link { &link[..link.len() - 2] } else { &forged }, None).await.expect_status(404);
    assert!(!page.text.contains("note.txt"));
    // Nor is anything decided that the link does not let: other arguments, or by a page of somebody else.
    for fields in
        [&[("decision", "amend"), ("arguments", "%7B%7D")][..], &[("decision", "grant")], &[("decision", "")], &[]]
    {
        follow(&node, &link, Some(fields)).await.expect_status(400);
    }
    let path = link.strip_prefix("https://factory.example").expect("a path");
    let foreign = http::client()
        .post(format!("{}{path}", node.url().trim_end_matches('/')))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "https://evil.example")
        .body("decision=approve");
    http::send(foreign).await.expect("an answer").expect_status(403);
    assert_eq!(node.mission("asks").await["status"], "blocked");

    let fields = [("decision", "approve"), ("for", "mission"), ("by", "somebody")];
    let page = follow(&node, &link, Some(&fields)).await.expect_status(200);
    assert!(page.text.contains("used up"));
    assert_eq!(node.until_final("asks").await["status"], "completed");
    let decided = node.events("asks").await.into_iter().find(|event| event["detail"]["kind"] == "decided");
    let decided = decided.expect("a decision");
    assert_eq!(decided["detail"]["by"], "link of channel night", "{decided:#}");
    let records = node.get("/v1/missions/asks/journal").await.json;
    let record = records["items"].as_array().into_iter().flatten().find(|record| record["kind"] == "decided");
    let record = record.expect("a record");
    assert_eq!(record["body"]["decision"]["Approve"]["reach"], "call", "no wider than the one call: {record:#}");
    // It is dead behind the decision.
    let page = follow(&node, &link, None).await.expect_status(410);
    assert!(!page.text.contains("note.txt"));
    follow(&node, &link, Some(&[("decision", "deny")])).await.expect_status(410);
}

#[tokio::test]
async fn a_link_is_dead_without_its_channel_and_once_its_mission_is_over() {
    let receiver = Receiver::start().await;
    let mut node = channel(&receiver, r#"["blocked"]"#, "links = true\ngroup = \"1s\"").start().await;
    node.accept(&asking("a")).await;
    node.accept(&asking("b")).await;
    let mut links = std::collections::BTreeMap::new();
    let links = until("both are told", async || {
        for received in receiver.received() {
            for line in received.json["sections"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|section| section["lines"].as_array().into_iter().flatten())
            {
                links.insert(line["name"].as_str()?.to_owned(), line["url"].as_str()?.to_owned());
            }
        }
        (links.len() == 2).then(|| links.clone())
    })
    .await;
    node.post("/v1/missions/a/cancel", &json!({})).await.expect_status(202);
    follow(&node, &links["a"], Some(&[("decision", "approve")])).await.expect_status(410);
    follow(&node, &links["b"], None).await.expect_status(200);
    node.kill();
    node.reconfigure("");
    node.restart().await;
    follow(&node, &links["b"], None).await.expect_status(404);
}

#[tokio::test]
async fn what_a_receiver_may_not_have_got_is_sent_again_behind_a_kill() {
    // It takes the message and never says so: the node is killed meanwhile.
    let receiver = Receiver::scripted(|_, before| if before == 0 { Reply::Hang } else { Reply::Status(200) }).await;
    let mut node = channel(&receiver, r#"["failed"]"#, "group = \"1s\"").start().await;
    node.accept(&failing("f")).await;
    // A mission waits for nobody who is told of it.
    assert_eq!(node.until_final("f").await["status"], "failed");
    messages(&receiver, 1).await;
    node.kill();
    node.restart().await;
    let told = messages(&receiver, 2).await;
    assert_eq!(told[0], told[1], "the same again");
    let keys: Vec<String> = receiver.received().iter().map(|told| told.header("idempotency-key").to_owned()).collect();
    assert!(!keys[0].is_empty() && keys[0] == keys[1], "and under the same key: {keys:?}");
    // And what was told is not told once more.
    until("it is struck off", async || {
        let page = node.get("/v1/notify").await.json;
        // On its disk, too: it is killed next.
        let kept = std::fs::read(node.data().join("notify/night.json")).ok()?;
        let kept: Value = serde_json::from_slice(&kept).ok()?;
        (page["items"][0]["owed"] == 0 && kept["sent"] == 1).then_some(())
    })
    .await;
    node.kill();
    node.restart().await;
    node.accept(&failing("g")).await;
    let told = messages(&receiver, 3).await;
    let names: Vec<_> =
        told[2]["sections"][0]["lines"].as_array().into_iter().flatten().map(|line| &line["name"]).collect();
    assert_eq!(names, ["g"]);
}

#[tokio::test]
async fn a_bad_night_is_a_few_messages() {
    let receiver = Receiver::start().await;
    let node = channel(&receiver, r#"["failed"]"#, "group = \"2s\"\ntexts = false").start().await;
    let missions: Vec<String> = (0..500).map(|number| failing(&format!("f-{number}")).to_string()).collect();
    let batch = node.request("POST", "/v1/missions/batch").header("content-type", "application/x-ndjson");
    http::send(batch.body(missions.join("\n"))).await.expect("an answer").expect_status(200);
    let sum =
        |told: &[Value]| -> u64 { told.iter().filter_map(|message| message["sections"][0]["count"].as_u64()).sum() };
    let told = until("all of them are told", async || {
        let told: Vec<Value> = receiver.received().into_iter().map(|received| received.json).collect();
        (sum(&told) >= 500).then_some(told)
    })
    .await;
    assert_eq!(sum(&told), 500, "each once");
    assert!(told.len() <= 6, "{} messages", told.len());
    let last = told.last().expect("a message");
    assert!(last["sections"][0]["lines"].as_array().is_some_and(|lines| lines.len() <= 8));
    assert!(
        told.iter().all(|message| !message.to_string().contains("gone.txt")),
        "no words of missions, as it was said"
    );
}

#[tokio::test]
async fn channels_are_tried_listed_and_told_of_where_they_fail() {
    let receiver = Receiver::scripted(|_, _| Reply::Status(404)).await;
    let headers = "shape = \"slack\"\nheaders = { Authorization = \"Bearer ${secret:hook}\" }\n";
    let host = receiver.host();
    let node = channel(&receiver, r#"["failed"]"#, headers)
        .config(&format!("[secret.hook]\nref = \"env://HOOK\"\nhosts = [\"{host}\"]"))
        .env("HOOK", "hush-hush-hush")
        .start()
        .await;
    let failed = node.post("/v1/notify/night/test", &json!({})).await;
    failed.expect_problem(502, "channel_failed");
    node.post("/v1/notify/gone/test", &json!({})).await.expect_problem(404, "not_found");
    assert_eq!(receiver.received()[0].header("authorization"), "Bearer hush-hush-hush");
    assert!(receiver.received()[0].json["blocks"].is_array());
    let tried = node.cli(&["notify", "test", "night"]).await;
    assert_eq!(tried.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&tried.stderr).contains("404"), "{tried:?}");
    node.accept(&failing("f")).await;
    until("it fails", async || {
        let page = node.get("/v1/notify").await.json;
        (page["items"][0]["failed_attempts"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let doctor = node.cli(&["doctor"]).await;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("night (slack) has failed") && said.contains("answered 404"), "{said}");
    assert!(!said.contains("hush") && !node.read_log().contains("hush"));
    assert_eq!(node.cli(&["notify", "ls"]).await.status.code(), Some(1));
    receiver.rescript(|_, _| Reply::Status(200));
    assert_eq!(node.cli(&["notify", "test", "night"]).await.status.code(), Some(0));
}

/// A mail server of one mouth: what it was told, and the letters that it took.
async fn mail_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let letters: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = Arc::clone(&letters);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = Arc::clone(&taken);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let mut letter = None::<String>;
                let mut envelope = String::new();
                write.write_all(b"220 sink\r\n").await.expect("written");
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = match letter.as_mut() {
                        Some(text) if line == "." => {
                            taken.lock().expect("no panic").push(format!("{envelope}\n{text}"));
                            letter = None;
                            b"250 taken\r\n"
                        }
                        Some(text) => {
                            text.push_str(&line);
                            text.push('\n');
                            continue;
                        }
                        None => match line.split_once(' ').map_or(line.as_str(), |(verb, _)| verb) {
                            "EHLO" => b"250-sink\r\n250 8BITMIME\r\n",
                            "DATA" => {
                                letter = Some(String::new());
                                b"354 go on\r\n"
                            }
                            "QUIT" => b"221 bye\r\n",
                            _ => {
                                envelope.push_str(&line);
                                envelope.push('\n');
                                b"250 well\r\n"
                            }
                        },
                    };
                    if write.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, letters)
}

#[tokio::test]
async fn a_letter_tells_of_what_failed() {
    let (address, letters) = mail_server().await;
    let mail = |name: &str, tls: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\non = [\"failed\"]\nallow_private = [\"127.0.0.1\"]\n\
             mail = {{ server = \"{address}\", tls = \"{tls}\", from = \"Sortie <sortie@factory.example>\", to = [\"ada@example.org\", \"bob@example.org\"] }}"
        )
    };
    let node = Options::new().config(&mail("plain", "none")).config(&mail("secured", "starttls")).start().await;
    node.accept(&with(failing("f"), "/objective", json!("x\r\nBcc: all@example.org"))).await;
    let letter = until("a letter", async || letters.lock().expect("no panic").first().cloned()).await;
    assert!(letter.contains("MAIL FROM:<sortie@factory.example>"), "{letter}");
    assert!(letter.contains("RCPT TO:<ada@example.org>") && letter.contains("RCPT TO:<bob@example.org>"), "{letter}");
    assert!(
        letter.contains("Subject: factory-1: 1 failed") && letter.contains("Auto-Submitted: auto-generated"),
        "{letter}"
    );
    assert!(!letter.contains("Bcc"), "{letter}");
    // A server that does not speak TLS gets nothing where it is insisted on.
    let failed = node.post("/v1/notify/secured/test", &json!({})).await;
    failed.expect_problem(502, "channel_failed");
    assert!(failed.json["detail"].as_str().is_some_and(|detail| detail.contains("STARTTLS")), "{failed:?}");
    assert_eq!(letters.lock().expect("no panic").len(), 1);
}
