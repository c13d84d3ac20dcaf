//! A buffer that starts at a multiple of 4096, as O_DIRECT wants it.

use std::ops::{Deref, DerefMut};

/// Positions, lengths and addresses that are multiples of this suit O_DIRECT on every device.
pub const ALIGNMENT_BYTES: usize = 4096;

/// A fixed-length buffer of bytes whose address is a multiple of [`ALIGNMENT_BYTES`].
#[derive(Debug)]
pub struct AlignedBuffer {
    // Over-allocated, so that an aligned slice of the wanted length lies inside.
    storage: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zeroes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let storage = vec![0; len.saturating_add(ALIGNMENT_BYTES)].into_boxed_slice();
        // A boxed slice never moves, so what is aligned now stays so.
        let start = storage.as_ptr().align_offset(ALIGNMENT_BYTES);
        Self {
            storage,
            start,
            len,
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..][..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..][..self.len]
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT_BYTES, AlignedBuffer};

    #[test]
    fn every_buffer_is_aligned_also_after_a_move() {
        let buffers: Vec<_> = [1, 4096, 5000, 1 << 20].map(AlignedBuffer::zeroed).into();
        for buffer in buffers {
            assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT_BYTES), 0);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }
}
