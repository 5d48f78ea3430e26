//! What would become of an envelope if it were dispatched now: nothing is taken, nothing is recorded.
//!
//! What a node has against it is asked in the very way in which a dispatch is ([`Engine::examine`]); what its constraints say of each tool is
//! the core's to say.

use sortie_contract::Status;
use sortie_contract::envelope::{EffectiveBudget, Envelope, Parsed};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::tool::{MODEL, ToolInfo, ToolName};
use sortie_mission::Denial;
use sortie_mission::gate::{Approval, Gate, List, Rules};

use super::Engine;
use super::intake::DispatchError;
use super::shown::{
    BudgetView, EntryView, ExplainedView, LimitedBy, ModelSaidView, PluginName, TakesView, ToolSaidView, ToolVerdict,
    WindowView,
};

impl Engine {
    /// What would hold of the envelope in this text.
    ///
    /// # Errors
    /// [`DispatchError`] where there is nothing to be said of it: it is no envelope at all, or one for another node.
    pub async fn explain(&self, text: &str) -> Result<ExplainedView, DispatchError> {
        let (envelope, mistakes, mut warnings) = match Envelope::parse(text) {
            Ok(Parsed { envelope, warnings, .. }) => (envelope, Vec::new(), warnings),
            Err(rejected) => match rejected.draft {
                Some(draft) => (draft.envelope().clone(), rejected.mistakes, Vec::new()),
                None => return Err(DispatchError::Invalid(rejected.mistakes)),
            },
        };
        let examination = self.examine(&envelope, mistakes).await?;
        let errors = match examination.passed() {
            Ok(_) => Vec::new(),
            Err(Denial::Mistakes(mistakes)) => mistakes,
            Err(denial) => return Err(denial.into()),
        };
        let admission = examination.admission();
        warnings.extend(admission.into_iter().flat_map(|admission| admission.warnings.iter().cloned()));
        let effective_window = admission.and_then(|admission| {
            self.what_hours_leave(&admission.lane, envelope.window, Status::Queued, LimitedBy::Mission)
        });
        let unknown = admission.map_or(&[][..], |admission| admission.unknown_approvals.as_slice());
        Ok(ExplainedView {
            accepted: errors.is_empty(),
            errors,
            warnings,
            plugin: examination.chosen().map(PluginName::from),
            takes: examination.chosen().and_then(|plugin| self.takes(plugin)),
            vp_runtime_id: admission.map(|admission| admission.lane.to_string()),
            effective_budget: admission.map(|admission| BudgetView::from(&admission.budget)),
            autonomy_window: WindowView::from(&envelope.window),
            effective_window,
            tools: self.said(&envelope, unknown),
            models: self.said_of_models(&envelope, admission.map(|admission| &admission.budget)),
            success_criteria: envelope.success_criteria.clone(),
            required_outputs: envelope.required_outputs.clone(),
        })
    }

    /// What an installed plugin says that its missions take.
    fn takes(&self, plugin: &PluginIdentity) -> Option<TakesView> {
        let found = self.guests.installed(&plugin.name).into_iter().find(|installed| installed.identity == *plugin)?;
        Some(TakesView::of(&found.manifest))
    }

    /// What the constraints of an envelope, and what would hold of its budget, say of each model that the node has.
    fn said_of_models(&self, envelope: &Envelope, budget: Option<&EffectiveBudget>) -> Vec<ModelSaidView> {
        let (rules, tool) = (Rules::new(&envelope.constraints), ToolInfo::undeclared(ToolName::new(MODEL)));
        let (verdict, by) = match rules.gate_of_unlisted(&tool) {
            Gate::Forbidden(entry) => (ToolVerdict::Denied, Some((List::Forbidden, entry.text.to_owned()))),
            Gate::NeedsApproval(Approval::Required(entry)) => {
                (ToolVerdict::Asks, Some((List::Approval, entry.text.to_owned())))
            }
            Gate::NeedsApproval(Approval::Unclassified(entry)) => {
                (ToolVerdict::Asks, Some((List::Approval, entry.to_owned())))
            }
            Gate::NotAllowed(_) => (ToolVerdict::Denied, None),
            Gate::Granted => (ToolVerdict::Allowed, None),
        };
        let said = self.models.list().into_iter().map(|info| {
            let longest = f64::from(info.max_output_tokens) * info.prices.output / 1e6;
            ModelSaidView {
                name: info.name,
                model: info.model,
                is_default: info.is_default,
                verdict,
                by: by.clone().map(|(list, entry)| EntryView::of(list, entry)),
                input_usd_per_mtok: info.prices.input,
                output_usd_per_mtok: info.prices.output,
                longest_answer_usd: longest,
                longest_answers: budget.and_then(|budget| answers(budget, longest)),
            }
        });
        said.collect()
    }

    /// What the constraints of an envelope say of each tool that the node has at the moment.
    fn said(&self, envelope: &Envelope, unknown_approvals: &[String]) -> Vec<ToolSaidView> {
        let rules = Rules::new(&envelope.constraints);
        let toolbox = self.toolbox();
        let said = toolbox.infos().iter().map(|tool| {
            let said = rules.say(unknown_approvals, tool);
            ToolSaidView {
                tool: tool.name.to_string(),
                verdict: ToolVerdict::from(said.stands),
                only_some: said.only_some,
                by: said.by.into_iter().map(|(list, entry)| EntryView::of(list, entry)).collect(),
            }
        });
        said.collect()
    }
}

/// How many answers a budget has room for that cost so many US dollars each; none where nothing limits them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and the cast saturates")]
fn answers(budget: &EffectiveBudget, each: f64) -> Option<u64> {
    let of_money = budget.cost_max.filter(|_| each > 0.0).map(|cost| (cost.as_usd() / each + 1e-9) as u64);
    of_money.into_iter().chain(budget.llm_calls_max).min()
}

#[cfg(test)]
mod tests {
    use sortie_contract::MicroUsd;

    use super::*;

    #[test]
    fn calls_and_money_bound_how_many_answers_there_are() {
        for (llm_calls_max, cost_max, each, expected) in [
            (None, None, 0.5, None),
            (Some(7), None, 0.5, Some(7)),
            (None, Some(2_000_000), 0.5, Some(4)),
            (None, Some(300_000), 0.1, Some(3)),
            (Some(3), Some(2_000_000), 0.5, Some(3)),
            (Some(9), Some(2_000_000), 0.5, Some(4)),
            (None, Some(400_000), 0.5, Some(0)),
            // One that costs nothing is paid from nothing.
            (None, Some(400_000), 0.0, None),
        ] {
            let budget = EffectiveBudget { runtime_ms_max: 1, llm_calls_max, cost_max: cost_max.map(MicroUsd) };
            assert_eq!(answers(&budget, each), expected, "{llm_calls_max:?} {cost_max:?} {each}");
        }
    }
}
