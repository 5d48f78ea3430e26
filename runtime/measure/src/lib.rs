//! How long things take: histograms that any crate of a node fills and its metrics show, each with the trace of an example.
//!
//! Owned here: the bounds of buckets, and that labels stay few whatever names come. Never here: a clock (who measures has one), and what
//! the figures are called, which is the node's to say. To take a figure is a lock of some tens of nanoseconds, never held over a wait.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use sortie_contract::trace::trace_of;

/// What is done in microseconds to seconds: a commit, a dispatch.
const QUICK: [f64; 15] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What takes milliseconds to hours: calls, answers of models, waiting.
const SLOW: [f64; 16] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0];

/// Most names that a family keeps apart: names of tools come from servers, which may think of others each time.
pub const SERIES_MAX: usize = 256;

/// What stands for the names beyond [`SERIES_MAX`], and for a name that nobody knows.
pub const OTHER: &str = "other";

/// The trace that an example belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Example {
    trace_id: String,
}

/// A histogram of seconds.
pub type Histogram = HistogramWithExemplars<Example>;

/// Histograms of seconds, by labels.
pub type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// What tells them apart.
pub type Labels = Vec<(&'static str, String)>;

/// How long one thing takes. Clones are the same.
#[derive(Debug, Clone)]
pub struct Seconds(Histogram);

impl Seconds {
    /// Of what is mostly done in less than a second.
    #[must_use]
    pub fn quick() -> Self {
        Self(quick())
    }

    /// Of what may take hours.
    #[must_use]
    pub fn slow() -> Self {
        Self(slow())
    }

    /// It took so long.
    pub fn took(&self, took: Duration) {
        self.0.observe(took.as_secs_f64(), None, None);
    }

    /// It took so long, as a part of that trace, where that has the form of one.
    pub fn took_in(&self, took: Duration, trace_id: &str) {
        self.0.observe(took.as_secs_f64(), example(trace_id), None);
    }

    /// For the metrics.
    #[must_use]
    pub fn histogram(&self) -> Histogram {
        self.0.clone()
    }
}

/// How long things of several names take, and what came of them. Clones are the same.
#[derive(Debug, Clone)]
pub struct SecondsBy {
    label: &'static str,
    all: Histograms,
    /// The names that were let in, whatever came of them.
    named: Arc<Mutex<BTreeSet<String>>>,
}

impl SecondsBy {
    /// By this label and `outcome`, of what is mostly done in less than a second.
    #[must_use]
    pub fn quick(label: &'static str) -> Self {
        Self { label, all: Histograms::new_with_constructor(quick), named: Arc::default() }
    }

    /// By this label and `outcome`, of what may take hours.
    #[must_use]
    pub fn slow(label: &'static str) -> Self {
        Self { label, all: Histograms::new_with_constructor(slow), named: Arc::default() }
    }

    /// What has this name took so long and came to this, as a part of that trace, where that has the form of one. There are a few outcomes;
    /// of names, those beyond [`SERIES_MAX`] are one.
    pub fn took(&self, name: &str, outcome: &'static str, took: Duration, trace_id: &str) {
        let mut labels = vec![(self.label, name.to_owned()), ("outcome", outcome.to_owned())];
        let is_new = self.all.get(&labels).is_none();
        if is_new && !self.lets_in(name) {
            OTHER.clone_into(&mut labels[0].1);
        }
        self.all.get_or_create(&labels).observe(took.as_secs_f64(), example(trace_id), None);
    }

    /// Whether this name has a place of its own: with one outcome it has it with all.
    fn lets_in(&self, name: &str) -> bool {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.contains(name) || (named.len() < SERIES_MAX && named.insert(name.to_owned()))
    }

    /// For the metrics.
    #[must_use]
    pub fn histograms(&self) -> Histograms {
        self.all.clone()
    }
}

fn quick() -> Histogram {
    Histogram::new(QUICK.into_iter())
}

fn slow() -> Histogram {
    Histogram::new(SLOW.into_iter())
}

fn example(trace_id: &str) -> Option<Example> {
    trace_of(trace_id).map(|trace_id| Example { trace_id })
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn names_beyond_the_bound_are_one() {
        let by = SecondsBy::slow("tool");
        for n in 0..SERIES_MAX * 4 {
            by.took(&format!("mcp__made__{n}"), "ok", Duration::from_millis(3), "");
        }
        let mut registry = Registry::default();
        registry.register("call", "Calls", by.histograms());
        let mut text = String::new();
        encode(&mut text, &registry).expect("written");
        assert_eq!(text.matches("call_count{").count(), SERIES_MAX + 1);
        let beyond = SERIES_MAX * 3;
        assert!(text.contains(&format!("call_count{{tool=\"other\",outcome=\"ok\"}} {beyond}\n")), "{text}");
    }

    #[test]
    fn a_name_that_was_let_in_keeps_all_that_comes_of_it() {
        let by = SecondsBy::slow("tool");
        let mut all: Vec<String> = (0..SERIES_MAX).map(|n| format!("mcp__made__{n}")).collect();
        all.push("mcp__made__late".to_owned());
        for outcome in ["ok", "failed"] {
            for name in &all {
                by.took(name, outcome, Duration::from_millis(3), "");
            }
        }
        let mut registry = Registry::default();
        registry.register("call", "Calls", by.histograms());
        let mut text = String::new();
        encode(&mut text, &registry).expect("written");
        for outcome in ["ok", "failed"] {
            for name in [all[0].as_str(), &all[SERIES_MAX - 1], OTHER] {
                let row = format!("call_count{{tool=\"{name}\",outcome=\"{outcome}\"}} 1\n");
                assert!(text.contains(&row), "{row}: {text}");
            }
        }
        assert!(!text.contains("mcp__made__late"), "{text}");
    }

    #[test]
    fn an_example_is_kept_where_the_trace_has_the_form_of_one() {
        let seconds = Seconds::quick();
        let mut registry = Registry::default();
        registry.register("commit", "Commits", seconds.histogram());
        let encoded = || {
            let mut text = String::new();
            encode(&mut text, &registry).expect("written");
            text
        };
        seconds.took_in(Duration::from_millis(7), "nightly");
        seconds.took(Duration::from_millis(7));
        assert!(!encoded().contains("trace_id"), "{}", encoded());
        seconds.took_in(Duration::from_millis(7), "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01");
        let line = "commit_bucket{le=\"0.01\"} 3 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.007";
        assert!(encoded().lines().any(|found| found == line), "{}", encoded());
    }
}
