//! All providers of a node, and the toolbox that holds at the moment.
//!
//! Owned here: which provider bears which name, what each offers, and the one place where a new toolbox takes the old one's. Never
//! here: asking a provider. Its driver does that, and tells what came of it ([`Providers::offers`], [`Providers::is_now`]).

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use sortie_contract::Timestamp;

use crate::builtin::BuiltIn;
use crate::config::ConfigError;
use crate::link::{Link, LinkState, Standing};
use crate::provider::{Offer, Provider};
use crate::toolbox::Toolbox;

/// See the module.
pub struct Providers {
    /// The built-in one first.
    providers: Vec<Arc<dyn Provider>>,
    links: Arc<[Arc<Link>]>,
    offers: Mutex<Vec<Offer>>,
    /// Replaced as a whole, under the lock of `offers`.
    toolbox: RwLock<Arc<Toolbox>>,
}

/// How a provider is, for those who look after a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderHealth {
    /// What it is called.
    pub name: String,
    /// How the node stands with it.
    pub standing: Standing,
    /// How many tools missions can be granted of it.
    pub tools: usize,
    /// What it offers beside that, and why it could not be taken.
    pub left_out: Vec<String>,
}

impl Providers {
    /// The built-in tools, which are there at once, and others, which are to be connected. `at` is the time of day.
    ///
    /// # Errors
    /// [`ConfigError::Provider`] where two have one name.
    pub fn new(built_in: BuiltIn, others: Vec<Arc<dyn Provider>>, at: Timestamp) -> Result<Self, ConfigError> {
        let first = built_in.offer();
        let mut providers: Vec<Arc<dyn Provider>> = vec![Arc::new(built_in)];
        let mut links = vec![Arc::new(Link::new(BuiltIn::NAME, "", LinkState::Connected, at))];
        for provider in others {
            let name = provider.name();
            if providers.iter().any(|other| other.name().eq_ignore_ascii_case(name)) {
                return Err(ConfigError::Provider { name: name.to_owned() });
            }
            links.push(Arc::new(Link::new(name, provider.prefix(), LinkState::Connecting, at)));
            providers.push(provider);
        }
        let mut offers = vec![first];
        offers.resize_with(providers.len(), Offer::default);
        let links: Arc<[Arc<Link>]> = links.into();
        let toolbox = Arc::new(Toolbox::of(Arc::clone(&links), &offers, None));
        Ok(Self { providers, links, offers: Mutex::new(offers), toolbox: RwLock::new(toolbox) })
    }

    /// The tools that there are now. Take it once for each thing that is decided.
    #[must_use]
    pub fn toolbox(&self) -> Arc<Toolbox> {
        Arc::clone(&self.toolbox.read())
    }

    /// Those that are to be connected, each with its number.
    pub fn others(&self) -> impl Iterator<Item = (usize, &Arc<dyn Provider>)> {
        self.providers.iter().enumerate().skip(1)
    }

    /// A provider has these tools from now on, and no others.
    pub fn offers(&self, provider: usize, offer: Offer) {
        let mut offers = self.offers.lock();
        offers[provider] = offer;
        let next = Toolbox::of(Arc::clone(&self.links), &offers, Some(&self.toolbox()));
        *self.toolbox.write() = Arc::new(next);
    }

    /// A provider stands so from now on; `error` says what went wrong.
    pub fn is_now(&self, provider: usize, state: LinkState, at: Timestamp, error: Option<&str>) {
        self.links[provider].is_now(state, at, error);
    }

    /// How each provider is.
    #[must_use]
    pub fn health(&self) -> Vec<ProviderHealth> {
        let toolbox = self.toolbox();
        let health = |(provider, link): (usize, &Arc<Link>)| {
            let (tools, left_out) = toolbox.of_provider(provider);
            let (name, standing) = (link.provider.clone(), link.standing());
            ProviderHealth { name, standing, tools, left_out: left_out.to_vec() }
        };
        self.links.iter().enumerate().map(health).collect()
    }
}
