//! Man pages and shell completions, from the same definitions as the arguments.

use crate::cli::Cli;
use crate::output;
use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use klon_partition::Shown;
use std::path::Path;
use std::process::ExitCode;

/// Writes klon.1 and one page a command to `directory`.
pub fn pages(directory: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .with_context(|| directory.shown())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions for `shell`.
pub fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "klon", &mut script);
    output::document(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
