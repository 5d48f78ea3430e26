//! What the sandbox's tests share: the hostile guest, built once, and a host that plays the node.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_contract::artifact::Artifact;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Brief, Left, LogLevel, ModelInfo};
use sortie_contract::tool::{CallError, ToolInfo, ToolName};
use sortie_sandbox::{Answer, BoxFuture, Call, Host, Installed, Kill, Options, Reply, Run, Sandbox, Stop};

/// The hostile guest: a core module. One test binary builds it, the others find it built.
pub static HOSTILE: LazyLock<Vec<u8>> = LazyLock::new(|| built("hostile", "wasm32-unknown-unknown"));

/// The guest of that name below `tests`, compiled for a target.
pub fn built(name: &str, triple: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name);
    let target = std::env::var_os("HOSTILE_TARGET_DIR").map_or_else(|| folder.join("target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target", triple, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        // What is set for the tests (coverage, sanitizers) is not for the guest.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the guest `{name}` is not built; `rustup target add {triple}`?");
    std::fs::read(target.join(triple).join("release").join(name).with_extension("wasm")).expect("it was just built")
}

pub fn hostile_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hostile")
}

/// The hostile guest with another way to describe itself.
pub fn hostile_describing(mode: &str) -> Vec<u8> {
    const MARKER: &[u8] = b"HOSTILE:DESCRIBE";
    let mut wasm = HOSTILE.clone();
    let at = wasm.windows(MARKER.len()).position(|bytes| bytes == MARKER).expect("the marker is in the module");
    wasm[at + MARKER.len()..][..16].copy_from_slice(format!("{mode:16}").as_bytes());
    wasm
}

/// A core module from `frame.wat`, with imports and with what `run` does, that carries the type of the world.
pub fn plain(imports: &str, crime: &str) -> Vec<u8> {
    let frame = std::fs::read_to_string(hostile_folder().join("frame.wat")).expect("the frame is there");
    let text = frame.replace("(;IMPORTS;)", imports).replace("(;CRIME;)", crime);
    let mut module = wat::parse_str(&text).expect("the frame is WAT");
    let mut resolve = wit_parser::Resolve::default();
    // The world as it was first: it wants no more exports than the frame has.
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.2.0");
    let (package, _) = resolve.push_dir(wit).expect("the world is WIT");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the world is called `plugin`");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
        .expect("a module can carry a component type");
    module
}

/// The component with so many core instances more, of this module.
pub fn swollen(component: &[u8], count: u8, module: &str) -> Vec<u8> {
    let modules = wasmparser::Parser::new(0).parse_all(component).scan(0_usize, |depth, payload| {
        let payload = payload.expect("a component");
        let is_outermost = *depth == 0;
        match payload {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => *depth += 1,
            wasmparser::Payload::End(_) => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some(is_outermost && matches!(payload, wasmparser::Payload::ModuleSection { .. }))
    });
    let index = u8::try_from(modules.filter(|is_module| *is_module).count()).expect("a handful");
    let module = wat::parse_str(module).expect("the module is WAT");
    let mut bytes = component.to_vec();
    let mut section = |id: u8, body: &[u8]| {
        let [high, low] = [body.len() >> 7, body.len() & 0x7f].map(|part| u8::try_from(part).expect("two bytes"));
        bytes.extend([id, low | 0x80, high]);
        bytes.extend(body);
    };
    section(1, &module);
    // Each: instantiate the module, with nothing.
    let instances: Vec<u8> = std::iter::once(count).chain([0, index, 0].repeat(usize::from(count))).collect();
    section(2, &instances);
    bytes
}

/// A sandbox in a folder of its own, with the hostile guest.
pub struct Node {
    pub sandbox: Sandbox,
    pub hostile: Installed,
    pub folder: tempfile::TempDir,
}

impl Node {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::new(folder.path().to_owned());
        options.instances_max = 8;
        change(&mut options);
        let sandbox = Sandbox::new(options).expect("a sandbox");
        let hostile = sandbox.install(HOSTILE.clone()).await.expect("the hostile guest is a plugin");
        Self { sandbox, hostile, folder }
    }

    pub fn run(&self, objective: &str, host: &Arc<Script>, kill: &Kill) -> Run {
        Run {
            plugin: self.hostile.identity.digest,
            brief: brief(objective),
            seed: "m-1".to_owned(),
            grants: vec![ToolName::new("Read"), ToolName::new("Write")],
            host: Arc::clone(host) as Arc<dyn Host>,
            kill: kill.clone(),
            memory_bytes_max: None,
        }
    }
}

