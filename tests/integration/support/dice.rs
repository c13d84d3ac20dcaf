//! Random numbers that are the same for the same seed.

/// Numbers without a pattern.
pub(crate) struct Dice(u64);

impl Dice {
    /// The numbers of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, below `limit`.
    pub(crate) const fn below(&mut self, limit: usize) -> usize {
        // SplitMix64, by its constants.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 1) as usize % if limit == 0 { 1 } else { limit }
    }
}
