//! `[retention]`: how long missions are kept once they are over, and which of them longer or shorter than others.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use sortie_contract::LaneId;
use sortie_contract::envelope::MissionType;
use sortie_mission::{Retention, RetentionRule, Retentions};

use super::{Config, ConfigError};

/// `[retention]`. One whose events are not all delivered is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// So long after their end; `None` for ever.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize_some")]
    pub age: Option<Duration>,
    /// So many; without it, as many as there are.
    pub missions: Option<usize>,
    /// So long after a newer version of a plugin is there, the older one goes that nobody needs; `None`: it stays.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize_some")]
    pub unused_plugins: Option<Duration>,
    /// `[[retention.rule]]`: the first that fits a mission holds in the place of the above.
    pub rule: Vec<RetentionRuleConfig>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            age: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            missions: None,
            unused_plugins: None,
            rule: Vec::new(),
        }
    }
}

/// `[[retention.rule]]`: of missions that are all that it names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionRuleConfig {
    /// Of this lane.
    pub lane: Option<String>,
    /// Of this type.
    pub mission_type: Option<String>,
    /// That this schedule made.
    pub schedule: Option<String>,
    /// So long after their end; without it, for ever.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize_some")]
    pub age: Option<Duration>,
    /// So many of them; without it, as many as there are.
    pub missions: Option<usize>,
}

impl Config {
    /// `[retention]`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an age beyond what a clock can show, and for a rule that is of no mission, or of all.
    pub fn retention(&self) -> Result<Retentions, ConfigError> {
        let RetentionConfig { age, missions, rule, .. } = &self.retention;
        let general = Retention { age: age_of("retention.age", *age)?, missions: *missions };
        let rules = rule.iter().map(|rule| self.retention_rule(rule)).collect::<Result<_, _>>()?;
        Ok(Retentions { general, rules })
    }

    /// After how long a version of a plugin goes that was replaced and that nobody needs; `None`: never.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a time beyond what a clock can show.
    pub fn unused_plugins(&self) -> Result<Option<SignedDuration>, ConfigError> {
        age_of("retention.unused_plugins", self.retention.unused_plugins)
    }

    fn retention_rule(&self, rule: &RetentionRuleConfig) -> Result<RetentionRule, ConfigError> {
        let RetentionRuleConfig { lane, mission_type, schedule, age, missions } = rule;
        if lane.is_none() && mission_type.is_none() && schedule.is_none() {
            let why =
                "name `lane`, `mission_type`, `schedule` or several; what holds of all others stands in [retention]";
            return Err(ConfigError::value("retention.rule", why));
        }
        let known = self.lanes()?;
        let lane = lane.as_ref().map(|named| match LaneId::new(named.as_str()) {
            Ok(lane) if known.iter().any(|(id, _)| *id == lane) => Ok(lane),
            _ => Err(ConfigError::value("retention.rule.lane", format!("there is no lane `{}`", named.escape_debug()))),
        });
        let mission_type = mission_type.as_ref().map(|named| {
            MissionType::ALL.into_iter().find(|kind| kind.as_str() == named).ok_or_else(|| {
                let known = MissionType::ALL.map(MissionType::as_str).join(", ");
                let why = format!("there is no type `{}`; known are {known}", named.escape_debug());
                ConfigError::value("retention.rule.mission_type", why)
            })
        });
        let bounds = Retention { age: age_of("retention.rule.age", *age)?, missions: *missions };
        Ok(RetentionRule {
            lane: lane.transpose()?,
            mission_type: mission_type.transpose()?,
            schedule: schedule.clone(),
            bounds,
        })
    }
}

fn age_of(key: &str, age: Option<Duration>) -> Result<Option<SignedDuration>, ConfigError> {
    let years = 100 * 365 * 24 * 60 * 60;
    let age = age.map(|age| {
        let age = SignedDuration::try_from(age).ok().filter(|age| age.as_secs() <= years);
        age.ok_or_else(|| ConfigError::value(key, "must be at most a hundred years"))
    });
    age.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(text: &str) -> Result<Retentions, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.retention().map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_is_of_missions_that_there_can_be() {
        for (text, expected) in [
            ("[[retention.rule]]\nage = \"1d\"", "name `lane`"),
            ("[[retention.rule]]\nlane = \"nope\"", "there is no lane `nope`"),
            ("[[retention.rule]]\nmission_type = \"codng\"", "known are coding, "),
            ("[[retention.rule]]\nschedule = \"a\"\nage = \"999999d\"", "a hundred years"),
            ("[[retention.rule]]\nschedul = \"a\"", "unknown field `schedul`"),
        ] {
            let says = retention(text).expect_err(text);
            assert!(says.contains(expected), "{text}: {says}");
        }
        let text = "[[lane]]\nid = \"a\"\nconcurrency = 1\n[[retention.rule]]\nlane = \"a\"\nmissions = 3\n[[retention.rule]]\nschedule = \"n\"";
        let found = retention(text).expect("rules");
        let missions: Vec<_> = found.rules.iter().map(|rule| (rule.bounds.missions, rule.bounds.age)).collect();
        assert_eq!(missions, [(Some(3), None), (None, None)], "without a bound, for ever");
    }
}
