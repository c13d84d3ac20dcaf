//! klon: plan a backup drive, clone to it, clone again only what changed, verify.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "nothing of a program can be reached from outside"
)]

mod blank;
mod cli;
mod command;
mod confirm;
mod content;
mod damaged;
mod direction;
mod drive;
mod error;
mod exact;
mod finish;
mod fit;
mod guard;
mod human;
mod image;
mod inventory;
mod jobs;
mod json;
mod manual;
mod mending;
mod mount;
mod output;
mod outside;
mod picture;
mod place;
mod progress;
mod records;
mod report;
mod resized;
mod salvage;
mod side;
mod stop;
mod threads;
mod volume;
mod watch;

use clap::Parser;
use cli::{Cli, Command};
use klon_partition::text::{is_printable, printable, sealed};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("klon: {}", error::message(&error)));
            error::exit_code(&error)
        }
    }
}

/// Says what is wrong with the command line, or what was asked for instead of a command. It quotes
/// arguments, which a shell may have made of names, so it is told of them as they are printed.
fn misread(error: clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().map(sealed).collect();
    if arguments.iter().all(|argument| is_printable(argument)) {
        error.exit();
    }
    let error = Cli::try_parse_from(arguments.iter().map(|argument| printable(argument)));
    match error {
        Err(error) => error.exit(),
        Ok(_) => {
            progress::say("klon: an argument is not UTF-8 where only text is of use");
            ExitCode::from(error::USAGE)
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
