//! Missions as tasks. A task's name is its mission's, and what it is follows from the mission's state: nothing is kept of it.

use axum::http::Method;
use serde_json::{Value, json};
use sortie_contract::Status;
use sortie_mcp::serve::{Answer, Said, Stage, Task};

use super::api::{Api, Ask, Trouble};
use super::waiting::{is_too_late, open, status};
use super::{Service, asking};

/// The task that a dispatched mission is.
pub(super) fn begun(dispatched: &Value) -> Task {
    let warnings = dispatched["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let message = warnings.map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n");
    let now = crate::node::system().wall().to_string();
    Task {
        id: text(&dispatched["mission_id"]),
        stage: Stage::Working,
        message: (!message.is_empty()).then_some(message),
        created_at: now.clone(),
        updated_at: now,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl<A: Api> Service<A> {
    /// The task that a mission is. Its questions are those that the caller may decide about, where somebody can be asked.
    pub(super) async fn task_of(&self, caller: &A::Caller, id: &str, asks: bool) -> Result<Task, Trouble> {
        let mission = self.mission(caller, id).await?;
        let first = open(&mission).next().map(|(request, _)| request.to_owned());
        let may_decide = match first {
            Some(request) if asks => self.may_decide(caller, id, &request).await?,
            _ => false,
        };
        let at = |keys: &[&str]| keys.iter().find_map(|key| mission[*key].as_str()).unwrap_or_default().to_owned();
        Ok(Task {
            id: text(&mission["mission_id"]),
            message: Some(format!("{}: {}", text(&mission["status"]), text(&mission["summary"]))),
            created_at: at(&["accepted_at"]),
            updated_at: self.last_event_at(caller, &mission).await?.unwrap_or_else(|| at(&["ended_at", "accepted_at"])),
            stage: stage(mission, may_decide),
        })
    }

    /// When the last thing happened to a mission.
    async fn last_event_at(&self, caller: &A::Caller, mission: &Value) -> Result<Option<String>, Trouble> {
        let Some(before) = mission["sequence"].as_u64().and_then(|last| last.checked_sub(1)) else { return Ok(None) };
        let id = mission["mission_id"].as_str().unwrap_or_default();
        let mut ask = Ask::new(Method::GET, ["v1", "missions", id, "events"]);
        ask.query = vec![("after".to_owned(), before.to_string()), ("limit".to_owned(), "1".to_owned())];
        let events = self.json(caller, ask).await?;
        Ok(events["items"][0]["emitted_at"].as_str().map(str::to_owned))
    }

    /// What people said to a mission's requests. What has been decided meanwhile stays as it is.
    pub(super) async fn take_answers(
        &self,
        caller: &A::Caller,
        id: &str,
        said: Vec<(String, Option<Said>)>,
    ) -> Result<(), Trouble> {
        let mission = self.mission(caller, id).await?;
        let mut forms = Vec::new();
        for (key, said) in said {
            let Some((_, request)) = open(&mission).find(|(request, _)| *request == key) else { continue };
            match said {
                Some(Said::Form(form)) => forms.push((key, asking::decision(request, form))),
                Some(Said::No) => {}
                // All of them are looked at before the first is taken.
                None => {
                    return Err(Trouble::Arguments(format!(
                        "inputResponses: what is said to `{key}` is no reply to a form: it is {{\"action\": \"accept\", \"content\": \
                         {{…}}}}, {{\"action\": \"decline\"}} or {{\"action\": \"cancel\"}}"
                    )));
                }
            }
        }
        for (key, decision) in forms {
            match self.decide(caller, id, &key, &decision).await {
                Err(trouble) if !is_too_late(&trouble) => return Err(trouble),
                _ => {}
            }
        }
        Ok(())
    }

    /// Cancels a mission; that it has ended is no failure.
    pub(super) async fn cancel_task(&self, caller: &A::Caller, id: &str) -> Result<(), Trouble> {
        let body = json!({"reason": "the agent that dispatched it cancelled its task"});
        let ask = Ask::new(Method::POST, ["v1", "missions", id, "cancel"]).with_body(body.to_string());
        match self.json(caller, ask).await {
            Err(trouble) if !is_too_late(&trouble) => Err(trouble),
            _ => Ok(()),
        }
    }
}

/// How the task of a mission is. A mission that failed is a call that was carried out, and says that it went wrong.
fn stage(mission: Value, may_decide: bool) -> Stage {
    match status(&mission) {
        Some(Status::Cancelled) => Stage::Cancelled,
        Some(Status::Completed) => Stage::Done(Answer::data(mission)),
        Some(status) if status.is_final() => Stage::Done(Answer::data(mission).failed()),
        _ => {
            let id = mission["mission_id"].as_str().unwrap_or_default();
            let asked = open(&mission).map(|(key, request)| (key.to_owned(), asking::question(id, request)));
            let asked: Vec<_> = asked.filter(|_| may_decide).collect();
            if asked.is_empty() { Stage::Working } else { Stage::Asks(asked) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_as_its_mission_is() {
        let request = json!({"request_id": "r1", "kind": "input", "question": "Which?"});
        for (status, requests, may_decide, expected) in [
            ("queued", json!([]), true, "working"),
            ("running", json!([]), true, "working"),
            ("blocked", json!([request]), true, "asks r1"),
            ("blocked", json!([request]), false, "working"),
            ("blocked", json!([]), true, "working"),
            ("completed", json!([]), true, "done"),
            ("failed", json!([]), true, "done, failed"),
            ("timed_out", json!([]), true, "done, failed"),
            ("cancelled", json!([]), true, "cancelled"),
        ] {
            let stage = stage(json!({"mission_id": "m", "status": status, "pending_requests": requests}), may_decide);
            let told = match stage {
                Stage::Working => "working".to_owned(),
                Stage::Asks(asked) => format!("asks {}", asked[0].0),
                Stage::Done(answer) if answer.is_error => "done, failed".to_owned(),
                Stage::Done(_) => "done".to_owned(),
                Stage::Failed(why) => why,
                Stage::Cancelled => "cancelled".to_owned(),
            };
            assert_eq!(told, expected, "{status}");
        }
    }
}
