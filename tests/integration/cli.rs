//! The command line: exit codes, JSON, help, and what is refused.

mod consent;
mod help;
mod json;
mod limits;
mod names;
mod outputs;
mod plans;
mod refusals;
mod usage;
