//! A hook: from a delivery to the envelope of its mission.

use serde_json::{Map, Value, json};
use sortie_contract::envelope::SecretRef;
use sortie_contract::envelope::read_strictly;
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Pointer, Timestamp, limit};
use sortie_egress::header::HeaderMap;
use sortie_egress::{SecretError, resolve};
use sortie_template::{Fault, Fill, Templates, Writing, examine, faults as faults_of};

use crate::config::{ConfigError, HookConfig};
use crate::signature::{Scheme, digest};

/// What the templates of a hook see.
pub const NAMES: [&str; 4] = ["body", "headers", "hook", "vars"];

/// What of an envelope is made of the delivery.
pub(crate) const MADE_HERE: [&str; 2] = ["mission_id", "idempotency_key"];

/// A text that is no template, or names what is not there.
pub const INVALID_TEMPLATE: &str = "invalid_template";

/// What the names of headers hold that no template sees: who may see a mission's inputs need not see these, and could deliver again with them.
const UNSEEN: [&str; 5] = ["authorization", "cookie", "secret", "signature", "token"];

/// Most characters of a delivery's id that stand in the name of its mission as they are.
const ID_CHARS_MAX: usize = 64;

/// What came in.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body: JSON.
    pub body: &'a [u8],
    /// When it came.
    pub at: Timestamp,
}

/// Who sent a delivery: known by the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The id of the delivery, which is the same whenever it is sent again.
    id: String,
}

impl Sender {
    /// One who need not sign: for a template that is tried out.
    #[must_use]
    pub fn trying() -> Self {
        Self { id: "try".to_owned() }
    }
}

/// What a delivery comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// The envelope of a mission of this name, which is its idempotency key, too.
    Mission {
        /// Its name.
        mission_id: String,
        /// Its envelope.
        envelope: Map<String, Value>,
    },
    /// `when` is not true of it.
    NotMeant,
}

/// Why a delivery comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The node cannot read the hook's secret.
    #[error("the secret of the hook cannot be read")]
    NoSecret(#[source] SecretError),
    /// It is not signed as it must be; in words for its sender.
    #[error("{0}")]
    Unsigned(String),
    /// Its body is no JSON that can be taken; in words for its sender.
    #[error("{0}")]
    NotJson(String),
    /// What the operator wrote does not fit it.
    #[error("the templates of the hook `{hook}` do not fit this delivery")]
    Unfit {
        /// The hook.
        hook: String,
        /// Each place in it, and why.
        mistakes: Vec<Mistake>,
    },
}

/// A trigger from outside.
#[derive(Debug)]
pub struct Hook {
    config: HookConfig,
    secret: SecretRef,
}

impl Hook {
    /// As the configuration has it.
    ///
    /// # Errors
    /// It cannot be meant.
    pub fn new(config: &HookConfig) -> Result<Self, ConfigError> {
        Ok(Self { secret: config.examine()?, config: config.clone() })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How its sender signs.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.config.signature
    }

    /// Whether its secret can be read now.
    ///
    /// # Errors
    /// Why not.
    pub async fn is_usable(&self) -> Result<(), SecretError> {
        let secret = resolve(&self.secret).await?;
        self.config.signature.takes(&secret)
    }

    /// Who sent this. The secret is read for each delivery: one that is replaced holds at once.
    ///
    /// # Errors
    /// [`Refused::NoSecret`], [`Refused::Unsigned`].
    pub async fn sender(&self, delivery: Delivery<'_>) -> Result<Sender, Refused> {
        let secret = resolve(&self.secret).await.map_err(Refused::NoSecret)?;
        self.config.signature.takes(&secret).map_err(Refused::NoSecret)?;
        let now = delivery.at.as_second();
        let id = self.config.signature.signed_id(delivery.headers, delivery.body, &secret, now);
        id.map(|id| Sender { id }).map_err(Refused::Unsigned)
    }

