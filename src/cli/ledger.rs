//! Arguments of `klon ledger`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `klon ledger`.
///
/// After a power cut a file can hold new data although nothing else on its disk shows that. So where klon
/// trusts metadata alone, something must show that the power did not fail since the record was made: the ledger.
/// It counts boots that follow an unclean shutdown. It covers this machine from its installation on, for what
/// this system does to its disks. What other systems do to them it can't know.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: LedgerAction,
    /// The root directory of the system that is meant [default: /].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide = true
    )]
    pub root: PathBuf,
}

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerAction {
    /// Begin a ledger, and let systemd keep it.
    Install,
    /// Remove the ledger and what keeps it.
    Remove,
    /// Show since when the ledger covers this machine, or why it doesn't.
    Status {
        /// Say whether it covers all of the time since then (UTC).
        #[arg(long, value_name = "YYYY-MM-DD HH:MM:SS", value_parser = moment)]
        since: Option<u64>,
    },
    /// Count this boot: for systemd or another init, before volumes are mounted.
    Boot,
    /// Mark that this boot ended cleanly: for systemd or another init, when all is unmounted. The
    /// volume with the ledger is read-only afterwards.
    Shutdown,
}

/// Seconds since 1970 UTC.
fn moment(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    let since = time.duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_err(|error| error.to_string())?.as_secs())
}
