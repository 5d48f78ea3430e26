//! *Secrets*: everything that a node is given in confidence, with others that show what they were sent wherever they can. It is nowhere that
//! anybody but the node could look.

use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rustix::process::Signal;
use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, Options, Received, Receiver, Reply, automation, until};

/// What is planted: the variable that holds it, and it. Each has what is written otherwise in JSON, in addresses and in HTML.
const PLANTED: [(&str, &str); 9] = [
    ("FORGE_TOKEN", "plant-forge/7&\"+Q29ycm9kZQ"),
    ("BRAIN_KEY", "plant-brain/7&\"+U2VjcmV0bw"),
    ("FILES_TOKEN", "plant-files/7&\"+VG9vbHNydg"),
    ("DOCS_BEARER", "plant-docs0/7&\"+RG9jc3Rva2"),
    ("DOCS_HEADER", "plant-headr/7&\"+SGVhZGVyczE"),
    ("HOOK_TOKEN", "plant-hooks/7&\"+SG9va3Rva2"),
    ("SEARCH_KEY", "plant-srch0/7&\"+U2VhcmNoMD"),
    ("SHELL_TOKEN", "plant-shell/7&\"+U2hlbGxUb2"),
    ("READER_TOKEN", "plant-readr/7&\"+UmVhZGVyVG"),
];

/// A tool server that tells what it was given: in a result, a result that is an error, an error, and its log.
const TELLER: &str = r#"
echo "started with $TOKEN" >&2
quoted=$(printf '%s' "$TOKEN" | sed 's/"/\\"/g')
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*) answer '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"teller","version":"1"}}' ;;
    *'"tools/list"'*) answer '"result":{"tools":[{"name":"tell","inputSchema":{"type":"object"}},{"name":"fail","inputSchema":{"type":"object"}},{"name":"err","inputSchema":{"type":"object"}}]}' ;;
    *'"tell"'*) echo "asked with $TOKEN" >&2; answer '"result":{"content":[{"type":"text","text":"it is '"$quoted"'"}],"structuredContent":{"token":"'"$quoted"'"}}' ;;
    *'"fail"'*) answer '"result":{"isError":true,"content":[{"type":"text","text":"no use of '"$quoted"'"}]}' ;;
    *'"err"'*) answer '"error":{"code":-32000,"message":"cannot with '"$quoted"'","data":{"token":"'"$quoted"'"}}' ;;
    *'"ping"'*) answer '"result":{}' ;;
  esac
done
"#;

/// Forms in which a secret is the secret.
fn forms(secret: &str) -> Vec<String> {
    let percent = |upper: bool| -> String {
        let code = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        secret.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { code(byte) }).collect()
    };
    let hex = |byte: u8| format!("{byte:02x}");
    let mut forms = vec![
        secret.to_owned(),
        secret.replace('"', "\\\""),
        secret.replace('"', "\\\\\\\""),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        percent(true),
        percent(false),
        secret.bytes().map(hex).collect(),
        secret.bytes().map(hex).collect::<String>().to_uppercase(),
        // Its beginning, in case that only its end was covered, and the other way round.
        secret[..14].to_owned(),
        secret[secret.len() - 10..].to_owned(),
    ];
    // In base64 at each of the three places where it can begin, without what depends on its neighbours.
    for before in 0..3 {
        let whole = format!("{}{secret}", "x".repeat(before));
        let letters = (before * 4).div_ceil(3)..(whole.len() / 3) * 4;
        forms.extend([STANDARD.encode(&whole), URL_SAFE.encode(&whole)].map(|text| text[letters.clone()].to_owned()));
    }
    // With two bytes a letter.
    forms.push(secret.chars().flat_map(|letter| [letter, '\0']).collect());
    forms
}

/// Which of what was planted is in these bytes. All forms are ASCII: what is no text in between does not matter.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    static FORMS: LazyLock<Vec<(&str, Vec<String>)>> =
        LazyLock::new(|| PLANTED.iter().map(|(name, secret)| (*name, forms(secret))).collect());
    let text = String::from_utf8_lossy(bytes);
    let is_in = |forms: &[String]| forms.iter().any(|form| text.contains(form.as_str()));
    FORMS.iter().filter(|(_, forms)| is_in(forms)).map(|(name, _)| *name).collect()
}

