//! One module for each command. A command shows what it will do, asks, runs and reports, in this order.

pub mod check_boot;
pub mod clone;
pub mod devices;
pub mod diff;
pub mod export;
pub mod extract;
pub mod finish;
pub mod grow;
pub mod hold;
pub mod image;
pub mod import;
pub mod info;
pub mod ledger;
pub mod list;
pub mod map;
pub mod mount;
pub mod plan;
pub mod prepare;
pub mod prune;
pub mod restore;
pub mod serve;
pub mod sleep;
pub mod thaw;
pub mod verify;
