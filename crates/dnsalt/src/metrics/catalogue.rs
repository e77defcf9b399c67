//! Every metric that there is: name, type, unit, labels, meaning.
//!
//! Names are those of Prometheus' conventions: base units, `_total` for what is counted, and the sum over
//! all values of a label means something. What an engine has not, it does not export.

use super::family::Definition;

/// What went well, and what did not.
const RESULTS: &[&str] = &["ok", "failed"];

// --- what there is --------------------------------------------------------------------------------

pub(super) static INFO: Definition = Definition::info(
    "dnsalt_info",
    "The program and what it works by; engine and backend are none if nothing is installed.",
)
.by(&[("version", &[]), ("engine", &["salt", "nat", "none"]), ("backend", &[])]);

pub(super) static PROTECTED: Definition = Definition::gauge(
    "dnsalt_protected",
    "1 if queries are salted and nothing is wrong, else 0; also 0 if the kernel cannot be asked.",
);

pub(super) static PROBLEMS: Definition =
    Definition::gauge("dnsalt_problems", "Things that are wrong; /healthz says which.");

pub(super) static INSTALLED: Definition = Definition::gauge(
    "dnsalt_installed_timestamp_seconds",
    "When the policy was installed, since 1970.",
)
.in_unit("seconds");

pub(super) static KEY_AGE: Definition = Definition::gauge(
    "dnsalt_key_age_seconds",
    "Age of the keys that ports and IDs are drawn with (salt engine).",
)
.in_unit("seconds");

// --- what it is worth -----------------------------------------------------------------------------

/// Now, and at the worst that can come. Entropy is in bits, which no name may say: the convention takes the
/// word for an amount of data, and wants bytes.
const CASES: &[(&str, &[&str])] = &[("case", &["now", "worst"])];

pub(super) static PORT_BITS: Definition = Definition::gauge(
    "dnsalt_port_entropy",
    "Bits of the source port that an off-path attacker has to guess, now and in the worst case.",
)
.by(CASES);

pub(super) static ID_BITS: Definition = Definition::gauge(
    "dnsalt_id_entropy",
    "Bits of the query ID that dnsalt adds to those of the port (salt engine).",
)
.by(CASES);

pub(super) static ADDRESS_BITS: Definition = Definition::gauge(
    "dnsalt_address_entropy",
    "Bits of the source address, where it is drawn for each query (salt engine).",
);

pub(super) static PORTS: Definition =
    Definition::gauge("dnsalt_ports", "Source ports that are drawn from.");

// --- the nat engine -------------------------------------------------------------------------------

pub(super) static NAT_FLOWS: Definition = Definition::counter(
    "dnsalt_nat_flows_total",
    "New flows that were given a port; with per-query each is a query.",
);

pub(super) static NAT_UNSOLICITED: Definition = Definition::counter(
    "dnsalt_nat_unsolicited_dropped_total",
    "Packets from a server's port that belonged to no query, and were dropped.",
);

pub(super) static NAT_SHIELD: Definition = Definition::gauge(
    "dnsalt_nat_shield_complete",
    "1 if the machine took all rules against unsolicited replies, else 0.",
);

pub(super) static NAT_CHOICES: Definition = Definition::gauge(
    "dnsalt_nat_choices",
    "Ports times source addresses that are drawn from, in the address family that has the fewest.",
);

pub(super) static NAT_OPEN: Definition = Definition::gauge(
    "dnsalt_nat_open_mappings",
    "Most mappings open now between one socket of a client and one server.",
);

pub(super) static NAT_HEADROOM: Definition = Definition::gauge(
    "dnsalt_nat_headroom_ratio",
    "Share of the choices that are free for the pair with the most open mappings, 0 to 1.",
)
.in_unit("ratio");

pub(super) static NAT_CAP: Definition = Definition::gauge(
    "dnsalt_nat_max_queries_per_second",
    "Queries a second to one server at which ports run out and queries get lost (per-query).",
);

pub(super) static CONNTRACK_DNS: Definition = Definition::gauge(
    "dnsalt_conntrack_dns_entries",
    "Entries of conntrack for DNS, within the scope (nat engine).",
);

pub(super) static CONNTRACK: Definition = Definition::gauge(
    "dnsalt_conntrack_entries",
    "Entries of conntrack in this network namespace (nat engine).",
);

pub(super) static CONNTRACK_MAX: Definition = Definition::gauge(
    "dnsalt_conntrack_max_entries",
    "The most entries that conntrack can have (nat engine).",
);

