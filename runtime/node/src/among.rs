//! What a node is among others on the same store, as it was configured.

use std::time::Duration;

use sortie_engine::fleet::{Card, Own};
use sortie_sandbox::Sandbox;
use url::Url;

use crate::config::Config;

/// See the module.
pub(crate) struct Among {
    url: Option<Url>,
    card: Card,
    lease: Duration,
}

impl Among {
    /// That of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let node = &config.node;
        let card = Card {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_named_in_answers: true,
            groups: node.groups.clone(),
            labels: node.labels.clone(),
            ..Card::default()
        };
        // It was looked at when the configuration was read.
        let url = node.advertise.as_deref().and_then(|url| Url::parse(url).ok());
        Self { url, card, lease: node.lease }
    }

    /// The same, of a node that listens on that port; the others vouch towards it with that key.
    pub(crate) fn own(&self, port: Option<u16>, key: String, sandbox: &Sandbox) -> Own {
        let mut url = self.url.clone();
        if let (Some(url), Some(port)) = (&mut url, port)
            && url.port() == Some(0)
        {
            // An address with a host takes any port.
            let _ = url.set_port(Some(port));
        }
        let card = Card { url: url.map(|url| url.to_string()), key, ..self.card.clone() };
        let sandbox = sandbox.clone();
        let plugins = Box::new(move || sandbox.plugins().into_iter().map(|plugin| plugin.identity).collect());
        Own { card, plugins, lease: self.lease }
    }
}
