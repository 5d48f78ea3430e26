//! In which form metrics are told: OpenMetrics, which has examples with their traces, to whoever asks for it; else the text format of
//! Prometheus, version 0.0.4, which every scraper and every eye reads.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

/// A form of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// What a client would rather read: OpenMetrics only where it names that, and likes nothing better.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut openmetrics, mut text) = (0.0, 0.0);
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in accepts.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match media_type.as_str() {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                    openmetrics = f32::max(openmetrics, quality);
                }
                "text/plain" | "text/*" => text = f32::max(text, quality),
                _ => {}
            }
        }
        if openmetrics > 0.0 && openmetrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// As the header says it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Metrics in this form, of what the registry writes.
    pub(super) fn told(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Text => text(&openmetrics),
        }
    }
}

/// The same in the older form: a counter is called there what its row is called, and there are no units, no examples and no end.
fn text(openmetrics: &str) -> String {
    let counter = |line: &str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.to_owned());
    let counters: BTreeSet<String> = openmetrics.lines().filter_map(counter).collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let line = match line.strip_prefix("# ") {
            None => Cow::Borrowed(without_example(line)),
            Some(about) => {
                let mut words = about.splitn(3, ' ');
                let (Some(what @ ("HELP" | "TYPE")), Some(name)) = (words.next(), words.next()) else { continue };
                let suffix = if counters.contains(name) { "_total" } else { "" };
                Cow::Owned(format!("# {what} {name}{suffix} {}", words.next().unwrap_or_default()))
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A row without the example behind it. A `#` within a label's value is no example.
fn without_example(row: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in row.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return row[..at].trim_end(),
            _ => {}
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accepts, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("text/html, */*;q=0.1", Format::Text),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, text/plain", Format::Text),
            ("application/openmetrics-text;q=0.3, text/plain;q=0.6", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
            // One that this node does not speak.
            ("application/openmetrics-text;version=2.0.0", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accepts.parse().expect("a value"));
            assert_eq!(Format::of(&headers), expected, "{accepts}");
        }
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn the_older_form_has_what_it_knows_and_no_more() {
        let openmetrics = "# HELP a Of it.\n# TYPE a counter\na_total{x=\"# \\\"{\"} 1 # {trace_id=\"t\"} 1.0\n\
                           # HELP b_seconds How long.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
                           b_seconds_bucket{le=\"+Inf\"} 2 # {trace_id=\"t\"} 0.7\nb_seconds_sum 0.7\n# EOF\n";
        let expected = "# HELP a_total Of it.\n# TYPE a_total counter\na_total{x=\"# \\\"{\"} 1\n\
                        # HELP b_seconds How long.\n# TYPE b_seconds histogram\n\
                        b_seconds_bucket{le=\"+Inf\"} 2\nb_seconds_sum 0.7\n";
        assert_eq!(text(openmetrics), expected);
    }
}