// --- the salt engine ------------------------------------------------------------------------------

pub(super) static SALT_INTERFACES: Definition =
    Definition::gauge("dnsalt_salt_interfaces", "Interfaces that have both programs.");

pub(super) static SALT_QUERIES: Definition = Definition::counter(
    "dnsalt_salt_queries_total",
    "Queries by what became of them: salted; dropped as too many identical ones were outstanding; \
     found no slot; left unsalted (several in one packet); answered on the spot with TC=1.",
)
.by(&[("outcome", &["salted", "identical", "table_full", "unsalted", "answered_tc"])]);

pub(super) static SALT_RETRANSMISSIONS: Definition = Definition::counter(
    "dnsalt_salt_retransmissions_total",
    "Queries that were sent again while outstanding, with the salt that they had; counted by their \
     outcome, too.",
);

pub(super) static SALT_REPLIES: Definition = Definition::counter(
    "dnsalt_salt_replies_total",
    "Replies that were let in: right ones; right ones cut down to TC=1; those to queries that were not \
     salted.",
)
.by(&[("outcome", &["restored", "truncated", "passed"])]);

pub(super) static SALT_CASE: Definition = Definition::counter(
    "dnsalt_salt_case_mismatches_total",
    "Right replies but for the case of letters; counted by their outcome, too.",
);

pub(super) static SALT_CASED: Definition = Definition::counter(
    "dnsalt_salt_case_queries_total",
    "Queries that left with the letters of their names in random case.",
);

pub(super) static SALT_LETTERS: Definition = Definition::counter(
    "dnsalt_salt_case_letters_total",
    "Letters of those: each is a bit that whoever forges has to guess.",
);

pub(super) static SALT_LEARNED: Definition = Definition::counter(
    "dnsalt_salt_case_learned_total",
    "Times that a server was found not to keep the case; it is left alone with it for a day.",
);

pub(super) static SALT_COOKIES: Definition = Definition::counter(
    "dnsalt_salt_cookies_total",
    "Cookies: queries that one was added to; replies that brought it back; right replies without it, of \
     servers that have cookies or answer with an error.",
)
.by(&[("outcome", &["sent", "returned", "missing"])]);

pub(super) static SALT_COOKIES_LEARNED: Definition = Definition::counter(
    "dnsalt_salt_cookies_learned_total",
    "Times that a server was found not to answer queries with cookies; it gets none for a day.",
);

pub(super) static SALT_DROPPED: Definition = Definition::counter(
    "dnsalt_salt_replies_dropped_total",
    "Replies that were dropped: to a port where no query waits (forged), once more, too late, near \
     misses (wrong_id, wrong_question, wrong_server), unreadable.",
)
.by(&[(
    "reason",
    &["forged", "duplicate", "late", "wrong_id", "wrong_question", "wrong_server", "unreadable"],
)]);

pub(super) static SALT_ICMP: Definition = Definition::counter(
    "dnsalt_salt_icmp_errors_total",
    "Errors of ICMP that quote DNS: translated, or dropped as nothing like it is outstanding.",
)
.by(&[("outcome", &["translated", "dropped"])]);

pub(super) static SALT_LOCKDOWNS: Definition = Definition::counter(
    "dnsalt_salt_lockdowns_total",
    "Lockdowns that began: no UDP leaves for the server for a while.",
);

pub(super) static SALT_LOCKED: Definition =
    Definition::gauge("dnsalt_salt_locked_down_servers", "Servers that are locked down now.");

pub(super) static SALT_EVENTS_LOST: Definition = Definition::counter(
    "dnsalt_salt_events_lost_total",
    "Events that the kernel did not tell, as there were too many.",
);

pub(super) static SALT_OUTSTANDING: Definition =
    Definition::gauge("dnsalt_salt_outstanding_queries", "Queries that wait for their replies.");

pub(super) static SALT_SLOTS: Definition =
    Definition::gauge("dnsalt_salt_slots", "Queries that can be outstanding at a time.");

pub(super) static SALT_HEADROOM: Definition = Definition::gauge(
    "dnsalt_salt_headroom_ratio",
    "Share of free slots in the fullest eighth of the table, 0 to 1; a pair of client and server has \
     one eighth.",
)
.in_unit("ratio");

// --- the agent ------------------------------------------------------------------------------------

pub(super) static EVENTS: Definition = Definition::counter(
    "dnsalt_events_total",
    "Events that the kernel told the agent: samples, 64 a second for each CPU at most.",
)
.by(&[(
    "kind",
    &["wrong_id", "wrong_question", "wrong_server", "wrong_case", "lockdown", "other"],
)]);

