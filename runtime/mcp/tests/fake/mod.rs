//! A tool server by hand, over standard input and output: well, or not, in every way that the tests want.
//!
//! It is this test binary once more (`--exact fake::acts`), so that nothing has to be built beside it; what the harness prints before it
//! begins is the first garbage that a client has to get over. Its mood is in its environment.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

/// The variable that makes this test a server.
pub(crate) const MOOD: &str = "FAKE_MCP";

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    let line = format!("{message}\n");
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn answer(id: &Value, result: &Value) {
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

fn refuse(id: &Value, code: i64, message: &str) {
    say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}));
}

/// The secret, again and again, so that wherever it is cut it is cut within one.
fn about_secret() -> String {
    std::env::var("TOKEN").unwrap_or_default().repeat(1_000)
}

fn name_form() -> Value {
    json!({"type": "object", "properties": {"name": {"type": "string"}, "polite": {"type": "boolean", "default": true}}, "required": ["name"]})
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}."), "inputSchema": {"type": "object"}})
}

#[test]
fn acts() {
    if let Ok(mood) = std::env::var(MOOD) {
        // The harness has begun a line.
        println!();
        Fake { mood, lists: 0, seen: Vec::new(), has_discovered: false, asked: BTreeMap::new(), answered: None }.act();
        std::process::exit(0);
    }
}

struct Fake {
    mood: String,
    lists: usize,
    /// The notifications that came.
    seen: Vec<Value>,
    has_discovered: bool,
    /// The calls that wait for what people say, by the number of the question, with the answers that are still missing.
    asked: BTreeMap<String, (Value, usize, Vec<Value>)>,
    /// Of whoever asks without end: a question for each answer.
    answered: Option<std::sync::mpsc::Receiver<()>>,
}

