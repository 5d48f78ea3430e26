//! A plugin that does what the sandbox must survive. The mission's objective names the crime; the tests name the end.
//!
//! What `describe` does cannot be said in a brief: it is in [`DESCRIBE`], which the tests overwrite in the built module.

mod crime;
mod raw;

use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, json};

struct Hostile;

/// How `describe` behaves. Sixteen bytes after a marker that occurs once in the module.
static DESCRIBE: [u8; 32] = *b"HOSTILE:DESCRIBEhonest          ";

/// One that says of its missions all that can be said.
fn profiled() -> Manifest {
    let takes = json!({ "type": "object", "properties": { "count": { "type": "integer" } } });
    Manifest::new("hostile", "0.1.0", "Says what its missions take.")
        .inputs_schema(takes)
        .uses_tool("Grep")
        .needs_memory_mib(100)
        .needs_run_time(std::time::Duration::from_secs(90))
        .example(&json!({ "count": 2 }))
        .outputs_schema(&json!({ "properties": { "report.md": { "description": "what was found" } } }))
}

/// What the tests wrote behind the marker.
pub fn mode() -> String {
    // Read as the linker cannot foresee it: the tests write there.
    let mode = unsafe { std::ptr::read_volatile(&raw const DESCRIBE) };
    String::from_utf8_lossy(&mode[16..]).trim_end().to_owned()
}

impl Plugin for Hostile {
    fn describe() -> Manifest {
        match mode().as_str() {
            "loop" => crime::spin(),
            "panic" => panic!("describe panics"),
            "name" => Manifest::new("Not A Name", "0.1.0", "Its name breaks the rules."),
            "version" => Manifest::new("hostile", "one", "Its version breaks the rules."),
            "schema" => Manifest::new("hostile", "0.1.0", "Its schema is no schema.").inputs_schema(json!(7)),
            "profile" => profiled(),
            "roomy" => profiled().needs_memory_mib(300),
            "heavy" => profiled().needs_memory_mib(1 << 20),
            "example" => profiled().example(&json!({ "count": "many" })),
            "host" => {
                sortie_plugin::report::info("describe has no mission");
                Manifest::new("hostile", "0.1.0", "It reports where nobody listens.")
            }
            _ => Manifest::new("hostile", "0.1.0", "Does what the sandbox must survive."),
        }
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        match brief.objective.as_str() {
            "check: loop" => crime::spin(),
            "check: panic" => panic!("check panics"),
            "check: tools" => {
                let _ = sortie_plugin::time::now_ms();
                Vec::new()
            }
            "check: many mistakes" => {
                (0..10_000).map(|n| Mistake::new(format!("/inputs/{n}"), "many", "x".repeat(2_000))).collect()
            }
            "check: one text in many mistakes" => {
                let text: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
                (0..2_000).map(|_| Mistake::new("", "alias", raw::alias(text))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        crime::commit(&brief, &tools, mode() == "mended")
    }
}

sortie_plugin::export!(Hostile);
