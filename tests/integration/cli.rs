//! The command line: exit codes, JSON, help, and what is refused.

mod check_boot;
mod consent;
mod help;
mod json;
mod json_keys;
mod ledger;
mod limits;
mod names;
mod not_plain;
mod outputs;
mod plan_skip;
mod plans;
mod refusals;
mod usage;
