//! SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash that nobody without the key can foresee, fast on
//! a few words. It draws ports and query IDs, and stands for questions.

/// A key of 128 bits.
pub type Key = [u64; 2];

/// A hash on its way.
#[derive(Clone, Copy, Debug)]
pub struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl SipHash {
    /// Of nothing yet.
    #[inline(always)]
    pub fn new(key: Key) -> Self {
        SipHash {
            v0: key[0] ^ 0x736f_6d65_7073_6575,
            v1: key[1] ^ 0x646f_7261_6e64_6f6d,
            v2: key[0] ^ 0x6c79_6765_6e65_7261,
            v3: key[1] ^ 0x7465_6462_7974_6573,
        }
    }

    /// Takes in eight bytes, the first one lowest.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    /// The hash, given the last bytes, fewer than eight, and the length of all.
    #[inline(always)]
    pub fn finish(mut self, rest: u64, length: u64) -> u64 {
        self.word(length << 56 | rest);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

/// The pseudo-random function in counter mode: 64 bits for each number, all of them unlike.
#[inline(always)]
pub fn draw(key: Key, counter: u64) -> u64 {
    let mut hash = SipHash::new(key);
    hash.word(counter);
    hash.finish(0, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vector_of_the_paper() {
        // Appendix A: key 00 01 .. 0f, message 00 01 .. 0e.
        let mut hash = SipHash::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        hash.word(0x0706_0504_0302_0100);
        assert_eq!(hash.finish(0x000e_0d0c_0b0a_0908, 15), 0xa129_ca61_49be_45e5);
    }
}
