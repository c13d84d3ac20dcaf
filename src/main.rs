//! klon: plan a backup drive, clone to it, clone again only what changed, verify.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "nothing of a program can be reached from outside"
)]

mod advice;
mod boot_code;
mod boot_fields;
mod cli;
mod command;
mod confirm;
mod description;
mod direction;
mod dormant;
mod error;
mod exact;
mod explain;
mod files_hit;
mod finish;
mod foreign;
mod grow;
mod guard;
mod human;
mod image;
mod inventory;
mod jobs;
mod json;
mod lay_out;
mod ledger;
mod likeness;
mod listing;
mod manual;
mod mending;
mod messages;
mod minimum;
mod mount;
mod named;
mod output;
mod outside;
mod overlay;
mod own_identity;
mod picture;
mod plan_copy;
mod plan_file;
mod progress;
mod records;
mod report;
mod run;
mod side;
mod signals;
mod source;
mod still;
mod target;
#[cfg(test)]
mod testing;
mod threads;
mod zone;

use anyhow::Context as _;
use clap::Parser;
use cli::{Cli, Command};
use klon_partition::text::{is_printable, printable, sealed};
use signal_hook::consts::SIGXFSZ;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(error),
    };
    let done = done(&cli.command);
    let ended = limits_are_errors().and_then(|()| run(cli));
    let code = match ended {
        Ok(code) => code,
        Err(error) => {
            let error = advice::added(error);
            messages::say(&format!("klon: {}", error::message(&error)));
            error::exit_code(&error)
        }
    };
    output::ended(code, done)
}

/// A file that would become larger than it may (setrlimit(2)) is an error like others, and no end by
/// SIGXFSZ: what was begun is put in order.
fn limits_are_errors() -> anyhow::Result<()> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGXFSZ, flag).context("handling SIGXFSZ")?;
    Ok(())
}

/// What is done when a command has ended well.
const fn done(command: &Command) -> &'static str {
    match command {
        Command::Clone(args) if args.run.dry_run => NOTHING,
        Command::Clone(_) => "the clone is complete",
        Command::Restore(args) if args.run.dry_run => NOTHING,
        Command::Restore(_) => "the restore is complete",
        Command::Prepare(args) if args.dry_run => NOTHING,
        Command::Prepare(_) => "the drive is as planned",
        Command::Grow(args) if args.dry_run => NOTHING,
        Command::Grow(_) => "the filesystem is larger",
        Command::Sleep(_) => "the clone is asleep",
        Command::Wake(_) => "the clone is awake",
        Command::Prune(args) if args.dry_run => NOTHING,
        Command::Prune(_) => "the prune is complete",
        Command::Finish(_) => "what was staged is in place",
        Command::Image(_) | Command::Import(_) => "the snapshot is complete",
        Command::Export(_) | Command::Extract(_) => "the file is complete",
        Command::Verify(_) => "all that was asked for was verified, and nothing differs",
        _ => NOTHING,
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
            messages::say("klon: an argument is not UTF-8, and only text makes sense there");
            ExitCode::from(error::USAGE)
        }
    }
}

/// The outcome of a command that only shows something.
const NOTHING: &str = "nothing failed";

/// Whether all that a command does is to print something.
fn only_shows(command: &Command) -> bool {
    match command {
        Command::Devices(_) | Command::List(_) | Command::Info(_) | Command::Map(_) => true,
        Command::CheckBoot(_) => true,
        Command::Completions { .. } => true,
        Command::Plan(args) => args.output.is_none(),
        _ => false,
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, common } = cli;
    if only_shows(&command) {
        output::check_read()?;
    }
    match command {
        Command::Devices(args) => command::devices::run(&args, &common),
        Command::Plan(args) => command::plan::run(&args, &common),
        Command::Prepare(args) => command::prepare::run(&args, &common),
        Command::Clone(args) => command::clone::run(&args, &common),
        Command::Finish(args) => command::finish::run(&args, &common),
        Command::Grow(args) => command::grow::run(&args, &common),
        Command::Sleep(args) => command::sleep::sleep(&args, &common),
        Command::Wake(args) => command::sleep::wake(&args, &common),
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
        Command::CheckBoot(args) => command::check_boot::run(&args, &common),
        Command::Mount(args) => command::mount::run(&args, &common),
        Command::Serve(args) => command::serve::run(&args, &common),
        Command::Ledger(args) => command::ledger::run(&args, &common),
        Command::Thaw(args) => command::thaw::run(&args, &common),
        Command::Hold(args) => command::hold::run(&args, &common),
        Command::Watchdog(args) => still::watchdog::run(&args),
        Command::KeepSnapshot { name, tag } => still::snapshot::keeper::run(&name, &tag),
        Command::OverlayRoom { job, klon, covered } => overlay::run_room(&job, klon, &covered),
        Command::Man { directory } => manual::pages(&directory),
        Command::Completions { shell } => manual::completions(shell),
    }
}
