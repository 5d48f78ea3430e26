//! What happens when a step's calls have ended: its artifact, its milestone, its criterion.

use minijinja::Value;
use serde_json::Value as Json;

use super::ending::Blame;
use super::frame::{Frame, Progress, State};
use super::{Run, scope};
use crate::World;
use crate::plan::{Artifact, Content, Step};

impl<'p, 'e, W: World> Run<'p, 'e, W> {
    /// All calls of a step have ended.
    pub(super) fn finish(&mut self, id: usize, index: usize) {
        let frame = self.frame(id);
        let step = &frame.graph.steps[index];
        let State::Running(progress) = std::mem::replace(&mut frame.states[index], State::Waiting(0)) else { return };
        let error = progress.error.as_ref().map(|blame| blame.text.as_str());
        frame.scope.show(step.id, scope::ended(step.each.is_some(), Some(&progress), error));
        if progress.got_nothing() {
            let blame = progress.error.clone().unwrap_or_default();
            frame.states[index] = State::Running(progress);
            return self.fail(id, index, blame);
        }
        let left_behind = self.leave_behind(id, step, &progress);
        let frame = self.frame(id);
        if let Err(blame) = left_behind {
            let blame = blame.after_calls(step.each.is_some(), progress.got());
            frame.states[index] = State::Running(progress);
            return self.fail(id, index, blame);
        }
        frame.states[index] = State::Done(progress);
        frame.release(index);
    }

    fn leave_behind(&mut self, id: usize, step: &Step<'_>, progress: &Progress) -> Result<(), Blame> {
        if let Some(artifact) = &step.artifact {
            for (scope, result) in self.frame(id).occasions(artifact.each_item, progress) {
                self.store(step, artifact, &scope, &result)?;
            }
        }
        if let Some(milestone) = &step.milestone {
            for (scope, _) in self.frame(id).occasions(milestone.each_item, progress) {
                let text = milestone.shape.text(&scope).map_err(|error| Blame::template(step, &error))?;
                self.world.milestone(&text);
            }
        }
        if let Some(criterion) = &step.criterion {
            let scope = self.frame(id).scope.step();
            let met = criterion.met.answer(&scope).map_err(|error| Blame::template(step, &error))?;
            self.world.judge(criterion.index, met, &format!("step `{}`: {} is {met}", step.id, criterion.source));
        }
        Ok(())
    }

    fn store(&mut self, step: &Step<'_>, artifact: &Artifact<'_>, scope: &Value, result: &Json) -> Result<(), Blame> {
        let template = |error| Blame::template(step, &error);
        let name = artifact.name.text(scope).map_err(template)?;
        let media_type = artifact.media_type.unwrap_or_else(|| media_type(&name));
        let stored = match &artifact.content {
            Content::File(path) => self.world.put_file(&name, media_type, &path.text(scope).map_err(template)?),
            Content::This(content) => {
                self.world.put(&name, media_type, &bytes(&content.render(scope).map_err(template)?))
            }
            Content::Result => {
                match (text_at(result, "path"), text_at(result, "content").or(text_at(result, "text"))) {
                    (Some(_), Some(text)) | (None, Some(text)) => self.world.put(&name, media_type, text.as_bytes()),
                    (Some(path), None) => self.world.put_file(&name, media_type, path),
                    (None, None) => self.world.put(&name, media_type, &bytes(result)),
                }
            }
        };
        stored.map_err(|why| Blame::step(format!("its artifact {name} could not be stored: {why}")))
    }
}

impl Frame<'_, '_> {
    /// What an artifact or a milestone is made for: the step, or each item that has a result.
    fn occasions(&mut self, each_item: bool, progress: &Progress) -> Vec<(Value, Json)> {
        match &progress.items {
            Some(items) if each_item => {
                let ended = items.iter().zip(&progress.results).enumerate();
                let ended = ended.filter_map(|(index, (item, result))| Some((index, item, result.clone()?)));
                ended.map(|(index, item, result)| (self.scope.item(index, item), result)).collect()
            }
            Some(_) => {
                let results = progress.results.iter().map(|result| result.clone().unwrap_or_default());
                vec![(self.scope.step(), results.collect())]
            }
            None => vec![(self.scope.step(), progress.results.first().cloned().flatten().unwrap_or_default())],
        }
    }
}

fn text_at<'j>(result: &'j Json, key: &str) -> Option<&'j str> {
    result.get(key).and_then(Json::as_str)
}

/// Text as it is, everything else as JSON for people.
fn bytes(content: &Json) -> Vec<u8> {
    match content {
        Json::String(text) => text.clone().into_bytes(),
        other => format!("{other:#}\n").into_bytes(),
    }
}

/// The media type that a name suggests.
fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "md" => "text/markdown; charset=utf-8",
        "txt" | "log" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "patch" | "diff" => "text/x-diff; charset=utf-8",
        "json" => "application/json",
        "ndjson" | "jsonl" => "application/x-ndjson",
        "yaml" | "yml" => "application/yaml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
