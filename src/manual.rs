//! Man pages and shell completions, from the same definitions as the arguments.

use crate::cli::Cli;
use crate::output;
use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use klon_imaging::OwnFile;
use klon_partition::Shown;
use std::path::Path;
use std::process::ExitCode;

/// Writes klon.1 and one page a command to `directory`.
///
/// # Errors
/// When a page can't be written.
pub fn pages(directory: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(directory).with_context(|| directory.shown())?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, directory)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and the pages of its subcommands that people see.
fn write_pages(command: &Command, directory: &Path) -> Result<()> {
    let page = Man::new(command.clone());
    let path = directory.join(page.get_filename());
    // Whatever has that name is replaced, and a link is not followed.
    let written = OwnFile::create(&path).and_then(|own| {
        page.render(&mut own.file())?;
        own.into_place(true)
    });
    written.with_context(|| path.shown())?;
    let shown = command.get_subcommands();
    shown
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_pages(command, directory))
}

/// Prints the completions for `shell`.
///
/// # Errors
/// When standard output fails.
pub fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "klon", &mut script);
    output::document(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
