//! The estimators against NIST's own tool (SP800-90B_EntropyAssessment, `ea_non_iid -i -a -v`), on
//! series that both make by the same formulas. Values are those that it printed for the symbols as
//! they are ("literal").

use dnsalt_audit::min_entropy::{MinEntropy, min_entropy};

const N: usize = 10_000;

/// The upper 24 bits of Knuth's generator modulo 2^64.
struct Lcg(u64);

impl Lcg {
    fn byte(&mut self) -> u16 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from(self.0 >> 56).unwrap()
    }
}

fn series(seed: u64, mut next: impl FnMut(&mut Lcg) -> u16) -> Vec<u16> {
    let mut lcg = Lcg(seed);
    (0..N).map(|_| next(&mut lcg)).collect()
}

#[track_caller]
fn assert_close(found: &MinEntropy, nist: [f64; 7]) {
    let MinEntropy { most_common_value, t_tuple, lrs, multi_mcw, lag, multi_mmc, lz78y } = *found;
    let others =
        [t_tuple, lrs, multi_mcw, lag, multi_mmc, lz78y].map(|one| one.unwrap_or(f64::NAN));
    for (i, (ours, theirs)) in [most_common_value].into_iter().chain(others).zip(nist).enumerate() {
        assert!((ours - theirs).abs() < 2e-6, "estimator {i}: {ours}, not {theirs}: {found:?}");
    }
    let lowest = nist.into_iter().fold(f64::INFINITY, f64::min);
    assert!((found.lowest() - lowest).abs() < 2e-6);
}

#[test]
fn uniform_bytes() {
    let symbols = series(1, Lcg::byte);
    let nist = [7.054_617, 7.054_617, 7.381_546, 7.816_287, 7.825_257, 7.221_605, 7.245_159];
    assert_close(&min_entropy(&symbols, 8).unwrap(), nist);
}

#[test]
fn the_lower_of_two_bytes() {
    let symbols = series(2, |lcg| lcg.byte().min(lcg.byte()));
    let nist = [6.394_627, 6.394_627, 6.999_852, 6.633_439, 6.636_441, 7.355_520, 7.325_463];
    assert_close(&min_entropy(&symbols, 8).unwrap(), nist);
}

#[test]
fn a_counter_with_gaps() {
    let mut x = 0;
    let symbols = series(3, |lcg| {
        x = (x + 1 + lcg.byte() % 4) % 256;
        x
    });
    let nist = [7.221_893, 7.221_893, 2.380_580, 8.0, 3.965_638, 1.959_915, 1.960_045];
    assert_close(&min_entropy(&symbols, 8).unwrap(), nist);
}

#[test]
fn four_bits_that_mostly_stay() {
    let mut x = 0;
    let symbols = series(4, |lcg| {
        if lcg.byte() % 4 == 0 {
            x = lcg.byte() & 15;
        }
        x
    });
    let found = min_entropy(&symbols, 4).unwrap();
    let nist = [3.626_799, 0.456_616, 0.779_386, 0.895_215, 0.357_123, 0.360_986, 0.360_694];
    assert_close(&found, nist);
}

#[test]
fn few_symbols_and_wide_ones() {
    assert_eq!(min_entropy(&[7], 16), None);
    let few = min_entropy(&[1, 2, 3, 4, 5, 6, 7, 8], 16).unwrap();
    assert!(few.t_tuple.is_none() && few.multi_mcw.is_none());
    let constant = min_entropy(&[5; 1000], 16).unwrap();
    assert!(constant.lowest() < 1e-9, "{constant:?}");
}
