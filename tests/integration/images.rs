//! Images: what is done with them beyond taking and restoring them.

mod serve;
