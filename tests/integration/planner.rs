//! Plans for real drives.
