//! Man pages and shell completions, from the same definitions as the arguments.

use crate::cli::Cli;
use crate::output;
use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;
use std::process::ExitCode;

/// Writes klon.1 and one page a command to `directory`.
pub fn pages(directory: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .with_context(|| directory.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions for `shell`.
pub fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "klon", &mut script);
    output::line(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
