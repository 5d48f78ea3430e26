//! A job of the Redis stream: what it takes.

use serde_json::{Map, Number, Value, json};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Pointer, limit};

use crate::envelope::{Dialect, Draft, Form, Made, Translated, read};
use crate::kept::{FORM, JOB, REDIS};
use crate::name::{mission_of_job, result_url};
use crate::old::{Findings, Old};

/// Most bytes of a job's name: it is part of an address.
const JOB_BYTES_MAX: usize = 300;

/// What is read of a job.
const FIELDS: [&str; 6] = ["job_id", "idempotency_key", "priority", "timeout_seconds", "max_retries", "payload"];

/// What is read of its payload.
const PAYLOAD: [&str; 2] = ["task", "context"];

/// What is read of its context.
const CONTEXT: [&str; 7] =
    ["mission_kind", "vp_id", "trace_id", "source_session_id", "source_turn_id", "reply_mode", "_retry_count"];

/// What of that is kept, and nothing depends on.
const KEPT: [&str; 3] = ["source_session_id", "source_turn_id", "reply_mode"];

impl Dialect {
    /// The envelope of a job. Its result goes to the bridge.
    ///
    /// # Errors
    /// All that is wrong with it, with the places in it.
    pub fn job(&self, body: &str, made: Made<'_>) -> Result<Translated, Vec<Mistake>> {
        let (body, found) = (read(body)?, Findings::default());
        let draft = Old::of(&body, &found).and_then(|old| self.of_job(&old, &found));
        let warnings = found.settle()?;
        // Without anything wrong there is one.
        let draft =
            draft.ok_or_else(|| vec![Mistake::new(Pointer::root(), code::REQUIRED, "nothing could be read")])?;
        self.translated(draft, made, warnings)
    }

    fn of_job(&self, old: &Old<'_>, found: &Findings) -> Option<Draft<'_>> {
        let (job, key) = (old.needed("job_id"), old.needed("idempotency_key"));
        if job.is_some_and(|job| job.len() > JOB_BYTES_MAX) {
            found.wrong(
                old.at("job_id"),
                code::TOO_LONG,
                format!("`job_id` must not be longer than {JOB_BYTES_MAX} bytes"),
            );
        }
        let priority = old.whole("priority");
        if priority.is_some() {
            found.odd("`priority` has no effect: missions begin in the order in which they were accepted");
        }
        let retries = old.whole("max_retries");
        if retries.is_some() {
            found.odd("`max_retries` has no effect: a mission goes on where it was, and is not begun anew");
        }
        let minutes = old.number("timeout_seconds").and_then(|seconds| Number::from_f64(seconds.as_f64()? / 60.0));
        warn_of_others(old, &FIELDS, "", found);
        if old.value("payload").is_none() {
            old.missing("payload");
        }
        let payload = old.object("payload")?;
        let objective = payload.needed("task");
        warn_of_others(&payload, &PAYLOAD, "/payload", found);
        let nothing = json!({});
        let context = match payload.object("context") {
            Some(context) => context,
            None => Old::of(&nothing, found)?,
        };
        self.of_context(&context, (job, key, objective), found).map(|draft| Draft {
            priority: priority.unwrap_or_default(),
            minutes: minutes.into_iter().collect(),
            kept: draft
                .kept
                .into_iter()
                .chain(
                    [("priority", priority), ("max_retries", retries)]
                        .into_iter()
                        .filter_map(|(key, value)| Some((key.to_owned(), value?.into()))),
                )
                .collect(),
            ..draft
        })
    }

    fn of_context(
        &self,
        context: &Old<'_>,
        (job, key, objective): (Option<&str>, Option<&str>, Option<&str>),
        found: &Findings,
    ) -> Option<Draft<'_>> {
        let mission_type = context.text("mission_kind").unwrap_or_default();
        let place = Pointer::root().join("payload").join("context");
        let kind = self.kind(mission_type, place.join("mission_kind"), found)?;
        let mut inputs = Map::new();
        for (key, value) in context.others(&CONTEXT) {
            if kind.inputs.iter().any(|input| input == key) {
                inputs.insert(key.to_owned(), value.clone());
            } else {
                let key = limit::clip(key, limit::QUOTE_BYTES_MAX);
                found.odd(format!(
                    "`{key}` (at `{place}/{key}`) has no effect: this node's [dialect] hands it to no plugin (`inputs`)"
                ));
            }
        }
        let vp_id = context.text("vp_id").or(kind.vp_id.as_deref());
        if vp_id.is_none() && context.value("vp_id").is_none() {
            let detail = "nobody says whose it is: name a `vp_id` there, or one for this type in the node's [dialect]";
            found.wrong(place.join("vp_id"), code::REQUIRED, detail);
        }
        let (job, vp_id) = (job?, vp_id?);
        let mut kept = Map::from_iter([
            (FORM.to_owned(), Value::from(REDIS)),
            (JOB.to_owned(), job.into()),
            ("mission_type".to_owned(), mission_type.into()),
        ]);
        kept.extend(KEPT.iter().filter_map(|key| Some(((*key).to_owned(), context.text(key)?.into()))));
        Some(Draft {
            form: Form::Job,
            kind,
            mission_id: mission_of_job(job),
            idempotency_key: key?.to_owned(),
            vp_id: vp_id.to_owned(),
            session: format!("{vp_id}.session"),
            mission_type: mission_type.to_owned(),
            objective: objective?.to_owned(),
            priority: 0,
            trace_id: context.text("trace_id").map(str::to_owned),
            callback: Some(Map::from_iter([("status_url".to_owned(), result_url(job).into())])),
            minutes: Vec::new(),
            budget: Vec::new(),
            lists: Vec::new(),
            inputs,
            kept,
        })
    }
}

fn warn_of_others(old: &Old<'_>, known: &[&str], place: &str, found: &Findings) {
    for (key, _) in old.others(known) {
        let key = limit::clip(key, limit::QUOTE_BYTES_MAX);
        found.odd(format!("`{key}` (at `{place}/{key}`) is no field of a job, and has no effect"));
    }
}
