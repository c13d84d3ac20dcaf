//! klon: plan a backup drive, clone to it, clone again only what changed, verify.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "nothing of a program can be reached from outside"
)]

mod cli;
mod command;
mod confirm;
mod content;
mod damaged;
mod direction;
mod drive;
mod error;
mod finish;
mod guard;
mod human;
mod image;
mod inventory;
mod jobs;
mod manual;
mod mount;
mod output;
mod picture;
mod place;
mod progress;
mod records;
mod report;
mod salvage;
mod side;
mod stop;
mod threads;
mod volume;
mod watch;
mod zone;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("klon: {}", error::message(&error)));
            error::exit_code(&error)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, common } = cli;
    match command {
        Command::Devices(args) => command::devices::run(&args, &common),
        Command::Plan(args) => command::plan::run(&args, &common),
        Command::Prepare(args) => command::prepare::run(&args, &common),
        Command::Clone(args) => command::clone::run(&args, &common),
        Command::Finish(args) => command::finish::run(&args, &common),
        Command::Image(args) => command::image::run(&args, &common),
        Command::Export(args) => command::export::run(&args, &common),
        Command::Extract(args) => command::extract::run(&args, &common),
        Command::Import(args) => command::import::run(&args, &common),
        Command::List(args) => command::list::run(&args, &common),
        Command::Info(args) => command::info::run(&args, &common),
        Command::Restore(args) => command::restore::run(&args, &common),
        Command::Verify(args) => command::verify::run(&args, &common),
        Command::Diff(args) => command::diff::run(&args, &common),
        Command::Prune(args) => command::prune::run(&args, &common),
        Command::Map(args) => command::map::run(&args, &common),
        Command::Mount(args) => command::mount::run(&args, &common),
        Command::Serve(args) => command::serve::run(&args, &common),
        Command::Man { directory } => manual::pages(&directory),
        Command::Completions { shell } => manual::completions(shell),
    }
}
