//! Random choices that are no secret: whom a message goes to. The seed is handed in.

/// A small generator of numbers (a counter, well mixed).
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `count` places, each as likely as the others; 0 if there are none.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The high half of the product: what a division would give, without one.
        ((u128::from(mix(self.0)) * count as u128) >> 64) as usize
    }
}

/// Spreads what is in some bits of a number over all of them, so that each depends on each.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number for some octets that is the same today and tomorrow, whatever the machine (FNV-1a, and mixed).
pub fn stable_hash(octets: &[u8]) -> u64 {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(octets.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_comes_up_about_as_often() {
        let mut chance = Chance::new(1);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[chance.below(7)] += 1);
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn hashes_stay_what_they_are() {
        // Queues that are there after a restart take the same keys as before: these may not change.
        assert_eq!(stable_hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(stable_hash(b"key"), 0x487e_b6f7_e0ea_7e7c);
    }
}
