//! A [`Desk`] in the words of the protocol's library.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock, CreateTaskResult,
    DetailedTask, ErrorData, GetTaskParams, GetTaskResult, Implementation, InputRequiredResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
    ServerCapabilities, ServerConfig, TaskPayload, TaskStatus, ToolAnnotations, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::desk::{Answer, Body, Content, Contents, Desk, Fault, Outcome, Stage, Task, Template, Tool};
use super::talk::{Talk, can_ask, requests, said};

/// Most calls that are carried out at once, of all clients together. Each may wait for minutes.
const CALLS_MAX: usize = 256;

/// Most of them of one caller: others' short calls go through, however many of its waits were hung up.
const CALLS_EACH_MAX: usize = 32;

/// How long a client of a task is asked to wait before it looks again, in milliseconds.
const LOOK_MS: u64 = 2_000;

/// What all connections share.
pub(super) struct Shared<D: Desk> {
    desk: D,
    info: ServerConfig,
    tools: Vec<rmcp::model::Tool>,
    calls: Places<D::Caller>,
}

/// The places of calls that are carried out.
struct Places<C> {
    free: Semaphore,
    /// How many each caller has, of those that have any.
    taken: Mutex<Vec<(C, usize)>>,
}

/// A place of a caller.
struct Place<'a, C: PartialEq> {
    places: &'a Places<C>,
    caller: C,
    _free: SemaphorePermit<'a>,
}

impl<C: Clone + PartialEq> Places<C> {
    fn new() -> Self {
        Self { free: Semaphore::new(CALLS_MAX), taken: Mutex::new(Vec::new()) }
    }

    /// A place for a caller; why there is none.
    fn take(&self, caller: &C) -> Result<Place<'_, C>, &'static str> {
        let free = self.free.try_acquire();
        let free = free.map_err(|_| "the server carries out as many calls as it can; try again in a second")?;
        let mut taken = self.taken.lock();
        match taken.iter_mut().find(|(other, _)| other == caller) {
            Some((_, count)) if *count >= CALLS_EACH_MAX => {
                return Err(
                    "the server carries out as many calls of this caller as it does of one; wait for some of them",
                );
            }
            Some((_, count)) => *count += 1,
            None => taken.push((caller.clone(), 1)),
        }
        Ok(Place { places: self, caller: caller.clone(), _free: free })
    }
}

impl<C: PartialEq> Drop for Place<'_, C> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some((_, count)) = taken.iter_mut().find(|(other, _)| *other == self.caller) {
            *count -= 1;
        }
        taken.retain(|(_, count)| *count > 0);
    }
}

/// One connection, or one request.
pub(super) struct Handler<D: Desk> {
    shared: Arc<Shared<D>>,
    /// Who calls, where no request says it by itself.
    only: Option<D::Caller>,
}

impl<D: Desk> Shared<D> {
    pub(super) fn new(desk: D) -> Arc<Self> {
        let about = desk.about();
        let mut can = ServerCapabilities::builder().enable_tools().build();
        if !(desk.templates().is_empty() && desk.resources().is_empty()) {
            can.resources = Some(rmcp::model::ResourcesCapability::default());
        }
        if about.has_tasks {
            can.extensions = ServerCapabilities::builder().enable_tasks().build().extensions;
        }
        let info = ServerConfig::new(can)
            .with_server_info(Implementation::new(about.name, about.version))
            .with_instructions(about.instructions);
        let tools = desk.tools().into_iter().map(tool).collect();
        Arc::new(Self { desk, info, tools, calls: Places::new() })
    }
}

impl<D: Desk> Handler<D> {
    pub(super) fn new(shared: Arc<Shared<D>>, only: Option<D::Caller>) -> Self {
        Self { shared, only }
    }

    fn desk(&self) -> &D {
        &self.shared.desk
    }

    /// Who calls: whoever the request itself is of, so that nobody acts by a session of somebody else.
    fn caller(&self, context: &RequestContext<RoleServer>) -> Result<D::Caller, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<D::Caller>()).or(self.only.as_ref());
        caller.cloned().ok_or_else(|| ErrorData::internal_error("nobody knows who calls", None))
    }

    /// Does something for as long as its client wants it.
    async fn while_wanted<T>(
        &self,
        caller: &D::Caller,
        context: &RequestContext<RoleServer>,
        act: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, ErrorData> {
        let _place = self.shared.calls.take(caller).map_err(|why| ErrorData::internal_error(why, None))?;
        let stop = context.ct.clone();
        tokio::select! {
            done = act => done.map_err(|fault| error(&fault)),
            () = stop.cancelled() => Err(ErrorData::internal_error("the client wants it no more", None)),
        }
    }
}

