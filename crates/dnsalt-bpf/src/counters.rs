//! The counters by their names.

use dnsalt_salt::layout::Counter;

/// The name of a counter, as reports and metrics have it.
pub fn name(counter: Counter) -> &'static str {
    match counter {
        Counter::Salted => "salted",
        Counter::Retransmitted => "retransmitted",
        Counter::Identical => "dropped_identical",
        Counter::Full => "table_full",
        Counter::Unsalted => "unsalted",
        Counter::AnsweredTc => "answered_tc",
        Counter::Restored => "restored",
        Counter::Truncated => "truncated",
        Counter::WrongCase => "wrong_case",
        Counter::Forged => "forged",
        Counter::Duplicate => "duplicate",
        Counter::Late => "late",
        Counter::WrongId => "wrong_id",
        Counter::WrongQuestion => "wrong_question",
        Counter::WrongServer => "wrong_server",
        Counter::Unreadable => "unreadable",
        Counter::Passed => "passed",
        Counter::IcmpTranslated => "icmp_translated",
        Counter::IcmpDropped => "icmp_dropped",
        Counter::Lockdowns => "lockdowns",
        Counter::EventsLost => "events_lost",
        Counter::Cased => "cased",
        Counter::CasedLetters => "cased_letters",
        Counter::CaseLearned => "case_learned",
        Counter::Cookied => "cookied",
        Counter::CookieReturned => "cookie_returned",
        Counter::CookieMissing => "cookie_missing",
        Counter::CookieLearned => "cookie_learned",
    }
}
