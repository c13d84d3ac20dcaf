//! What filesystems have in common that get another UUID.

/// Puts `bytes` at `at`; what does not fit is left out.
pub(super) fn put(raw: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = raw.get_mut(at..at.saturating_add(bytes.len())) {
        field.copy_from_slice(bytes);
    }
}
