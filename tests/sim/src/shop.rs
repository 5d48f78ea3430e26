//! The second provider of tools: a shop that opens and closes, has other tools tomorrow, and now and then does not answer at all. The
//! seed says when.

use std::future::pending;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde_json::json;
use sortie_contract::tool::ToolInfo;
use sortie_tools::{Changed, Provider, ProviderError, Tool};

use crate::envelope::shop_tools;
use crate::executor::Executor;
use crate::scene::Scene;
use crate::tools::Scripted;

/// What it is called, and what the names of its tools begin with.
pub(crate) const NAME: &str = "shop";
pub(crate) const PREFIX: &str = "shop__";

/// How the shop is at the moment, whoever asks.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) is_open: bool,
    /// Which of its tools it has, a bit each.
    has: u8,
    /// Of what it says of them.
    edition: u32,
}

impl State {
    /// Open, with everything.
    pub(crate) fn open() -> Self {
        Self { is_open: true, has: u8::MAX, edition: 0 }
    }

    /// It has others from now on, and says other things of them.
    pub(crate) fn turns_over(&mut self, has: u8) {
        (self.has, self.edition) = (has, self.edition + 1);
    }

    fn tools(&self) -> Vec<ToolInfo> {
        let has = |place: usize| self.has & (1 << place) != 0;
        let said = |info: ToolInfo| {
            let required = if self.edition.is_multiple_of(2) { json!(["what"]) } else { json!([]) };
            let input_schema = json!({ "type": "object", "required": required });
            ToolInfo { description: format!("edition {}", self.edition), input_schema, ..info }
        };
        shop_tools().into_iter().enumerate().filter(|(place, _)| has(*place)).map(|(_, info)| said(info)).collect()
    }
}

/// Whether a tool is the shop's.
pub(crate) fn is_of_shop(tool: &str) -> bool {
    tool.starts_with(PREFIX)
}

/// The way of one life of a node to it.
pub(crate) struct Shop {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

impl Shop {
    /// It answers when the world lets it; that it is closed is an answer, too.
    async fn answers(&self) -> Result<(), ProviderError> {
        let Some(executor) = self.executor.upgrade() else { return pending().await };
        let pass = executor.pass();
        drop(executor);
        pass.await;
        if self.scene.outside(|outside| outside.faults) && self.scene.one_in(12) {
            self.scene.count("provider that does not answer");
            return pending().await;
        }
        let is_open = self.scene.outside(|outside| outside.shop.is_open);
        if is_open { Ok(()) } else { Err(ProviderError("the shop is closed".to_owned())) }
    }
}

#[async_trait]
impl Provider for Shop {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prefix(&self) -> &'static str {
        PREFIX
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        let answer = self.answers().await;
        self.scene.count(if answer.is_ok() { "provider that is reached" } else { "provider that is not reached" });
        answer
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        self.answers().await?;
        let scripted = |info| -> Arc<dyn Tool> {
            Arc::new(Scripted { info, scene: Arc::clone(&self.scene), executor: Weak::clone(&self.executor) })
        };
        Ok(self.scene.outside(|outside| outside.shop.tools()).into_iter().map(scripted).collect())
    }

    async fn health(&self) -> Result<(), ProviderError> {
        self.answers().await
    }

    async fn changed(&self) -> Changed {
        self.scene.shop_news.notified().await;
        let is_open = self.scene.outside(|outside| outside.shop.is_open);
        self.scene.count(if is_open { "provider that has changed" } else { "provider that is lost" });
        if is_open { Changed::Tools } else { Changed::Lost("it closes".to_owned()) }
    }

    async fn close(&self) {
        self.scene.count("provider that is let go of");
        drop(self.answers().await);
    }
}