impl<D: Desk> ServerHandler for Handler<D> {
    fn get_info(&self) -> ServerConfig {
        self.shared.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.shared.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.shared.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let CallToolRequestParams { name, arguments, input_responses, .. } = request;
        if self.get_tool(&name).is_none() {
            return Err(ErrorData::invalid_params(format!("there is no tool `{}`", clip(&name)), None));
        }
        let caller = self.caller(&context)?;
        let talk = Talk::new(context.clone(), input_responses);
        let call = self.desk().call(&caller, &name, arguments.unwrap_or_default(), &talk);
        let outcome = self.while_wanted(&caller, &context, call).await?;
        if let Some(asked) = talk.into_asked() {
            return Ok(InputRequiredResult::from_input_requests(asked).into());
        }
        Ok(match outcome {
            Outcome::Done(answer) => result(answer).into(),
            Outcome::Task(task) => CreateTaskResult::new(detailed(task).task).into(),
        })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resource = |one: Template| {
            let mut resource = Resource::new(one.address, one.name).with_description(one.description);
            resource.mime_type = one.media_type;
            resource
        };
        Ok(ListResourcesResult::with_all_items(self.desk().resources().into_iter().map(resource).collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = |kind: Template| {
            let mut template = ResourceTemplate::new(kind.address, kind.name).with_description(kind.description);
            template.mime_type = kind.media_type;
            template
        };
        Ok(ListResourceTemplatesResult::with_all_items(self.desk().templates().into_iter().map(template).collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let caller = self.caller(&context)?;
        let read = self.while_wanted(&caller, &context, self.desk().read(&caller, &request.uri)).await;
        let read = read.map_err(|mut error| {
            if error.code == rmcp::model::ErrorCode::INVALID_PARAMS {
                error.code = rmcp::model::ErrorCode::RESOURCE_NOT_FOUND;
                error.data.get_or_insert_with(|| serde_json::json!({"uri": request.uri}));
            }
            error
        })?;
        Ok(ReadResourceResult::new(vec![contents(read)]).into())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let caller = self.caller(&context)?;
        let task = self.desk().task(&caller, &request.task_id, can_ask(&context));
        Ok(GetTaskResult::new(detailed(self.while_wanted(&caller, &context, task).await?)))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.caller(&context)?;
        let replies = request.input_responses.iter().map(|(key, reply)| (key.clone(), said(reply))).collect();
        let told = self.desk().answer(&caller, &request.task_id, replies);
        self.while_wanted(&caller, &context, told).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.caller(&context)?;
        let cancelled = self.desk().cancel(&caller, &request.task_id);
        self.while_wanted(&caller, &context, cancelled).await
    }
}

fn clip(text: &str) -> String {
    sortie_contract::limit::clip(text, sortie_contract::limit::QUOTE_BYTES_MAX)
}

fn tool(tool: Tool) -> rmcp::model::Tool {
    let Tool { name, title, description, input, output, hints } = tool;
    let hints = ToolAnnotations::with_title(title.clone())
        .read_only(hints.reads_only)
        .destructive(hints.is_destructive)
        .idempotent(hints.is_idempotent);
    let mut tool = rmcp::model::Tool::new(name, description, input).with_title(title).with_annotations(hints);
    tool.output_schema = output.map(Arc::new);
    tool
}

fn error(fault: &Fault) -> ErrorData {
    ErrorData::invalid_params(fault.detail.clone(), fault.data.clone())
}

fn result(answer: Answer) -> CallToolResult {
    let content = answer.content.into_iter().map(block).collect();
    let mut result = if answer.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = answer.data;
    result
}

fn block(content: Content) -> ContentBlock {
    match content {
        Content::Text(text) => ContentBlock::text(text),
        Content::Image(bytes, media_type) => ContentBlock::image(BASE64_STANDARD.encode(bytes), media_type),
        Content::Audio(bytes, media_type) => ContentBlock::audio(BASE64_STANDARD.encode(bytes), media_type),
        Content::Resource(inner) => ContentBlock::resource(contents(inner)),
    }
}

fn contents(contents: Contents) -> ResourceContents {
    let Contents { address, media_type, body } = contents;
    let contents = match body {
        Body::Text(text) => ResourceContents::text(text, address),
        Body::Bytes(bytes) => ResourceContents::blob(BASE64_STANDARD.encode(bytes), address),
    };
    contents.with_mime_type(media_type)
}

fn detailed(task: Task) -> DetailedTask {
    let Task { id, stage, message, created_at, updated_at } = task;
    let mut task =
        rmcp::model::Task::new(id, TaskStatus::Working, created_at, updated_at).with_poll_interval_ms(LOOK_MS);
    task.status_message = message;
    let payload = match stage {
        Stage::Working => TaskPayload::Working,
        Stage::Cancelled => TaskPayload::Cancelled,
        Stage::Failed(why) => {
            TaskPayload::Failed { error: object(serde_json::to_value(ErrorData::internal_error(why, None))) }
        }
        Stage::Asks(questions) => TaskPayload::InputRequired { input_requests: requests(&questions) },
        Stage::Done(answer) => TaskPayload::Completed { result: object(serde_json::to_value(result(answer))) },
    };
    DetailedTask::new(task, payload)
}

fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_a_share_of_the_places() {
        let places = Places::new();
        let mut taken: Vec<_> = (0..CALLS_EACH_MAX).map(|_| places.take(&"a").expect("a place")).collect();
        assert!(places.take(&"a").is_err());
        let other = places.take(&"b").expect("others have theirs");
        taken.pop();
        drop(places.take(&"a").expect("one is free again"));
        drop((taken, other));
        assert!(places.taken.lock().is_empty());
        let callers: Vec<String> = (0..CALLS_MAX).map(|number| number.to_string()).collect();
        let places = Places::new();
        let all: Vec<_> = callers.iter().map(|caller| places.take(caller).expect("a place")).collect();
        assert!(places.take(&"another".to_owned()).is_err(), "there are no more than {}", all.len());
    }
}
