//! Figures: a line each, for people or for programs; of two cases the ratio.

use serde_json::json;

/// What a figure counts, and whether more of it is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many a second.
    PerSecond,
    /// Milliseconds.
    Ms,
    /// MiB.
    MiB,
    /// KiB.
    KiB,
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Ms => "ms",
            Self::MiB => "MiB",
            Self::KiB => "KiB",
        }
    }

    /// How many times as much `value` costs as `small` does: 1 is the same, 1.2 is a fifth more.
    fn ratio(self, value: f64, small: f64) -> f64 {
        match self {
            Self::PerSecond => small / value,
            Self::Ms | Self::MiB | Self::KiB => value / small,
        }
    }
}

/// Where figures go.
pub(crate) struct Report {
    shape: &'static str,
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { shape: "", json }
    }

    /// The same, for one shape.
    pub(crate) fn of(&self, shape: &'static str) -> Self {
        Self { shape, json: self.json }
    }

    /// A figure by itself.
    pub(crate) fn figure(&self, case: &str, value: f64, unit: Unit) {
        self.line(case, value, unit, None);
    }

    /// A figure beside that of its small case.
    pub(crate) fn beside(&self, case: &str, value: f64, unit: Unit, small: f64) {
        self.line(case, value, unit, Some(small));
    }

    fn line(&self, case: &str, value: f64, unit: Unit, small: Option<f64>) {
        let ratio = small.map(|small| unit.ratio(value, small));
        if self.json {
            let line = json!({
                "shape": self.shape, "case": case, "value": value, "unit": unit.as_str(), "small": small, "ratio": ratio,
            });
            println!("{line}");
            return;
        }
        let digits = if value < 100.0 { 2 } else { 0 };
        let beside = match (small, ratio) {
            (Some(small), Some(ratio)) => format!("   {ratio:.2} times its small case ({small:.digits$})"),
            _ => String::new(),
        };
        println!("{:<10} {case:<44} {value:>10.digits$} {:<10}{beside}", self.shape, unit.as_str());
    }
}

/// The middle of what was measured.
pub(crate) fn middle(mut measured: Vec<f64>) -> f64 {
    measured.sort_unstable_by(f64::total_cmp);
    measured[measured.len() / 2]
}
