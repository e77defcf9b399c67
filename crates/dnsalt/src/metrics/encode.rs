//! Families as text, in the format that the client asks for.
//!
//! The two formats differ in little: `OpenMetrics` names a counter without `_total` where it describes it,
//! knows units and infos, and ends with `# EOF`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::family::{Families, Family, Kind, Sample, Value};

/// A format of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format of Prometheus, 0.0.4, which everybody reads.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Format {
    /// Of the header `Accept`: what the client likes best, and the text format if it names none of them.
    pub(crate) fn of(accept: &str) -> Self {
        let (mut open_metrics, mut plain) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut known) = (1.0_f32, true);
            for parameter in parts {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    // We have no other; 0.0.1 is what OpenMetrics was called before it was 1.0.0.
                    "version" => known = ["1.0.0", "0.0.1", "0.0.4"].contains(&value.trim()),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if known => {
                    open_metrics = quality.max(open_metrics);
                }
                "text/plain" | "text/*" | "*/*" => plain = quality.max(plain),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain { Format::OpenMetrics } else { Format::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => prometheus_text::CONTENT_TYPE,
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All of it, as text.
pub(super) fn encode(families: Families, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(families));
    let mut text = String::new();
    let written = match format {
        Format::Text => prometheus_text::encode(&mut text, &registry),
        Format::OpenMetrics => text::encode(&mut text, &registry),
    };
    // A string takes whatever is written to it.
    debug_assert!(written.is_ok());
    text
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| encode_family(family, &mut encoder))
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let definition = family.definition;
    let unit = definition.unit.map(|unit| Unit::Other(unit.to_owned()));
    let kind = match definition.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    };
    let mut metric =
        encoder.encode_descriptor(definition.stem(), definition.help, unit.as_ref(), kind)?;
    for sample in &family.samples {
        if definition.kind == Kind::Info {
            metric.encode_info(&sample.labels)?;
        } else if sample.labels.is_empty() {
            encode_sample(definition.kind, sample, &mut metric)?;
        } else {
            encode_sample(definition.kind, sample, &mut metric.encode_family(&sample.labels)?)?;
        }
    }
    Ok(())
}

fn encode_sample(kind: Kind, sample: &Sample, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    match (kind, sample.value) {
        (Kind::Counter, Value::Whole(value)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Kind::Counter, Value::Real(value)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (_, Value::Whole(value)) => metric.encode_gauge(&value),
        (_, Value::Real(value)) => metric.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::family::Definition;

    #[test]
    fn the_client_chooses() {
        // What Prometheus 2.42 and 3.0 send, curl, a browser.
        let prometheus = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for accept in [prometheus, newer, "Application/OpenMetrics-Text"] {
            assert_eq!(Format::of(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=rubbish",
            ";;;,,,=;q=",
        ] {
            assert_eq!(Format::of(accept), Format::Text, "{accept}");
        }
    }

    static COUNTED: Definition =
        Definition::counter("a_seconds_total", "Help.").in_unit("seconds").by(&[("why", &[])]);
    static INFO: Definition = Definition::info("a_info", "Help.").by(&[("is", &[])]);

    #[test]
    fn both_formats() {
        let families = || {
            let mut families = Families::default();
            families.add_by(&COUNTED, &["a \"b\"\\\n"], u64::MAX);
            families.add_by(&INFO, &["x"], 1_u64);
            families
        };
        assert_eq!(
            encode(families(), Format::Text),
            "# HELP a_seconds_total Help.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{why=\"a \\\"b\\\"\\\\\\n\"} 18446744073709551615\n\
             # HELP a_info Help.\n# TYPE a_info gauge\na_info{is=\"x\"} 1\n"
        );
        assert_eq!(
            encode(families(), Format::OpenMetrics),
            "# HELP a_seconds Help.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
             a_seconds_total{why=\"a \\\"b\\\"\\\\\\n\"} 18446744073709551615\n\
             # HELP a Help.\n# TYPE a info\na_info{is=\"x\"} 1\n# EOF\n"
        );
    }
}
