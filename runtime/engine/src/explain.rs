//! What would become of an envelope if it were dispatched now: nothing is taken, nothing is recorded.
//!
//! What a node has against it is asked in the very way in which a dispatch is ([`Engine::examine`]); what its constraints say of each tool is
//! the core's to say.

use sortie_contract::Status;
use sortie_contract::envelope::{Envelope, Parsed};
use sortie_contract::plugin::PluginIdentity;
use sortie_mission::Denial;
use sortie_mission::gate::Rules;

use super::Engine;
use super::intake::DispatchError;
use super::shown::{
    BudgetView, EntryView, ExplainedView, LimitedBy, PluginName, TakesView, ToolSaidView, ToolVerdict, WindowView,
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
            success_criteria: envelope.success_criteria.clone(),
            required_outputs: envelope.required_outputs.clone(),
        })
    }

    /// What an installed plugin says that its missions take.
    fn takes(&self, plugin: &PluginIdentity) -> Option<TakesView> {
        let found = self.guests.installed(&plugin.name).into_iter().find(|installed| installed.identity == *plugin)?;
        Some(TakesView::of(&found.manifest))
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