    /// What the delivery comes to on the node of this name.
    ///
    /// # Errors
    /// [`Refused::NotJson`], [`Refused::Unfit`].
    pub fn envelope(&self, sender: &Sender, delivery: Delivery<'_>, node: &str) -> Result<Made, Refused> {
        let body = read(delivery.body)?;
        let templates = Templates::new(self.scope(sender, delivery, &body), Writing::Json);
        let unfit = |found: Vec<Fault>| {
            let mistake = |(at, detail)| Mistake::new(at, INVALID_TEMPLATE, detail);
            let mistakes = found.into_iter().take(limit::MISTAKES_MAX).map(mistake).collect();
            Refused::Unfit { hook: self.config.name.clone(), mistakes }
        };
        if let Some(when) = &self.config.when {
            match templates.value(when) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(Made::NotMeant),
                Ok(other) => {
                    let why = format!("must be true or false, and is {}", limit::clip(&other.to_string(), 80));
                    return Err(unfit(vec![(Pointer::root().join("when"), why)]));
                }
                Err(why) => return Err(unfit(vec![(Pointer::root().join("when"), why)])),
            }
        }
        let mut found = Vec::new();
        let place = Pointer::root().join("envelope");
        let mut envelope = Fill::new(&templates, &NAMES).envelope(&self.config.envelope, &place, &mut found);
        if !found.is_empty() {
            return Err(unfit(found));
        }
        let mission_id = self.mission_id(sender);
        let at = delivery.at.to_string();
        for (name, value) in [
            ("trace_id", mission_id.as_str()),
            ("created_at", &at),
            ("source_instance_id", node),
            ("target_instance_id", node),
        ] {
            envelope.entry(name).or_insert_with(|| value.into());
        }
        envelope.extend(MADE_HERE.map(|name| (name.to_owned(), mission_id.as_str().into())));
        Ok(Made::Mission { mission_id, envelope })
    }

    /// The name of the mission of a delivery: the same whenever that is sent again.
    #[must_use]
    pub fn mission_id(&self, sender: &Sender) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let id = &sender.id;
        if id.len() <= ID_CHARS_MAX && id.chars().all(is_plain) {
            format!("hook:{}:{id}", self.config.name)
        } else {
            // A colon is in no id that stands as it is.
            format!("hook:{}::{}", self.config.name, digest(id.as_bytes()))
        }
    }

    /// Whether a mission that is there already is this delivery's, which was sent before then: it has its name and its key, which is what hooks
    /// give both. Its envelope may be another one: what it is filled in with changes, as the time at which it comes and the configuration do, and its sender means
    /// the same. A mission of that name with another key is somebody else's.
    #[must_use]
    pub fn is_made_by(&self, sender: &Sender, mission_id: &str, idempotency_key: &str) -> bool {
        let own = self.mission_id(sender);
        own == mission_id && own == idempotency_key
    }

    fn scope(&self, sender: &Sender, delivery: Delivery<'_>, body: &Value) -> Value {
        let signature = match &self.config.signature {
            Scheme::Standard => sortie_egress::webhook::SIGNATURE,
            Scheme::Hex(header) => header.as_str(),
        };
        let is_seen = |name: &str| name != signature && !UNSEEN.iter().any(|part| name.contains(part));
        let mut headers = Map::new();
        for name in delivery.headers.keys().filter(|name| is_seen(name.as_str())) {
            // One that came more than once is all of them, as HTTP has it.
            let values = delivery.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            headers.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(", ").into());
        }
        json!({
            "body": body,
            "headers": headers,
            "hook": {"name": self.config.name, "id": sender.id, "received_at": delivery.at.to_string()},
            "vars": self.config.vars,
        })
    }
}

/// The body of a delivery. One that would not be what was sent is refused: two keys of one name, an integer beyond 64 bits.
fn read(body: &[u8]) -> Result<Value, Refused> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refused::NotJson(format!("the body is no UTF-8 text from byte {} on", error.valid_up_to())))?;
    let (body, mistakes) = read_strictly(text).map_err(|mistake| untaken(&mistake))?;
    match mistakes.first() {
        Some(mistake) => Err(untaken(mistake)),
        None => Ok(body),
    }
}

/// Why a body is not taken that has this mistake.
fn untaken(mistake: &Mistake) -> Refused {
    Refused::NotJson(match mistake.code.as_str() {
        code::NOT_JSON => mistake.detail.clone(),
        // Where that is, is a pointer of as many steps.
        code::TOO_DEEP => format!("the body is nested too deeply: at most {} levels", limit::ENVELOPE_DEPTH_MAX),
        _ => format!("the body cannot be taken: {mistake}"),
    })
}

