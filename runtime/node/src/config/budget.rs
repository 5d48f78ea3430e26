//! `[[budget]]`: budgets that are wider than one mission.

use serde::Deserialize;
use sortie_contract::MicroUsd;
use sortie_mission::Limits;
use sortie_mission::wider::{Per, Scope, WiderBudget};

use super::{Config, ConfigError};

/// `[[budget]]`: how much the calls of a node, a lane, a source or a VP may cost in a day or a month.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// `node`, `lane:ID`, `source:ID` or `vp:ID`.
    pub scope: String,
    /// `day` or `month`, in the zone of the node.
    pub per: String,
    /// US dollars.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// Calls of models.
    #[serde(default)]
    pub llm_calls: Option<u64>,
}

impl Config {
    /// The budgets that are wider than one mission.
    ///
    /// # Errors
    /// [`ConfigError::Value`], with the scope that it is about.
    pub fn budgets(&self) -> Result<Vec<WiderBudget>, ConfigError> {
        let mut all: Vec<WiderBudget> = Vec::with_capacity(self.budget.len());
        for BudgetConfig { scope: text, per, cost_usd, llm_calls } in &self.budget {
            let scope: Scope = text
                .parse()
                .map_err(|why| ConfigError::value("budget.scope", format!("`{}`: {why}", text.escape_debug())))?;
            let per = match per.as_str() {
                "day" => Per::Day,
                "month" => Per::Month,
                _ => return Err(ConfigError::value("budget.per", format!("of `{scope}`: `day` or `month`"))),
            };
            let cost = cost_usd.map(|usd| {
                MicroUsd::exactly(usd)
                    .map_err(|why| ConfigError::value("budget.cost_usd", format!("of `{scope}`: {why}")))
            });
            let limits = Limits { llm_calls: *llm_calls, cost: cost.transpose()? };
            if limits == Limits::default() {
                let why = format!("of `{scope}`: name `cost_usd`, `llm_calls` or both; without them it limits nothing");
                return Err(ConfigError::value("budget", why));
            }
            if let Scope::Lane(lane) = &scope
                && !self.lanes()?.iter().any(|(known, _)| known == lane)
            {
                return Err(ConfigError::value("budget.scope", format!("`{scope}`: there is no such lane")));
            }
            if all.iter().any(|other| (&other.scope, other.per) == (&scope, per)) {
                let why = format!("`{scope}` has two budgets for a {}: one of them would have no effect", per.as_str());
                return Err(ConfigError::value("budget", why));
            }
            all.push(WiderBudget { scope, per, limits });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(text: &str) -> Result<Vec<WiderBudget>, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.budgets().map_err(|error| error.to_string())
    }

    #[test]
    fn a_budget_is_read_or_refused_with_its_scope() {
        let good = "[[budget]]\nscope = \"node\"\nper = \"day\"\ncost_usd = 25\n\
                    [[budget]]\nscope = \"node\"\nper = \"month\"\nllm_calls = 10_000\n\
                    [[budget]]\nscope = \"lane:default\"\nper = \"day\"\ncost_usd = 0";
        let read = budgets(good).expect("valid");
        assert_eq!(read.len(), 3);
        assert_eq!(
            (read[0].scope.clone(), read[0].per, read[0].limits.cost),
            (Scope::Node, Per::Day, Some(MicroUsd(25_000_000)))
        );
        for (text, expected) in [
            ("scope = \"team\"\nper = \"day\"\ncost_usd = 1", "`node`, `lane:ID`, `source:ID` or `vp:ID`"),
            ("scope = \"node\"\nper = \"week\"\ncost_usd = 1", "of `node`: `day` or `month`"),
            ("scope = \"node\"\nper = \"day\"", "limits nothing"),
            ("scope = \"node\"\nper = \"day\"\ncost_usd = -1", "of `node`: a price"),
            ("scope = \"node\"\nper = \"day\"\ncost_usd = nan", "of `node`: a price"),
            ("scope = \"lane:gone\"\nper = \"day\"\ncost_usd = 1", "`lane:gone`: there is no such lane"),
            ("scope = \"node\"\nper = \"day\"\ncost_usd = 1\nmoney = 1", "money"),
            ("per = \"day\"\ncost_usd = 1", "scope"),
            (
                "scope = \"node\"\nper = \"day\"\ncost_usd = 1\n[[budget]]\nscope = \"node\"\nper = \"day\"\nllm_calls = 1",
                "two budgets for a day",
            ),
        ] {
            let error = budgets(&format!("[[budget]]\n{text}")).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
