//! What `dnsalt serve` counts.

use dnsalt_serve::{Count, Numbers};

use super::encode::{Format, encode};
use super::family::{Definition, Families};
use super::{Health, Source};

static QUERIES: Definition =
    Definition::counter("dnsalt_serve_queries_total", "What came over UDP and TCP.")
        .by(&[("transport", &["udp", "tcp"])]);
static MALFORMED: Definition = Definition::counter(
    "dnsalt_serve_malformed_total",
    "What of it is no query: answered with an error, or not at all.",
);
static REFUSED: Definition =
    Definition::counter("dnsalt_serve_refused_total", "Queries for names outside of the zone.");
static TRUNCATED: Definition = Definition::counter(
    "dnsalt_serve_truncated_total",
    "Replies over UDP with TC=1: longer than an unknown sender may cause, or too many for its network.",
);
static DROPPED: Definition = Definition::counter(
    "dnsalt_serve_dropped_total",
    "Queries over UDP that were not answered, as their network asked too fast.",
);
static FULL: Definition = Definition::counter(
    "dnsalt_serve_connections_refused_total",
    "Connections over TCP that found no room: 1,024 in all, 64 of a network.",
);
static SAMPLED: Definition = Definition::counter(
    "dnsalt_serve_sampled_total",
    "Queries of tests whose port and ID were kept to be judged.",
);
static BEGUN: Definition =
    Definition::counter("dnsalt_serve_tests_begun_total", "Tests that began.");
static FORGOTTEN: Definition = Definition::counter(
    "dnsalt_serve_tests_forgotten_total",
    "Tests that were forgotten before their hour was over, for want of room.",
);
static RESULTS: Definition =
    Definition::counter("dnsalt_serve_results_total", "Results that were asked for.");
static PAGES: Definition =
    Definition::counter("dnsalt_serve_pages_total", "Pages that were sent to browsers.");
static TESTS: Definition = Definition::gauge("dnsalt_serve_tests", "Tests that are kept.");

/// What is counted, as it is exported.
const COUNTED: [(&Definition, &[&str], Count); 12] = [
    (&QUERIES, &["udp"], Count::Udp),
    (&QUERIES, &["tcp"], Count::Tcp),
    (&MALFORMED, &[], Count::Malformed),
    (&REFUSED, &[], Count::Refused),
    (&TRUNCATED, &[], Count::Truncated),
    (&DROPPED, &[], Count::Dropped),
    (&FULL, &[], Count::Full),
    (&SAMPLED, &[], Count::Sampled),
    (&BEGUN, &[], Count::Begun),
    (&FORGOTTEN, &[], Count::Forgotten),
    (&RESULTS, &[], Count::Judged),
    (&PAGES, &[], Count::Page),
];

/// The numbers of a server.
pub(crate) struct Serving {
    numbers: Numbers,
}

impl Serving {
    pub(crate) fn new(numbers: Numbers) -> Self {
        Serving { numbers }
    }
}

impl Source for Serving {
    fn metrics(&self, format: Format) -> String {
        let mut families = Families::default();
        for (definition, labels, count) in COUNTED {
            families.add_by(definition, labels, self.numbers.get(count));
        }
        families.add(&TESTS, self.numbers.tests());
        encode(families, format)
    }

    fn health(&self) -> Health {
        Health { protected: true, problems: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_listed;
    use super::*;

    #[test]
    fn every_count_is_exported_once() {
        for count in Count::ALL {
            assert_eq!(
                COUNTED.iter().filter(|(_, _, other)| *other == count).count(),
                1,
                "{count:?}"
            );
        }
    }

    #[test]
    fn the_page_lists_them() {
        let mut all: Vec<&Definition> =
            COUNTED.iter().map(|(definition, ..)| *definition).collect();
        all.dedup();
        all.push(&TESTS);
        assert_listed("serve.md", &all);
    }
}