pub fn brief(objective: &str) -> Brief {
    Brief {
        mission_id: "m-1".to_owned(),
        vp_id: "vp".to_owned(),
        vp_session_id: "vp.session".to_owned(),
        mission_type: "custom".to_owned(),
        objective: objective.to_owned(),
        inputs: "{}".to_owned(),
        success_criteria: vec!["it holds".to_owned()],
        required_outputs: Vec::new(),
    }
}

pub fn tool(name: &str, read_only: bool) -> ToolInfo {
    ToolInfo {
        name: ToolName::new(name),
        description: "A tool of the tests.".to_owned(),
        input_schema: serde_json::json!({ "type": "object" }),
        effects: Vec::new(),
        read_only,
        idempotent: false,
        price: sortie_contract::MicroUsd::ZERO,
    }
}

/// A host that does as the arguments of `Read` say, refuses `Write`, and notes what it was told.
#[derive(Default)]
pub struct Script {
    pub notes: Mutex<Vec<String>>,
    /// The `Stop` of the next note.
    pub stop: Mutex<Option<Stop>>,
    /// Calls that were dropped before they ended.
    pub cancelled: Arc<Mutex<u32>>,
    /// Handles that were dropped before their result came.
    pub given_up: Mutex<u32>,
    /// How often the guest waited.
    pub waits: Mutex<u32>,
    /// What `wait-any` is told to choose, last first; beyond that, whatever is ready.
    pub choices: Mutex<Vec<u32>>,
    /// Whether results are left on record, and the last of them.
    pub on_record: Mutex<Option<String>>,
    /// How often a result was brought from there.
    pub brought: Mutex<u32>,
}

impl Script {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().clone()
    }

    fn note(&self, text: String) -> Result<(), Stop> {
        let mut notes = self.notes.lock();
        // Storms are long; the first notes say enough.
        if notes.len() < 12_000 {
            notes.push(text);
        }
        self.stop.lock().take().map_or(Ok(()), Err)
    }
}

struct Cancelled(Option<Arc<Mutex<u32>>>);

impl Cancelled {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(count) = self.0.take() {
            *count.lock() += 1;
        }
    }
}

impl Host for Script {
    fn describe(&self, name: &ToolName) -> Result<ToolInfo, Stop> {
        self.note(format!("describe {name}")).map(|()| tool(name.as_str(), name.as_str() == "Read"))
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        let number = Some(CallNo(1));
        if let Err(stop) = self.note(format!("call {tool}")) {
            return Call { number, answer: std::future::ready(Err(stop)).boxed() };
        }
        if tool.as_str() == "Write" {
            let answer = std::future::ready(Ok(Err(CallError::Denied("never".to_owned())).into())).boxed();
            return Call { number, answer };
        }
        let arguments: serde_json::Value = serde_json::from_str(&arguments).unwrap_or_default();
        let mut cancelled = Cancelled(Some(Arc::clone(&self.cancelled)));
        if let Some(on_record) = &mut *self.on_record.lock() {
            cancelled.disarm();
            let bytes = arguments["bytes"].as_u64().map_or(2, |bytes| usize::try_from(bytes).expect("64 bits"));
            *on_record = format!("\"{}\"", "x".repeat(bytes - 2));
            return Call { number, answer: std::future::ready(Ok(Reply::Recorded(None))).boxed() };
        }
        let answer = async move {
            if arguments["wait"] == true {
                std::future::pending::<()>().await;
            }
            if let Some(after) = arguments["after"].as_u64() {
                tokio::time::sleep(Duration::from_millis(after)).await;
            }
            cancelled.disarm();
            let bytes = arguments["bytes"].as_u64().map_or(2, |bytes| usize::try_from(bytes).expect("64 bits"));
            Ok(Ok(format!("\"{}\"", "x".repeat(bytes - 2))).into())
        }
        .boxed();
        Call { number, answer }
    }

