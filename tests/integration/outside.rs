//! Bytes that no one proved free: in no partition, and behind the ends of filesystems.

mod choice;
mod containers;
mod random;
mod staging;
mod tails;
