//! What a step leaves behind when it is done: `artifact`, `milestone`, `criterion`.

use serde_json::{Map, Value as Json};

use crate::plan::graph::Named;
use crate::plan::literal;
use crate::plan::{Artifact, Content, Criterion, Text};

use super::{Names, Reader};

impl<'e> Reader<'e, '_> {
    pub(super) fn artifact(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Artifact<'e>> {
        let place = format!("{place}/artifact");
        let value = fields.get("artifact").filter(|value| !value.is_null())?;
        if value.is_string() {
            let name = self.shape(&place, value, names, needs);
            self.fixed(&place, &name.shape, "bad_name", literal::wrong_name);
            return Some(Artifact {
                name: name.shape,
                content: Content::Result,
                media_type: None,
                each_item: name.each_item,
            });
        }
        let fields = self.object(&place, value, &["name", "path", "content", "media_type"])?;
        let name = self.required_text(&place, fields, "name").map(|_| {
            let place = format!("{place}/name");
            let name = self.shape(&place, &fields["name"], names, needs);
            self.fixed(&place, &name.shape, "bad_name", literal::wrong_name);
            name
        });
        let mut each_item = name.as_ref().is_some_and(|name| name.each_item);
        let mut source = |reader: &mut Self, key: &str| {
            // A content may be null; a path cannot.
            let value = fields.get(key).filter(|value| key == "content" || !value.is_null())?;
            let text = reader.shape(&format!("{place}/{key}"), value, names, needs);
            each_item |= text.each_item;
            Some(text.shape)
        };
        let content = match (source(self, "path"), source(self, "content")) {
            (None, None) => Content::Result,
            (Some(path), None) => {
                self.fixed(&format!("{place}/path"), &path, "bad_path", literal::wrong_path);
                Content::File(path)
            }
            (None, Some(content)) => Content::This(content),
            (Some(_), Some(content)) => {
                self.complain(format!("{place}/content"), "invalid", "an artifact has a path or a content, not both");
                Content::This(content)
            }
        };
        let media_type = self.text(&place, fields, "media_type");
        if let Some(why) = media_type.and_then(literal::wrong_media_type) {
            self.complain(format!("{place}/media_type"), "bad_media_type", why);
        }
        Some(Artifact { name: name?.shape, content, media_type, each_item })
    }

    pub(super) fn milestone(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Text<'e>> {
        self.text(place, fields, "milestone")?;
        Some(self.shape(&format!("{place}/milestone"), &fields["milestone"], names, needs))
    }

    pub(super) fn criterion(
        &mut self,
        place: &str,
        fields: &'e Map<String, Json>,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Criterion<'e>> {
        let place = format!("{place}/criterion");
        let value = fields.get("criterion").filter(|value| !value.is_null())?;
        let fields = self.object(&place, value, &["text", "met"])?;
        let text = self.required_text(&place, fields, "text");
        let met = match fields.get("met").filter(|met| !met.is_null()) {
            Some(met) => self.question(format!("{place}/met"), met, names, needs),
            None => {
                self.complain(format!("{place}/met"), "required", "say with one {{ … }} when the criterion is met");
                None
            }
        };
        let criteria = self.source.success_criteria;
        let index = text.and_then(|text| criteria.iter().position(|criterion| criterion == text));
        if index.is_none() && text.is_some() {
            let known = if criteria.is_empty() { "there are none".to_owned() } else { criteria.join("; ") };
            let detail = format!("it must be the text of one of the envelope's success_criteria: {known}");
            self.complain(format!("{place}/text"), "unknown_criterion", detail);
        }
        Some(Criterion {
            index: index?,
            met: met?,
            source: fields["met"].as_str().map_or_else(|| fields["met"].to_string(), str::to_owned),
        })
    }
}