/// Every file below a folder in which something of it is. What is compiled from plugins is large, and knows no secret.
fn files_with_secrets(folder: &Path) -> Vec<String> {
    let (mut folders, mut told) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("plugins") {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let found = found(&bytes);
                told.extend((!found.is_empty()).then(|| format!("{}: {found:?}", path.display())));
            }
        }
    }
    told
}

/// What the headers of a request have in confidence, all of it.
fn shown(got: &Received) -> String {
    ["authorization", "x-key", "x-team", "x-subscription-token"]
        .map(|name| got.header(name))
        .join(" ")
        .trim()
        .to_owned()
}

/// Shows what it was sent, in every way that a server has.
fn echo(got: &Received, before: usize) -> Reply {
    let sent = shown(got);
    let percent: String = sent.bytes().map(|byte| format!("%{byte:02X}")).collect();
    match got.path.as_str() {
        "/v1/chat/completions" => match got.json["messages"][0]["content"].as_str() {
            Some("0") => Reply::Body(200, "application/json", json!({
                "id": "x", "object": "chat.completion", "model": sent, "usage": {"prompt_tokens": 1, "completion_tokens": 1},
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": format!("You sent {sent}")}}],
            }).to_string()),
            Some("1") => Reply::Body(400, "application/json", json!({"error": {"message": sent}}).to_string()),
            Some("2") => Reply::Header(302, "location", format!("/elsewhere?key={percent}")),
            _ => Reply::Body(401, "text/plain", format!("no such key: {sent}")),
        },
        "/mcp" => server(got, &sent),
        "/text" => Reply::Body(200, "text/plain", format!("{sent} {percent} {}", STANDARD.encode(&sent))),
        "/json" => Reply::Body(200, "application/json", json!({"sent": [sent], "headers": got.headers}).to_string()),
        "/header" => Reply::Header(200, "x-echo", sent),
        "/error" => Reply::Body(500, "text/html", format!("<p>{}</p>", sent.replace('&', "&amp;").replace('"', "&quot;"))),
        "/redirect" => Reply::Header(302, "location", format!("/json?t={percent}")),
        "/away" => Reply::Header(302, "location", format!("http://127.0.0.1:9/?t={percent}")),
        // Callbacks: refused, and then taken.
        "/events" if before.is_multiple_of(3) => Reply::Body(503, "text/plain", format!("not with {sent}")),
        "/events" => Reply::Status(200),
        // The search.
        _ => Reply::Body(403, "application/json", json!({"error": {"detail": sent}}).to_string()),
    }
}

/// A tool server at an address, which tells the headers that it was sent.
fn server(got: &Received, sent: &str) -> Reply {
    let id = &got.json["id"];
    let result = match got.json["method"].as_str().unwrap_or_default() {
        "initialize" => json!({"result": {
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "docs", "version": "1"},
        }}),
        "tools/list" => {
            let tools = ["tell", "err"].map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
            json!({"result": {"tools": tools}})
        }
        "tools/call" if got.json["params"]["name"] == "tell" => {
            json!({"result": {"content": [{"type": "text", "text": format!("headers: {sent}")}]}})
        }
        "tools/call" => json!({"error": {"code": -32000, "message": format!("cannot with {sent}")}}),
        "ping" => json!({"result": {}}),
        _ if id.is_null() => return Reply::Status(202),
        _ => json!({"error": {"code": -32601, "message": "no such method"}}),
    };
    let mut message = json!({"jsonrpc": "2.0", "id": id});
    message.as_object_mut().expect("an object").extend(result.as_object().cloned().unwrap_or_default());
    Reply::Body(200, "application/json", message.to_string())
}

