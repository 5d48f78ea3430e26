//! `[mcp.NAME]`: what becomes of the tables, which `sortie-mcp` reads.

use std::ffi::OsString;

use sortie_mcp::{Keeper, McpServer};

use super::{Config, ConfigError};

/// The argument that makes the node's own binary a keeper of a tool server.
pub(crate) const KEEPER: &str = "__keep";

impl Config {
    /// What is wrong with a table, by its key.
    pub(super) fn mcp(&self) -> Result<(), ConfigError> {
        self.mcp.check().map_err(|error| ConfigError::value(&format!("mcp.{}", error.server), error.why))
    }

    /// The tool servers that are to be reached. Nothing is started yet.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn mcp_servers(&self) -> Result<Vec<McpServer>, ConfigError> {
        // Without itself, a node that is killed leaves behind what does not notice it.
        let keeper = std::env::current_exe().ok().filter(|_| is_the_binary());
        let keeper = keeper.map(|program| Keeper { program, arguments: vec![OsString::from(KEEPER)] });
        let server = |(name, config)| {
            McpServer::new(name, config, keeper.clone())
                .map_err(|error| ConfigError::value(&format!("mcp.{}", error.server), error.why))
        };
        self.mcp.enabled().map(server).collect()
    }
}

/// A test of this crate is no binary that could be a keeper.
fn is_the_binary() -> bool {
    !cfg!(test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_a_table_are_told_with_its_place() {
        for (text, key, expected) in [
            ("[mcp.a]", "mcp.a", "neither `command"),
            ("[mcp.a]\ncommand = []", "mcp.a", "names no program"),
            ("[mcp.a]\ncommand = [\"x\"]\nurl = \"https://a\"", "mcp.a", "one or the other"),
            ("[mcp.a]\ncommand = [\"x\"]\nbearer = \"env://A\"", "mcp.a", "`bearer` means nothing beside `command`"),
            ("[mcp.a]\nurl = \"http://a\"\nbearer = \"env://A\"", "mcp.a", "url: the bearer would travel in the clear"),
            (
                "[mcp.a]\nurl = \"http://1.1.1.1\"\nheaders = {X-Key = \"env://A\"}",
                "mcp.a",
                "url: the secret of `headers` would travel in the clear",
            ),
            ("[mcp.a]\nurl = \"https://a\"\nenv = {A = \"b\"}", "mcp.a", "`env` means nothing beside `url`"),
            ("[mcp.a]\nurl = \"ftp://a\"", "mcp.a", "https:// or http://"),
            ("[mcp.a]\nurl = \"https://me:hush@a/\"", "mcp.a", "must hold no password"),
            ("[mcp.a]\nurl = \"https://a\"\nheaders = {Accept = \"b\"}", "mcp.a", "the protocol's own"),
            ("[mcp.a]\nurl = \"https://a\"\nallow_private = [\"127.0.0.1:80\"]", "mcp.a", "allow_private"),
            ("[mcp.a__b]\ncommand = [\"x\"]", "mcp.a__b", "a server's name"),
            ("[mcp.\"a b\"]\ncommand = [\"x\"]", "mcp.a b", "a server's name"),
            ("[mcp.a]\ncommand = [\"x\"]\ncall_timeout = \"2h\"", "mcp.a", "above call_timeout_max"),
            ("[mcp.a]\ncommand = [\"x\"]\ncall_timeout = \"0s\"", "mcp.a", "must be 1s to 24h"),
            (
                "[mcp.a]\ncommand = [\"x\"]\n[mcp.a.tool.t]\neffects = [\"outbound_emial\"]",
                "mcp.a.tool.t.effects",
                "outbound_email",
            ),
            (
                "[mcp.a]\ncommand = [\"x\"]\n[mcp.a.tool.t]\nread_only = true\neffects = [\"outbound_email\"]",
                "mcp.a",
                "tool.t: read_only",
            ),
        ] {
            let config: Config = toml::from_str(text).expect("TOML of this form");
            let told = config.validate().expect_err(text).to_string();
            assert!(told.contains(&format!("`{key}`")) && told.contains(expected), "{text}: {told}");
            assert!(!told.contains("hush"), "{told}");
        }
        for (text, expected) in [
            ("[mcp.a]\ncommand = [\"x\"]\nurls = \"x\"", "unknown field `urls`"),
            ("[mcp.a]\ncommand = [\"x\"]\nenv = {A = \"env://not a name\"}", "a secret is referred to as"),
            ("[mcp.a]\ncommand = \"x\"", "sequence"),
        ] {
            let told = toml::from_str::<Config>(text).expect_err(text).to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
        let good = "[mcp.a]\ncommand = [\"x\"]\nenv = {A = \"env://A\", B = \"hush\"}\n[mcp.b]\nurl = \"https://b/mcp\"\nenabled = false";
        let config: Config = toml::from_str(good).expect("TOML of this form");
        config.validate().expect("it can be used");
        assert_eq!(config.mcp_servers().expect("servers").len(), 1, "one is off");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
