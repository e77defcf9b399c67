//! The kernel half on the host keeps its contract, whatever happens.

use dnsalt_model::play::Tally;
use dnsalt_model::policies::{self, COUNT};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn whatever_happens(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Err(wrong) = policies::play(&bytes) {
            return Err(TestCaseError::fail(wrong));
        }
    }
}

/// With every policy, of each thing that can become of a packet a few: else nothing would be tested.
#[test]
fn everything_does_happen() {
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    for (policy, first) in (0..COUNT).zip(0_u8..) {
        let mut all = Tally::default();
        for _ in 0..100 {
            let script: Vec<u8> = (0..600).map(|_| next()).collect();
            let bytes = [&[first], &script[..]].concat();
            all += policies::play(&bytes).unwrap();
        }
        println!("{policy}: {all:?}");
        println!("figure: packets on the host, as the model has it: {}", all.packets);
        let least = [all.nothing, all.salted, all.again, all.restored, all.dropped, all.translated];
        assert!(least.iter().all(|n| *n >= 20), "policy {policy}: {all:?}");
        assert!(all.answered >= 3 && all.truncated >= 3, "policy {policy}: {all:?}");
    }
}
