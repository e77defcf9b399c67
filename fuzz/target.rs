//! One program for each target, which has its name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dnsalt_fuzz::target(env!("CARGO_BIN_NAME"))(bytes));