/// A node that is given all of it, and logs all that it can.
async fn node(others: &Receiver) -> Node {
    let host = others.host();
    let teller = toml::Value::String(TELLER.to_owned());
    let config = format!(
        "[tool.HttpRequest]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n\
         [tool.Bash]\nenabled = true\nenv = {{ SHELL_TOKEN = \"env://SHELL_TOKEN\" }}\n\
         [tool.WebSearch]\nprovider = \"brave\"\nurl = \"http://{host}/search\"\nkey = \"env://SEARCH_KEY\"\nallow_private = [\"127.0.0.1\"]\n\
         [secret.forge]\nref = \"env://FORGE_TOKEN\"\nhosts = [{host:?}]\n\
         [model.brain]\nprotocol = \"openai\"\nbase_url = \"http://{host}/v1\"\nmodel = \"b-1\"\nkey = \"env://BRAIN_KEY\"\n\
         allow_private = [\"127.0.0.1\"]\nmax_output_tokens = 100\nprice_usd_per_mtok = {{ input = 1, output = 2 }}\n\
         [mcp.files]\ncommand = [\"/bin/sh\", \"-c\", {teller}]\nenv = {{ PATH = \"/usr/bin:/bin\", TOKEN = \"env://FILES_TOKEN\" }}\n\
         [mcp.docs]\nurl = \"http://{host}/mcp\"\nbearer = \"env://DOCS_BEARER\"\nheaders = {{ X-Team = \"env://DOCS_HEADER\" }}\n\
         allow_private = [\"127.0.0.1\"]\n\
         [callback]\nallow_private = [\"127.0.0.1\"]\n[[callback.secret]]\nref = \"env://HOOK_TOKEN\"\nhosts = [{host:?}]\n\
         [[token]]\nname = \"reader\"\nref = \"env://READER_TOKEN\"\nscopes = [\"read\"]\n"
    );
    let options = Options::new().config(&config).env("SORTIE_LOG", "trace").env("RUST_BACKTRACE", "full");
    PLANTED.iter().fold(options, |options, (name, secret)| options.env(name, secret)).start().await
}

/// Every list and every thing that a node shows, of these missions.
async fn all_that_is_shown(node: &Node, missions: &[&str]) -> Vec<(String, String)> {
    let openapi = node.get("/openapi.json").await.expect_status(200).json;
    let paths = openapi["paths"].as_object().expect("paths").iter().filter(|(_, calls)| calls.get("get").is_some());
    let mut shown = Vec::new();
    for (path, _) in paths {
        let mut asked: Vec<String> = Vec::new();
        if path.contains("/missions/{") {
            let (before, rest) = path.split_once('{').expect("it has one");
            let behind = rest.split_once('}').expect("it ends").1.replace("{name}", "said");
            asked.extend(missions.iter().map(|id| format!("{before}{id}{behind}")));
        } else if !path.contains('{') {
            asked.push(path.clone());
        }
        for path in asked {
            let answer = node.get(&path).await;
            shown.push((path, format!("{:?}\n{}", answer.headers, answer.text)));
        }
    }
    for command in [&["ls"][..], &["tool", "ls"], &["night"], &["deliveries"], &["doctor"], &["requests"]] {
        let output = node.cli(command).await;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        shown.push((command.join(" "), said));
    }
    shown
}

