//! What a user or a plan names: a device or file, and a part of it.

pub mod open;
pub mod resolve;
