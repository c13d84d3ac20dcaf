//! A pool of aligned buffers that become cheaply shared [`Bytes`] and come back by themselves.

use bytes::Bytes;
use klon_partition::device::AlignedBuffer;
use klon_partition::locks::lock;
use std::sync::{Arc, Mutex};

/// Buffers of one length, reused. Cloning the pool shares it.
#[derive(Clone, Debug)]
pub struct Pool {
    free: Arc<Mutex<Vec<AlignedBuffer>>>,
    buffer_bytes: usize,
}

impl Pool {
    /// A pool of buffers of `buffer_bytes`.
    #[must_use]
    pub fn new(buffer_bytes: usize) -> Self {
        Self {
            free: Arc::default(),
            buffer_bytes,
        }
    }

    /// A buffer of the pool's length; what is in it is unspecified.
    #[must_use]
    pub fn take(&self) -> Pooled {
        let reused = lock(&self.free).pop();
        let buffer = reused.unwrap_or_else(|| AlignedBuffer::zeroed(self.buffer_bytes));
        Pooled {
            buffer: Some(buffer),
            pool: self.clone(),
        }
    }

    fn give_back(&self, buffer: AlignedBuffer) {
        lock(&self.free).push(buffer);
    }
}

/// A buffer on loan; it goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Pooled {
    // `None` only while it is dropped.
    buffer: Option<AlignedBuffer>,
    pool: Pool,
}

impl Pooled {
    /// The bytes, shared from now on. The buffer goes back when the last slice is dropped.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl std::ops::Deref for Pooled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl std::ops::DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped() {
        let pool = Pool::new(4096);
        let mut buffer = pool.take();
        buffer[7] = 9;
        let address = buffer.as_ptr();
        let bytes = buffer.freeze();
        let slice = bytes.slice(7..8);
        drop(bytes);
        assert_ne!(pool.take().as_ptr(), address, "still lent");
        assert_eq!(slice[0], 9);
        drop(slice);
        assert_eq!(pool.take().as_ptr(), address);
    }
}