#[tokio::test]
async fn whatever_a_node_is_given_in_confidence_is_nowhere_though_everybody_shows_what_he_was_sent() {
    let others = Receiver::scripted(echo).await;
    let node = node(&others).await;
    let request = |path: &str| {
        let headers = json!({"Authorization": "Bearer ${secret:forge}", "X-Key": "${secret:forge}"});
        let url = format!("http://{}{path}", others.host());
        json!({"tool": "HttpRequest", "with": {"method": "GET", "url": url, "headers": headers}})
    };
    let model = |number: usize| json!({"model": {"prompt": number.to_string(), "max_tokens": 10}});
    let tool = |name: &str| json!({"tool": name, "with": {}});
    let shell = |command: &str| json!({"tool": "Bash", "with": {"command": command}});
    let missions: [(&str, Vec<Value>); 5] = [
        ("requests", ["/text", "/json", "/header", "/error", "/redirect", "/away"].map(request).into()),
        ("models", (0..4).map(model).collect()),
        (
            "servers",
            ["mcp__files__tell", "mcp__files__fail", "mcp__files__err", "mcp__docs__tell", "mcp__docs__err"]
                .map(tool)
                .into(),
        ),
        (
            "commands",
            ["echo \"$SHELL_TOKEN\"", "echo \"$SHELL_TOKEN\" >&2; exit 3", "nosuch-\"$SHELL_TOKEN\""].map(shell).into(),
        ),
        ("searches", vec![json!({"tool": "WebSearch", "with": {"query": "anything"}})]),
    ];
    let ids = missions.each_ref().map(|(id, _)| *id);
    for (id, steps) in missions {
        let named = |(number, mut step): (usize, Value)| {
            step["id"] = json!(format!("s{number}"));
            step["on_error"] = json!("continue");
            step["artifact"] = json!(format!("said-{number}.json"));
            step
        };
        let steps: Vec<Value> = steps.into_iter().enumerate().map(named).collect();
        let envelope = with(automation(id, &json!(steps)), "/constraints/allowed_tools", json!(["*"]));
        let envelope = with(envelope, "/budget", json!({"max_cost_usd": 1.0}));
        node.accept(&with(envelope, "/callback", others.callback_of("env://HOOK_TOKEN"))).await;
    }
    for id in ids {
        let end = node.until_final(id).await;
        assert_eq!(end["status"], "completed", "{end:#}");
        let _all = others.until_final(id).await;
    }
    // Each of it was really sent, or there is nothing to find.
    let sent: String = others.received().iter().map(|received| shown(received) + "\n").collect();
    for (name, secret) in PLANTED {
        let is_of_a_program = ["FILES_TOKEN", "SHELL_TOKEN", "READER_TOKEN"].contains(&name);
        assert!(is_of_a_program || sent.contains(secret), "{name} was not sent: {sent}");
    }
    let journals: String = ["servers", "commands"].map(|id| format!("/v1/missions/{id}/journal")).join(" ");
    for path in journals.split(' ') {
        let text = node.get(path).await.text;
        assert!(text.contains("***"), "{path}: it is covered where it was: {text}");
    }
    let reader = sortie_tests::http::client().get(format!("{}/v1/node", node.url())).bearer_auth(PLANTED[8].1);
    assert_eq!(sortie_tests::http::send(reader).await.expect("an answer").status, 200);

    for (what, text) in all_that_is_shown(&node, &ids).await {
        assert_eq!(found(text.as_bytes()), Vec::<&str>::new(), "{what}: {text}");
    }
    let log = node.read_log();
    assert!(log.contains("started with ***"), "what a program says is in the log: {log}");
    let found = found(log.as_bytes());
    let is_told = |line: &&str| PLANTED.iter().any(|(_, secret)| line.contains(&secret[..14]));
    assert!(found.is_empty(), "{found:?} in the log: {:#?}", log.lines().filter(is_told).collect::<Vec<_>>());
    assert_eq!(files_with_secrets(&node.data()), Vec::<String>::new(), "in the data folder");
}

#[tokio::test]
async fn a_crash_leaves_no_core_dump_though_whoever_starts_the_node_would_have_one() {
    for signal in [Signal::ABORT, Signal::SEGV] {
        let mut node = Options::new().cores().start().await;
        // Where dumps go to a collector, or the machine wants none, the end of the process would say nothing.
        assert_eq!(node.core_limits(), ("0".to_owned(), "0".to_owned()));
        assert_eq!(node.run(&writing("before")).await["status"], "completed");
        // The first of a kind may be taken by who looks whether a plugin is to blame.
        let ended = until("the node ends", async || {
            node.signal(signal);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            node.has_ended()
        })
        .await;
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal.as_raw()), false), "{ended}");
        let files = std::fs::read_dir(node.folder()).expect("its folder").flatten();
        let cores: Vec<_> =
            files.map(|file| file.file_name()).filter(|name| name.to_string_lossy().starts_with("core")).collect();
        assert!(cores.is_empty(), "{cores:?}");
        node.restart().await;
        assert_eq!(node.mission("before").await["status"], "completed");
    }
}
