//! What schedules name: builds of plugins that their next missions want.

use super::super::Engine;

impl Engine {
    /// Of each of these texts, whether a schedule has it somewhere. Where one of them cannot be read, it may have any.
    #[must_use]
    pub fn named_by_schedules(&self, texts: &[String]) -> Vec<bool> {
        if !self.schedules.broken.lock().is_empty() {
            return vec![true; texts.len()];
        }
        let states: Vec<_> = self.schedules.all.lock().values().map(|plan| plan.state()).collect();
        let mut named = vec![false; texts.len()];
        for state in states {
            let definition = serde_json::Value::Object(state.schedule().definition()).to_string();
            for (named, text) in named.iter_mut().zip(texts) {
                *named = *named || definition.contains(text.as_str());
            }
        }
        named
    }
}