pub(super) static LOST: Definition =
    Definition::counter("dnsalt_protection_lost_total", "Times that protection was found lost.");

pub(super) static RESTORED: Definition = Definition::counter(
    "dnsalt_protection_restored_total",
    "Times that the agent restored protection.",
);

pub(super) static RELOADS: Definition =
    Definition::counter("dnsalt_reloads_total", "Reloads of the configuration.")
        .by(&[("result", RESULTS)]);

pub(super) static LAST_RELOAD: Definition = Definition::gauge(
    "dnsalt_last_reload_timestamp_seconds",
    "When the configuration was reloaded last, well or not, since 1970.",
)
.in_unit("seconds");

pub(super) static LAST_RELOAD_OK: Definition = Definition::gauge(
    "dnsalt_last_reload_success",
    "1 if the last reload went well, 0 if the old configuration is still in force.",
);

pub(super) static KEY_RENEWALS: Definition =
    Definition::counter("dnsalt_key_renewals_total", "Renewals of the salt engine's keys.")
        .by(&[("result", RESULTS)]);

pub(super) static EXECS: Definition = Definition::counter(
    "dnsalt_execs_total",
    "Programs started because of an event; skipped if the one before still ran.",
)
.by(&[("result", &["ok", "failed", "skipped"])]);

pub(super) static READS: Definition = Definition::counter(
    "dnsalt_kernel_reads_total",
    "Readings of firewall, maps and conntrack; one a second at most, and only for a scrape.",
)
.by(&[("result", RESULTS)]);

pub(super) static READ_DURATION: Definition =
    Definition::gauge("dnsalt_kernel_read_duration_seconds", "How long the last reading took.")
        .in_unit("seconds");

pub(super) static READ_AGE: Definition = Definition::gauge(
    "dnsalt_kernel_read_age_seconds",
    "Age of what is exported; beyond 10 seconds the kernel, or a command, does not answer.",
)
.in_unit("seconds");

// --- the process: names that every client library has -----------------------------------------------

pub(super) static CPU: Definition = Definition::counter(
    "process_cpu_seconds_total",
    "Time that the agent spent on CPUs, user and system.",
)
.in_unit("seconds");

pub(super) static START: Definition =
    Definition::gauge("process_start_time_seconds", "When the agent started, since 1970.")
        .in_unit("seconds");

pub(super) static RESIDENT: Definition =
    Definition::gauge("process_resident_memory_bytes", "Memory of the agent that is resident.")
        .in_unit("bytes");

pub(super) static OPEN_FDS: Definition =
    Definition::gauge("process_open_fds", "File descriptors that the agent has open.");

pub(super) static MAX_FDS: Definition =
    Definition::gauge("process_max_fds", "File descriptors that the agent can have open.");

/// All of them, as the reference lists them.
#[cfg(test)]
pub(super) static ALL: &[&Definition] = &[
    &INFO,
    &PROTECTED,
    &PROBLEMS,
    &INSTALLED,
    &KEY_AGE,
    &PORT_BITS,
    &ID_BITS,
    &ADDRESS_BITS,
    &PORTS,
    &NAT_FLOWS,
    &NAT_UNSOLICITED,
    &NAT_SHIELD,
    &NAT_CHOICES,
    &NAT_OPEN,
    &NAT_HEADROOM,
    &NAT_CAP,
    &CONNTRACK_DNS,
    &CONNTRACK,
    &CONNTRACK_MAX,
    &SALT_INTERFACES,
    &SALT_QUERIES,
    &SALT_RETRANSMISSIONS,
    &SALT_REPLIES,
    &SALT_CASE,
    &SALT_CASED,
    &SALT_LETTERS,
    &SALT_LEARNED,
    &SALT_COOKIES,
    &SALT_COOKIES_LEARNED,
    &SALT_DROPPED,
    &SALT_ICMP,
    &SALT_LOCKDOWNS,
    &SALT_LOCKED,
    &SALT_EVENTS_LOST,
    &SALT_OUTSTANDING,
    &SALT_SLOTS,
    &SALT_HEADROOM,
    &EVENTS,
    &LOST,
    &RESTORED,
    &RELOADS,
    &LAST_RELOAD,
    &LAST_RELOAD_OK,
    &KEY_RENEWALS,
    &EXECS,
    &READS,
    &READ_DURATION,
    &READ_AGE,
    &CPU,
    &START,
    &RESIDENT,
    &OPEN_FDS,
    &MAX_FDS,
];
