//! Where a replay breaks: by number, by tool, or by what a call is made with.

use std::str::FromStr;

use sortie_contract::tool::MODEL;
use sortie_engine::rehearsal::Wanted;

/// A call to break at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Break {
    /// By its number.
    Call(u32),
    /// Each of this tool.
    Tool(String),
    /// Each whose arguments, or text, hold this.
    Text(String),
}

impl Break {
    /// Whether it is that call.
    pub(super) fn meets(&self, call: Option<u32>, wanted: &Wanted) -> bool {
        match self {
            Self::Call(no) => call == Some(*no),
            Self::Tool(name) => wanted.tool.as_ref().is_some_and(|tool| tool.as_str() == name),
            Self::Text(part) => wanted.arguments.contains(part.as_str()),
        }
    }
}

impl FromStr for Break {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no place to break at: say call=N, tool=NAME, model, or text=PART");
        match text.split_once('=') {
            None if text == "model" => Ok(Self::Tool(MODEL.to_owned())),
            Some(("call", no)) => no.parse().ok().filter(|no| *no > 0).map(Self::Call).ok_or_else(wrong),
            Some(("tool", name)) if !name.is_empty() => Ok(Self::Tool(name.to_owned())),
            Some(("text", part)) if !part.is_empty() => Ok(Self::Text(part.to_owned())),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::tool::ToolName;

    use super::*;

    #[test]
    fn each_place_meets_its_calls_and_no_others() {
        let call = |tool: Option<&str>, arguments: &str| Wanted {
            words: String::new(),
            tool: tool.map(ToolName::new),
            arguments: arguments.to_owned(),
        };
        let (fetch, model) = (call(Some("WebFetch"), "{\"url\":\"https://a\"}"), call(Some(MODEL), "{}"));
        for (text, of_fetch, of_model) in [
            ("call=3", true, false),
            ("tool=WebFetch", true, false),
            ("model", false, true),
            ("text=https://a", true, false),
            ("text=a=b", false, false),
        ] {
            let place: Break = text.parse().expect(text);
            assert_eq!((place.meets(Some(3), &fetch), place.meets(Some(4), &model)), (of_fetch, of_model), "{text}");
            assert!(!matches!(place, Break::Call(_)) || !place.meets(None, &fetch), "{text}");
        }
        for wrong in ["", "3", "call=", "call=0", "call=x", "tool=", "text=", "line=3", "models"] {
            assert!(wrong.parse::<Break>().expect_err(wrong).contains("call=N"), "{wrong}");
        }
    }
}