    fn amended(&self, _call: CallNo) -> Option<String> {
        None
    }

    fn ask(&self, question: String) -> Call {
        let noted = self.note(format!("ask {} bytes", question.len()));
        let answer = std::future::ready(noted.map(|()| Ok("\"yes\"".to_owned()).into())).boxed();
        Call { number: Some(CallNo(1)), answer }
    }

    fn complete(&self, request: String, tools: Vec<ToolName>) -> Call {
        let tools: Vec<&str> = tools.iter().map(ToolName::as_str).collect();
        let noted = self.note(format!("complete {} bytes with {}", request.len(), tools.join(", ")));
        let answer = std::future::ready(noted.map(|()| Ok("{}".to_owned()).into())).boxed();
        Call { number: Some(CallNo(1)), answer }
    }

    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>> {
        let noted = self.note(format!("dispatch {} bytes", order.len()));
        let answer = std::future::ready(Ok(Ok("{}".to_owned()).into())).boxed();
        std::future::ready(noted.map(|()| Ok(Call { number: Some(CallNo(1)), answer }))).boxed()
    }

    fn models(&self) -> Result<Vec<ModelInfo>, Stop> {
        self.note("models".to_owned()).map(|()| Vec::new())
    }

    fn deadline(&self) -> Result<Option<Timestamp>, Stop> {
        self.note("deadline".to_owned()).map(|()| None)
    }

    fn left(&self) -> Result<Left, Stop> {
        let left = || Left {
            runtime_ms: 1,
            llm_calls: None,
            cost_micro_usd: None,
            landing_llm_calls: 0,
            landing_micro_usd: 0,
        };
        self.note("left".to_owned()).map(|()| left())
    }

    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>> {
        std::future::ready(self.note("closing".to_owned())).boxed()
    }

    fn land(&self) -> Result<(), Stop> {
        self.note("land".to_owned())
    }

    fn again(&self, _call: CallNo) -> BoxFuture<'static, Answer> {
        *self.brought.lock() += 1;
        let result = self.on_record.lock().clone().expect("it is on record");
        std::future::ready(Ok(Ok(result).into())).boxed()
    }

    fn gave_up(&self, _call: CallNo) {
        *self.given_up.lock() += 1;
    }

    fn waits(&self, waits: bool) {
        *self.waits.lock() += u32::from(waits);
    }

    fn choice(&self, _among: &[Option<CallNo>]) -> Result<Option<u32>, Stop> {
        Ok(self.choices.lock().pop())
    }

    fn waited(&self, _among: &[Option<CallNo>], ready: u32) -> Result<(), Stop> {
        self.note(format!("waited {ready}"))
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        self.note("now".to_owned()).map(|()| Timestamp::UNIX_EPOCH)
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        let noted = self.note("after".to_owned());
        async move {
            noted?;
            tokio::time::sleep(duration).await;
            Ok(())
        }
        .boxed()
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.note(format!("milestone of {} bytes", text.len()))
    }

    fn log(&self, _level: LogLevel, text: String) -> Result<(), Stop> {
        self.note(format!("log of {} bytes", text.len()))
    }

    fn judge(&self, criterion: u32, _verdict: Verdict, evidence: String) -> Result<(), Stop> {
        self.note(format!("judge {criterion} with {} bytes", evidence.len()))
    }

    fn put(
        &self,
        name: String,
        _media_type: String,
        _bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let noted = self.note(format!("put {name}"));
        std::future::ready(noted.map(|()| Err("the test keeps nothing".to_owned()))).boxed()
    }

    fn put_file(
        &self,
        name: String,
        _media_type: String,
        _path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let noted = self.note(format!("put-file {name}"));
        std::future::ready(noted.map(|()| Err("the test keeps nothing".to_owned()))).boxed()
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let noted = self.note(format!("get {} bytes", name.len()));
        std::future::ready(noted.map(|()| Err("the test keeps nothing".to_owned()))).boxed()
    }

    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let noted = self.note(format!("get {} bytes of {} bytes", name.len(), mission.len()));
        std::future::ready(noted.map(|()| Err("the test keeps nothing".to_owned()))).boxed()
    }
}
