//! Numbers that are types of their own, written like numbers.

/// Writes out each of some types as the number that it holds.
macro_rules! displayed {
    ($($number:ty)*) => {$(
        impl std::fmt::Display for $number {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

pub(super) use displayed;