impl Fake {
    fn act(&mut self) {
        match self.mood.as_str() {
            "hangs" => std::thread::sleep(Duration::from_secs(600)),
            "dies at start" => {
                eprintln!("no way: the token is {}", std::env::var("TOKEN").unwrap_or_default());
                std::process::exit(3);
            }
            "garbage" => {
                let mut output = std::io::stdout();
                for _ in 0..1_000 {
                    let garbage =
                        b"{\"jsonrpc\": \"2.0\", \"id\": 1} { no json [[[\n{\"jsonrpc\": \"2.0\", \"method\": 7}\n";
                    output.write_all(garbage).expect("somebody listens");
                }
            }
            "floods stderr" => {
                std::thread::spawn(|| {
                    for number in 0..200_000 {
                        eprintln!("{number} {}", "noise ".repeat(50));
                    }
                });
            }
            "asks" => {
                // It reads the answers: half as many are owed to it as the node puts up with (`OWED_TO_SERVER_MAX`). Where more were, each
                // side could wait for the other to read.
                let (owed, answered) = std::sync::mpsc::sync_channel(32);
                self.answered = Some(answered);
                std::thread::spawn(move || {
                    for number in 0.. {
                        owed.send(()).expect("whoever reads is there");
                        say(&json!({"jsonrpc": "2.0", "id": format!("q{number}"), "method": "ping"}));
                    }
                });
            }
            _ => {}
        }
        let mut heard = 0;
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            heard += 1;
            if self.mood == "deaf" && heard > 4 {
                std::thread::sleep(Duration::from_secs(600));
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let id = &message["id"];
        match message["method"].as_str() {
            Some("server/discover") => {
                self.has_discovered = true;
                match self.mood.as_str() {
                    "new" => answer(
                        id,
                        &json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                            "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"}),
                    ),
                    // It takes no handshake on a connection that was probed.
                    "slow to discover" => {}
                    _ => refuse(id, -32601, "Method not found"),
                }
            }
            Some("initialize") if self.mood == "refuses to begin" => refuse(id, -32000, &about_secret()),
            Some("initialize") if self.mood == "slow to discover" && self.has_discovered => {
                refuse(id, -32600, "this connection was probed");
            }
            Some("initialize") => answer(
                id,
                &json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}},
                    "serverInfo": {"name": "fake", "version": "1"}}),
            ),
            Some("ping") if self.mood == "does not answer pings" => {}
            Some("ping") => answer(id, &json!({})),
            Some("tools/list") => self.list(id, message),
            Some("tools/call") => self.call(id, &message["params"]),
            Some(method) if method.starts_with("notifications/") => self.seen.push(message.clone()),
            None if self.answered.is_some() => {
                self.answered.iter().for_each(|owed| owed.recv().expect("it was asked before it was answered"));
            }
            _ => self.said(message),
        }
    }

    /// What people said; the call is answered with it once all is there.
    fn said(&mut self, message: &Value) {
        self.seen.push(message.clone());
        let group = message["id"].as_str().and_then(|id| id.split_once('.')).map(|(group, _)| group.to_owned());
        let Some((call, missing, said)) = group.as_ref().and_then(|group| self.asked.get_mut(group)) else { return };
        said.push(message.clone());
        *missing -= 1;
        if *missing == 0 {
            answer(call, &json!({"content": [], "structuredContent": said}));
        }
    }

    /// Asks people what the arguments say, and answers the call with what they say.
    fn ask(&mut self, call: &Value, given: &Value) {
        let times = usize::try_from(given["times"].as_u64().unwrap_or(1)).expect("a few");
        let group = format!("e{}", self.asked.len());
        self.asked.insert(group.clone(), (call.clone(), times, Vec::new()));
        let mut params = json!({"message": "Who are you?", "requestedSchema": name_form()});
        let fields = given["params"].as_object().into_iter().flatten();
        fields.for_each(|(key, value)| params[key] = value.clone());
        if given["secret"] == true {
            params["message"] = about_secret().into();
            params["requestedSchema"]["properties"]["name"]["title"] =
                std::env::var("TOKEN").unwrap_or_default().into();
        }
        if given["related"] == true {
            params["_meta"] = json!({"sortie/related-request": call});
        }
        for number in 0..times {
            let id = format!("{group}.{number}");
            say(&json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params}));
            if given["takes_back"] == true {
                say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
            }
        }
        if given["dies"] == true {
            std::process::exit(0);
        }
        if given["takes_back"] == true {
            self.asked.remove(&group);
            answer(call, &text("taken back"));
        }
    }

    /// The same in the later era: the answer to the call is what is asked, and the call comes once more with what people say.
    fn ask_back(call: &Value, params: &Value) {
        match params.get("inputResponses") {
            Some(said) => answer(
                call,
                &json!({"resultType": "complete", "content": [], "structuredContent": [said, params["requestState"]]}),
            ),
            None => {
                let wanted = json!({"mode": "form", "message": "Who are you?", "requestedSchema": name_form()});
                let wanted = json!({"method": "elicitation/create", "params": wanted});
                answer(
                    call,
                    &json!({"resultType": "input_required", "requestState": "kept", "inputRequests": {"who": wanted}}),
                );
                if params["arguments"]["dies"] == true {
                    std::process::exit(0);
                }
            }
        }
    }

    fn list(&mut self, id: &Value, message: &Value) {
        self.lists += 1;
        let result = match self.mood.as_str() {
            "many" => {
                let page: usize = message["params"]["cursor"].as_str().and_then(|at| at.parse().ok()).unwrap_or(0);
                let tools: Vec<Value> = (0..100).map(|n| tool(&format!("t{}", page * 100 + n))).collect();
                json!({"tools": tools, "nextCursor": (page < 100).then(|| (page + 1).to_string())})
            }
            "endless" => json!({"tools": [], "nextCursor": self.lists.to_string()}),
            "odd" => json!({"tools": [
                tool("fine"), tool("Fine"), tool("a b"), tool(""), tool(&"x".repeat(300)), tool("ünï"),
                {"name": "no_schema"}, {"name": "bad_schema", "inputSchema": {"type": "nonsense"}},
                {"name": "odd_hints", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": "yes"}},
                {"name": "huge_schema", "inputSchema": {"type": "object", "description": "x".repeat(70_000)}},
                {"inputSchema": {}}, 7, null,
            ]}),
            "tells its secret" => {
                return refuse(id, -32000, &about_secret());
            }
            "no list" => json!({"tools": "none"}),
            _ => {
                let names = [
                    "echo",
                    "die",
                    "slow",
                    "silent",
                    "seen",
                    "giant",
                    "change",
                    "env",
                    "elicit",
                    "ask",
                    "error",
                    "child",
                    "secret_error",
                    "secret_refusal",
                ];
                let mut tools: Vec<Value> = names.iter().map(|name| tool(name)).collect();
                tools[0]["annotations"] = json!({"readOnlyHint": true});
                if self.lists > 1 {
                    tools.push(tool("new_one"));
                }
                json!({"tools": tools})
            }
        };
        answer(id, &result);
    }

    fn call(&mut self, id: &Value, params: &Value) {
        let given = &params["arguments"];
        let (id, token) = (id.clone(), params["_meta"]["progressToken"].clone());
        match params["name"].as_str().unwrap_or_default() {
            "echo" => answer(
                &id,
                &json!({"content": [{"type": "text", "text": given["text"]}], "structuredContent": params["_meta"]}),
            ),
            "die" => std::process::exit(7),
            "slow" => {
                let given = given.clone();
                std::thread::spawn(move || {
                    for step in 0..given["steps"].as_u64().unwrap_or(0) {
                        std::thread::sleep(Duration::from_millis(given["ms"].as_u64().unwrap_or(0)));
                        say(&json!({"jsonrpc": "2.0", "method": "notifications/progress",
                            "params": {"progressToken": token, "progress": step}}));
                    }
                    answer(&id, &text("done at last"));
                });
            }
            "silent" => {}
            "seen" => answer(&id, &json!({"content": [], "structuredContent": self.seen})),
            "giant" => {
                let bytes = usize::try_from(given["bytes"].as_u64().unwrap_or(0)).expect("it fits");
                answer(&id, &text(&"x".repeat(bytes)));
            }
            "change" => {
                answer(&id, &text("changed"));
                for _ in 0..50 {
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
                }
            }
            "env" => {
                let vars: Vec<String> = std::env::vars().map(|(key, value)| format!("{key}={value}")).collect();
                answer(&id, &text(&vars.join("\n")));
            }
            "ask" if self.mood == "new" => Self::ask_back(&id, params),
            "ask" => self.ask(&id, given),
            "elicit" => {
                say(&json!({"jsonrpc": "2.0", "id": "e1", "method": "elicitation/create",
                    "params": {"message": "Who are you?", "requestedSchema": {"type": "object", "properties": {}}}}));
                answer(&id, &text("asked"));
            }
            "secret_error" => {
                let mut result = text(&about_secret());
                result["isError"] = true.into();
                answer(&id, &result);
            }
            "secret_refusal" => refuse(&id, -32000, &about_secret()),
            "error" => {
                let mut result = text(&"it is broken ".repeat(1_000));
                result["isError"] = true.into();
                answer(&id, &result);
            }
            "child" => {
                #[expect(clippy::zombie_processes, reason = "whether it is left behind is what is tested")]
                let child = Command::new("/bin/sleep").arg("600").spawn().expect("a child");
                answer(&id, &text(&child.id().to_string()));
            }
            other => refuse(&id, -32602, &format!("no tool {other}")),
        }
    }
}
