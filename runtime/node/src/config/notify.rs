//! `[[notify]]` and `[node] public_url`: what `sortie-notify` makes of them, and what it cannot know: which lanes there are.

use url::Url;

use super::{Config, ConfigError};

impl Config {
    /// Whether the channels can be meant.
    pub(super) fn channels(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.node.public_url {
            let read = Url::parse(url).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host_str().is_some_and(|host| !host.is_empty())
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            if read.is_none() {
                let why = "must be where people reach this node's pages, such as `https://factory.example`";
                return Err(ConfigError::value("node.public_url", why));
            }
        }
        let lanes = self.lanes()?;
        for channel in &self.notify {
            if let Some(lane) =
                channel.lanes.iter().find(|lane| !lanes.iter().any(|(known, _)| known.as_str() == **lane))
            {
                let why = format!("of `{}`: there is no lane `{}`", channel.name.escape_debug(), lane.escape_debug());
                return Err(ConfigError::value("notify.lanes", why));
            }
        }
        if self.notify.is_empty() {
            return Ok(());
        }
        let secrets = self.secret.named().map_err(|error| ConfigError::from_secrets(&error))?;
        sortie_notify::examine(&self.notify, &secrets, self.node.public_url.is_some())
            .map_err(ConfigError::from_channels)
    }
}

impl ConfigError {
    pub(crate) fn from_channels(error: sortie_notify::ConfigError) -> Self {
        Self::Channel(error)
    }

    pub(crate) fn from_secrets(error: &sortie_tools::ConfigError) -> Self {
        let why =
            std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        Self::value("secret", why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_of_the_document_can_be_meant() {
        let document = include_str!("../../../../docs/NOTIFICATIONS.md");
        let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut channels = 0;
        for block in blocks {
            let config: Config = toml::from_str(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
            config.validate().unwrap_or_else(|error| panic!("{error}\n{block}"));
            channels += config.notify.len();
        }
        assert_eq!(channels, 4);
    }

    #[test]
    fn channels_name_lanes_that_there_are_and_a_node_that_has_an_address() {
        let check = |text: &str| {
            let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
            config.channels().map_err(|error| error.to_string())
        };
        let channel = "[[notify]]\nname = \"a\"\non = [\"failed\"]\nurl = \"https://x.example/\"\n";
        for text in ["", channel, "[node]\npublic_url = \"https://x.example/sortie/\"\n"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (text, expected) in [
            (format!("{channel}lanes = [\"gone\"]"), "there is no lane `gone`"),
            (format!("{channel}links = true"), "public_url"),
            (format!("[node]\npublic_url = \"factory.example\"\n{channel}"), "node.public_url"),
            (format!("[node]\npublic_url = \"https://u:p@x.example\"\n{channel}"), "node.public_url"),
            (format!("[node]\npublic_url = \"https://x.example/?a=b\"\n{channel}"), "node.public_url"),
            (format!("{channel}headers = {{ X = \"${{secret:gone}}\" }}"), "[secret.gone]"),
        ] {
            let told = check(&text).expect_err(&text);
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
