//! The node as an MCP server: what agents can do with it.
//!
//! Everything that a tool does it asks of the node's HTTP interface, with the token that its caller came with: who may do what, what is
//! refused and how, and what is shown is said there, once. The node asks itself within the process ([`Own`]), `sortie mcp --stdio` asks
//! over the network. Nothing is kept here: a task is a mission, and outlives the node like one.

pub(crate) mod api;
mod artifacts;
mod asking;
mod tasks;
mod tools;
mod waiting;

pub(crate) use api::{Api, Ask, Away, Bearer, Own};

use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Map, Value, json};
use sortie_mcp::serve::{About, Answer, Contents, Desk, Fault, Outcome, Said, Talk, Task, Template, Tool};

use api::Trouble;
use tools::Row;

/// What a model that is to use the node is told.
const INSTRUCTIONS: &str = "\
A Sortie node runs missions: pieces of work that may take minutes or a night, sandboxed, within a budget and a time window, and only with \
the tools that they are granted. Dispatch one with dispatch_mission, then wait_for_mission. A mission that asks something of people is \
`blocked`: list_requests shows what, decide_request decides; do not decide in the place of a person who should. A refusal names a code, \
the place of each mistake, and what to do.";

/// The tools of a node, over its HTTP interface.
pub(crate) struct Service<A> {
    api: A,
    rows: Vec<Row>,
    /// What `target_instance_id` is where an envelope names none; without it, the node is asked.
    instance_id: Option<String>,
}

impl<A: Api> Service<A> {
    pub(crate) fn new(api: A, instance_id: Option<String>) -> Self {
        Self { api, rows: tools::rows(), instance_id }
    }

    /// Asks for something that is JSON.
    async fn json(&self, caller: &A::Caller, ask: Ask) -> Result<Value, Trouble> {
        api::json(&self.api, caller, ask).await
    }

    /// A mission's state.
    async fn mission(&self, caller: &A::Caller, id: &str) -> Result<Value, Trouble> {
        self.json(caller, Ask::new(Method::GET, ["v1", "missions", id])).await
    }

    /// Dispatches a mission. A client that takes tasks has one now.
    async fn dispatch(
        &self,
        caller: &A::Caller,
        mut arguments: Map<String, Value>,
        talk: &Talk,
    ) -> Result<Outcome, Trouble> {
        let Some(envelope) = arguments.remove("envelope").filter(Value::is_object).filter(|_| arguments.is_empty())
        else {
            return Err(Trouble::Arguments("there is one argument, `envelope`: an object".to_owned()));
        };
        let instance_id = match &self.instance_id {
            Some(id) => Some(id.clone()),
            None if envelope.get("target_instance_id").is_some() => None,
            // Whoever may not look dispatches to whichever node this is.
            None => match self.json(caller, Ask::new(Method::GET, ["v1", "node"])).await {
                Ok(node) => node["instance_id"].as_str().map(str::to_owned),
                Err(Trouble::Refused(_)) => Some("*".to_owned()),
                Err(trouble) => return Err(trouble),
            },
        };
        let envelope = crate::blanks::filled(&envelope.to_string(), "mcp", "mcp", instance_id.as_deref())
            .map_err(|error| Trouble::Arguments(error.to_string()))?;
        let mission = self.json(caller, Ask::new(Method::POST, ["v1", "missions"]).with_body(envelope)).await?;
        Ok(if talk.takes_tasks() {
            Outcome::Task(tasks::begun(&mission))
        } else {
            Outcome::Done(Answer::data(mission))
        })
    }

    /// Decides about a request.
    async fn decide(&self, caller: &A::Caller, mission: &str, request: &str, decision: &Value) -> Result<(), Trouble> {
        let path = ["v1", "missions", mission, "requests", request];
        self.json(caller, Ask::new(Method::POST, path).with_body(decision.to_string())).await.map(drop)
    }

    /// Whether the caller may decide about requests: a decision that says nothing is refused, and how depends on that.
    async fn may_decide(&self, caller: &A::Caller, mission: &str, request: &str) -> Result<bool, Trouble> {
        match self.decide(caller, mission, request, &json!({})).await {
            Err(Trouble::Refused(problem)) => Ok(problem["status"] != 403),
            Err(trouble) => Err(trouble),
            Ok(()) => Ok(true),
        }
    }
}

#[async_trait]
impl<A: Api> Desk for Service<A> {
    type Caller = A::Caller;

    fn about(&self) -> About {
        About { name: "sortie", version: env!("CARGO_PKG_VERSION"), instructions: INSTRUCTIONS, has_tasks: true }
    }

    fn tools(&self) -> Vec<Tool> {
        self.rows.iter().map(|row| row.tool.clone()).collect()
    }

    fn templates(&self) -> Vec<Template> {
        vec![artifacts::template()]
    }

    async fn call(
        &self,
        caller: &A::Caller,
        tool: &str,
        arguments: Map<String, Value>,
        talk: &Talk,
    ) -> Result<Outcome, Fault> {
        let done = match tool {
            tools::DISPATCH => self.dispatch(caller, arguments, talk).await,
            tools::WAIT => self.wait(caller, arguments, talk).await.map(Outcome::Done),
            tools::READ_ARTIFACT => self.read_artifact(caller, arguments).await.map(Outcome::Done),
            _ => {
                let row = self.rows.iter().find(|row| row.tool.name == tool);
                let row = row.ok_or_else(|| Fault::unknown("there is no such tool"))?;
                match row.ask(arguments) {
                    Ok(ask) => {
                        self.json(caller, ask).await.map(|data| Outcome::Done(Answer::data(tools::object(data))))
                    }
                    Err(trouble) => Err(trouble),
                }
            }
        };
        // That it went wrong is for the model to read.
        Ok(done.unwrap_or_else(|trouble| Outcome::Done(trouble.into())))
    }

    async fn read(&self, caller: &A::Caller, address: &str) -> Result<Contents, Fault> {
        self.artifact_at(caller, address).await
    }

    async fn task(&self, caller: &A::Caller, id: &str, asks: bool) -> Result<Task, Fault> {
        self.task_of(caller, id, asks).await.map_err(Fault::from)
    }

    async fn answer(&self, caller: &A::Caller, id: &str, said: Vec<(String, Option<Said>)>) -> Result<(), Fault> {
        self.take_answers(caller, id, said).await.map_err(Fault::from)
    }

    async fn cancel(&self, caller: &A::Caller, id: &str) -> Result<(), Fault> {
        self.cancel_task(caller, id).await.map_err(Fault::from)
    }
}
