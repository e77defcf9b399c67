//! What is exported, before it is text: families of samples, each by its definition.

use std::fmt;

/// What a metric is. Its definition feeds the export, the reference and the tests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// As Prometheus stores it: with the unit, and with `_total` or `_info`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The last word of the name before its suffix, if it is a unit.
    pub(super) unit: Option<&'static str>,
    /// Names of labels, each with the values that it can have; none where they are any.
    pub(super) labels: &'static [(&'static str, &'static [&'static str])],
    pub(super) help: &'static str,
}

/// Types of metrics that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows, until it begins anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Says what is; its value is 1.
    Info,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
        })
    }
}

impl Definition {
    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Definition { name, kind: Kind::Counter, unit: None, labels: &[], help }
    }

    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Definition { name, kind: Kind::Gauge, unit: None, labels: &[], help }
    }

    pub(super) const fn info(name: &'static str, help: &'static str) -> Self {
        Definition { name, kind: Kind::Info, unit: None, labels: &[], help }
    }

    pub(super) const fn in_unit(self, unit: &'static str) -> Self {
        Definition { unit: Some(unit), ..self }
    }

    pub(super) const fn by(
        self,
        labels: &'static [(&'static str, &'static [&'static str])],
    ) -> Self {
        Definition { labels, ..self }
    }

    /// The name without what the encoder adds: unit and suffix.
    pub(super) fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        let name = self.name.strip_suffix(suffix).unwrap_or(self.name);
        let unit = self.unit.unwrap_or("");
        name.strip_suffix(unit).and_then(|name| name.strip_suffix('_')).unwrap_or(name)
    }
}

/// A number. Counts stay whole however large they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Whole(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

/// One line of the export.
#[derive(Debug)]
pub(super) struct Sample {
    /// Values of the labels, in the order of the definition.
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// All samples of a definition.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) definition: &'static Definition,
    pub(super) samples: Vec<Sample>,
}

/// Everything that is exported at a time.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    /// Adds a sample without labels.
    pub(super) fn add(&mut self, definition: &'static Definition, value: impl Into<Value>) {
        self.add_by(definition, &[], value);
    }

    /// Adds a sample with the values of the definition's labels. Samples of one family come one after
    /// another: the format wants it.
    pub(super) fn add_by(
        &mut self,
        definition: &'static Definition,
        labels: &[&str],
        value: impl Into<Value>,
    ) {
        debug_assert_eq!(labels.len(), definition.labels.len(), "{}", definition.name);
        let named = definition.labels.iter().zip(labels);
        let labels = named.map(|((name, _), value)| (*name, (*value).to_owned())).collect();
        let sample = Sample { labels, value: value.into() };
        match self.0.last_mut() {
            Some(last) if std::ptr::eq(last.definition, definition) => last.samples.push(sample),
            _ => self.0.push(Family { definition, samples: vec![sample] }),
        }
    }
}