/// What is wrong with the templates of a hook, whatever is delivered.
pub(crate) fn faults(config: &HookConfig) -> Vec<Fault> {
    let when = config.when.as_deref().and_then(|when| examine(when, &NAMES).err());
    let when = when.map(|why| (Pointer::root().join("when"), why));
    when.into_iter().chain(faults_of(&config.envelope, &NAMES, &Pointer::root().join("envelope"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-27T02:00:00Z";

    fn hook(text: &str) -> Hook {
        let config: HookConfig = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
        Hook::new(&config).unwrap_or_else(|error| panic!("{error}"))
    }

    fn made(hook: &Hook, id: &str, body: &Value) -> Result<Made, Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-github-event", "issues"),
            ("authorization", "Bearer hush"),
            ("webhook-signature", "v1,hush"),
            ("x-gitea-signature", "hush"),
            ("x-gitlab-token", "hush"),
            ("x-twice", "a"),
            ("x-twice", "b"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let body = body.to_string();
        let delivery = Delivery { headers: &headers, body: body.as_bytes(), at: AT.parse().unwrap() };
        hook.envelope(&Sender { id: id.to_owned() }, delivery, "factory-1")
    }

    const ISSUES: &str = r#"
        name = "issues"
        secret = "env://HOOK"
        when = "headers['x-github-event'] == 'issues' and body.action == 'opened'"
        vars = { lane = "runtime.coder.external" }
        [envelope]
        vp_id = "vp.coder.primary"
        vp_runtime_id = "{{ vars.lane }}"
        mission_type = "coding"
        objective = "Mend issue {{ body.issue.number }}: {{ body.issue.title }}"
        inputs = { issue = "{{ body.issue }}" }
    "#;

    #[test]
    fn a_delivery_comes_to_an_envelope() {
        let body = json!({"action": "opened", "issue": {"number": 7, "title": "It {{ breaks }}"}});
        let made = made(&hook(ISSUES), "msg_1", &body).expect("fits");
        let expected = json!({
            "vp_id": "vp.coder.primary", "vp_runtime_id": "runtime.coder.external", "mission_type": "coding",
            "objective": "Mend issue 7: It {{ breaks }}", "inputs": {"issue": {"number": 7, "title": "It {{ breaks }}"}},
            "trace_id": "hook:issues:msg_1", "created_at": AT, "source_instance_id": "factory-1", "target_instance_id": "factory-1",
            "mission_id": "hook:issues:msg_1", "idempotency_key": "hook:issues:msg_1",
        });
        let Made::Mission { mission_id, envelope } = made else { panic!("{made:?}") };
        assert_eq!((mission_id.as_str(), Value::Object(envelope)), ("hook:issues:msg_1", expected));
    }

    #[test]
    fn what_is_not_meant_or_does_not_fit_is_no_mission() {
        let hook = hook(ISSUES);
        assert_eq!(made(&hook, "a", &json!({"action": "closed"})).expect("fits"), Made::NotMeant);
        for (body, at) in
            [(json!({"action": "opened"}), "/envelope/objective"), (json!({}), "/when"), (json!(null), "/when")]
        {
            match made(&hook, "a", &body) {
                Err(Refused::Unfit { mistakes: found, .. }) => {
                    assert!(found.iter().any(|mistake| mistake.pointer.as_str() == at), "{body}: {found:?}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        let odd = self::hook("name = \"a\"\nsecret = \"env://A\"\nwhen = \"body.n\"\n[envelope]\n");
        assert!(matches!(made(&odd, "a", &json!({"n": 1})), Err(Refused::Unfit { .. })), "a number is no answer");
        let delivery = Delivery { headers: &HeaderMap::new(), body: b"a=b", at: AT.parse().unwrap() };
        assert!(matches!(hook.envelope(&Sender::trying(), delivery, "n"), Err(Refused::NotJson(_))));
        for body in [r#"{"a": 1, "a": 2}"#, r#"{"a": 12345678901234567890123}"#] {
            let delivery = Delivery { headers: &HeaderMap::new(), body: body.as_bytes(), at: AT.parse().unwrap() };
            assert!(matches!(hook.envelope(&Sender::trying(), delivery, "n"), Err(Refused::NotJson(_))), "{body}");
        }
    }

    #[test]
    fn what_a_delivery_does_not_have_is_named_and_where_it_may_be_absent_it_can_be_asked_for() {
        let when =
            |when: &str| hook(&format!("name = \"issues\"\nsecret = \"env://A\"\nwhen = \"{when}\"\n[envelope]\n"));
        for (of, body, absent) in [
            ("body.action == 'opened'", json!({}), "`body.action` names what is not there"),
            ("body.issue.action == 'opened'", json!({"action": "opened"}), "`body.issue` names what is not there"),
            ("body['action'] == 'opened'", json!({}), "names what is not there"),
            ("body.action", json!({}), "`body.action` names what is not there"),
        ] {
            let refused = made(&when(of), "a", &body).expect_err("it is not there");
            assert!(refused.to_string().contains("`issues`"), "{refused}");
            let Refused::Unfit { mistakes, .. } = refused else { panic!("{of}: {refused:?}") };
            assert_eq!(mistakes[0].pointer.as_str(), "/when");
            assert!(mistakes[0].detail.contains(absent), "{of}: {mistakes:?}");
        }
        let asked = when("body.action is defined and body.action == 'opened'");
        assert_eq!(made(&asked, "a", &json!({})).expect("fits"), Made::NotMeant);
    }

    #[test]
    fn a_body_that_is_not_taken_is_told_of_once_and_plainly() {
        let deep = format!("{}{}", "[".repeat(150), "]".repeat(150));
        for (body, told) in [
            ("a=b", "the body is not JSON: expected value at line 1 column 1"),
            (&deep, "the body is nested too deeply: at most 100 levels"),
            (r#"{"a": 1, "a": 2}"#, "the body cannot be taken: /a: `a` is there more than once"),
        ] {
            match read(body.as_bytes()) {
                Err(refused) => assert_eq!(refused.to_string(), told),
                Ok(read) => panic!("{read}"),
            }
        }
        assert!(read(b"\"\xff\"").expect_err("no text").to_string().contains("from byte 1 on"));
    }

    #[test]
    fn what_came_in_is_no_template_to_the_plugin_that_reads_it() {
        let hook = hook(
            r#"
            name = "a"
            secret = "env://A"
            [envelope]
            mission_type = "custom"
            plugin = "automation"
            inputs = { steps = [{ id = "x", tool = "Write", with = { path = "a", content = "{{ body.text }} of {{ steps.y.result }}" } }] }
            "#,
        );
        let Made::Mission { envelope, .. } =
            made(&hook, "a", &json!({"text": "{{ steps.key.result }}"})).expect("fits")
        else {
            panic!("a mission")
        };
        let content = &envelope["inputs"]["steps"][0]["with"]["content"];
        assert_eq!(content, "{{ '{' }}{{ '{' }} steps.key.result }} of {{ steps.y.result }}");
    }

    /// What is given to a plugin that fills in texts, where a stranger wrote `body`: the same however it is said which plugin that is.
    fn given(inputs: &str, body: &Value) -> Value {
        let who =
            ["mission_type = \"automation\"", "mission_type = \"{{ body.kind }}\"", "plugin = \"{{ body.kind }}@1\""];
        let given = who.map(|who| {
            let hook = hook(&format!("name = \"a\"\nsecret = \"env://A\"\n[envelope]\n{who}\ninputs = {inputs}\n"));
            let mut body = body.clone();
            body["kind"] = json!("automation");
            let Made::Mission { envelope, .. } = made(&hook, "a", &body).expect("fits") else { panic!("a mission") };
            envelope["inputs"].clone()
        });
        assert!(given.iter().all(|other| *other == given[0]), "{given:?}");
        given[0].clone()
    }

    #[test]
    fn nothing_that_came_in_makes_a_template_together_with_what_stands_beside_it() {
        for (step, body, expected) in [
            (
                "{{ body.a }}{{ body.b }}",
                json!({"a": "{", "b": "{ steps.key.result }}"}),
                "{{ '{' }}{{ '{' }} steps.key.result }}",
            ),
            ("{{ body.a }}{{ steps.y.result }}", json!({"a": "{"}), "{{ '{' }}{{ steps.y.result }}"),
            (
                "is {{ body.a }}",
                json!({"a": {"{{ steps.key.result }}": 1}}),
                "is {{ '{' }}\"{{ '{' }}{{ '{' }} steps.key.result }}\":1}",
            ),
            ("{{ body.a }}", json!({"a": "{% raw %}"}), "{{ '{%' }} raw %}"),
        ] {
            let given = given(&format!("{{ steps = [{{ with = {{ content = \"{step}\" }} }}] }}"), &body);
            assert_eq!(given["steps"][0]["with"]["content"], expected, "{step}");
        }
        // Beside the steps nobody fills anything in: a text is handed on as it came.
        let given = given("{ title = \"{{ body.a }}\" }", &json!({"a": "It {{ breaks }}"}));
        assert_eq!(given["title"], "It {{ breaks }}");
    }

    #[test]
    fn no_template_sees_what_could_be_used_again() {
        let hook = hook("name = \"a\"\nsecret = \"env://A\"\n[envelope]\ninputs = { all = \"{{ headers }}\" }\n");
        let Made::Mission { envelope, .. } = made(&hook, "a", &json!({})).expect("fits") else { panic!("a mission") };
        assert_eq!(envelope["inputs"]["all"], json!({"x-github-event": "issues", "x-twice": "a, b"}));
    }

    #[test]
    fn a_mission_is_called_as_its_delivery_is_and_never_as_that_of_another() {
        let hook = hook(ISSUES);
        let name = |id: &str| hook.mission_id(&Sender { id: id.to_owned() });
        assert_eq!(name("msg_p5jXN8-1.2"), "hook:issues:msg_p5jXN8-1.2");
        let odd = ["a/b", "a b", "ä", "", &"x".repeat(65), "a:b"].map(name);
        for (index, one) in odd.iter().enumerate() {
            assert!(one.len() < 200 && one.parse::<sortie_contract::MissionId>().is_ok(), "{one}");
            assert!(!odd[..index].contains(one), "{one}");
        }
    }

    #[test]
    fn a_delivery_that_is_sent_again_is_the_mission_that_bears_its_name_and_its_key() {
        let hook = hook(ISSUES);
        let sender = Sender { id: "msg_1".to_owned() };
        let own = hook.mission_id(&sender);
        for (mission_id, key, expected) in [
            (own.as_str(), own.as_str(), true),
            (&own, "somebody's", false),
            ("somebody's", &own, false),
            ("hook:issues:msg_2", "hook:issues:msg_2", false),
        ] {
            assert_eq!(hook.is_made_by(&sender, mission_id, key), expected, "{mission_id} {key}");
        }
    }

    #[tokio::test]
    async fn the_secret_is_read_for_each_delivery() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let hook = hook(&format!(
            "name = \"a\"\nsecret = \"file://{}\"\nsignature = \"github\"\n[envelope]\n",
            path.display()
        ));
        let mut headers = HeaderMap::new();
        let signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        headers.insert("x-hub-signature-256", signed.parse().unwrap());
        let delivery = Delivery { headers: &headers, body: b"Hello, World!", at: AT.parse().unwrap() };
        assert!(matches!(hook.sender(delivery).await, Err(Refused::NoSecret(_))));
        std::fs::write(&path, "another\n").unwrap();
        assert!(matches!(hook.sender(delivery).await, Err(Refused::Unsigned(_))));
        std::fs::write(&path, "It's a Secret to Everybody\n").unwrap();
        assert!(hook.sender(delivery).await.is_ok() && hook.is_usable().await.is_ok());
        let standard = self::hook(&format!("name = \"a\"\nsecret = \"file://{}\"\n[envelope]\n", path.display()));
        for no_key in ["whsec_", "whsec_not base64"] {
            std::fs::write(&path, no_key).unwrap();
            assert!(standard.is_usable().await.is_err(), "{no_key}");
            assert!(matches!(standard.sender(delivery).await, Err(Refused::NoSecret(_))), "{no_key}");
        }
    }
}
