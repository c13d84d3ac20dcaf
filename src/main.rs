//! klon: plan a backup drive, clone to it, clone again only what changed, verify.

fn main() {}
