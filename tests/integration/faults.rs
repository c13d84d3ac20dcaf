//! The n-th I/O fails, for every n.
