//! `klon ledger`: whether the machine went down uncleanly.

use crate::cli::{Common, LedgerAction, LedgerArgs, ZoneArgs};
use crate::ledger::state::{Counted, State};
use crate::ledger::{Ledger, NotCovered, continuity, units};
use crate::output;
use crate::zone::Zone;
use anyhow::Result;
use klon_partition::Shown as _;
use klon_partition::text;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// The answer of `klon ledger status --json`.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(serialize_with = "text::path")]
    ledger: &'a Path,
    is_installed: bool,
    is_covered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    covered: Option<Covered>,
}

/// What a ledger says that covers this moment.
#[derive(Serialize)]
struct Covered {
    since_unix_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_covered_since: Option<bool>,
    unclean_count: u64,
    boots_count: usize,
    clock_set_back_seconds: u64,
}

/// Does what is asked for.
///
/// # Errors
/// When the ledger can't be read or written.
pub fn run(args: &LedgerArgs, common: &Common) -> Result<ExitCode> {
    let ledger = Ledger::new(common, &args.root);
    match args.action {
        LedgerAction::Install => install(&args.root, common)?,
        LedgerAction::Remove => {
            units::remove(&ledger)?;
            done(
                common,
                "The ledger is removed: nothing covers this machine any more",
            )?;
        }
        LedgerAction::Status { since } => status(&ledger, since, common)?,
        LedgerAction::Boot => {
            let (state, counted) = ledger.count()?;
            done(common, &told(&state, counted))?;
        }
        LedgerAction::Shutdown => {
            ledger.close()?;
            done(
                common,
                "The ledger has the mark that this boot ended cleanly",
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn done(common: &Common, text: &str) -> Result<()> {
    if !common.quiet && !common.json {
        output::line(text)?;
    }
    Ok(())
}

fn install(root: &Path, common: &Common) -> Result<()> {
    let ledger = Ledger::to_install(common, root);
    ledger.moment()?;
    units::install(&ledger)?;
    let (state, _) = ledger.count()?;
    let since = date(state.since_unix_seconds);
    let path = ledger.path.shown();
    done(
        common,
        &format!("The ledger {path} covers this machine since {since}"),
    )
}

/// How a boot was counted, in words.
fn told(state: &State, counted: Counted) -> String {
    match counted {
        Counted::First => "A new ledger begins with this boot".to_owned(),
        Counted::Again => "The ledger has counted this boot already".to_owned(),
        Counted::Clean => "The boot before this one ended cleanly".to_owned(),
        Counted::Unclean => format!(
            "Nothing shows that the boot before this one ended cleanly. The ledger has now counted {}",
            ends(state.unclean_count)
        ),
        Counted::OtherMachine => "The ledger was another machine's, and begins again".to_owned(),
    }
}

fn ends(unclean_count: u64) -> String {
    let plural = if unclean_count == 1 { "" } else { "s" };
    format!("{unclean_count} unclean shutdown{plural}")
}

fn status(ledger: &Ledger, since: Option<u64>, common: &Common) -> Result<()> {
    let is_installed = units::is_installed(&ledger.root);
    // As a run asks it, and then what else there is to tell.
    let asked = continuity(common, &ledger.root);
    let covered = asked.and_then(|continuity| {
        let state = ledger.look()?.state;
        Ok(Covered {
            since_unix_seconds: state.since_unix_seconds,
            is_covered_since: since.map(|since| since >= state.since_unix_seconds),
            unclean_count: continuity.unclean_count,
            boots_count: state.boots.len(),
            clock_set_back_seconds: continuity.clock_offset_seconds.unsigned_abs(),
        })
    });
    if !common.json {
        return Ok(output::line(&words(covered.as_ref(), is_installed))?);
    }
    Ok(output::json(&Status {
        ledger: &ledger.path,
        is_installed,
        is_covered: covered.is_ok(),
        reason: covered.as_ref().err().map(ToString::to_string),
        covered: covered.ok(),
    })?)
}

/// The status for people.
fn words(covered: Result<&Covered, &NotCovered>, is_installed: bool) -> String {
    let covered = match covered {
        Ok(covered) => covered,
        Err(reason) => return format!("Nothing covers this machine: {reason}"),
    };
    let since = date(covered.since_unix_seconds);
    let answer = match covered.is_covered_since {
        None => format!("The ledger covers this machine since {since}"),
        Some(true) => "Yes: this machine did not go down uncleanly since then".to_owned(),
        Some(false) => format!("No: the ledger covers this machine only since {since}"),
    };
    let boots = match covered.boots_count {
        1 => "1 boot".to_owned(),
        count => format!("{count} boots"),
    };
    let mut lines = vec![
        answer,
        format!(
            "Counted: {boots} since {since}, {} in all",
            ends(covered.unclean_count)
        ),
    ];
    if covered.clock_set_back_seconds > 0 {
        lines.push(format!(
            "The clock was set back by {} s in all",
            covered.clock_set_back_seconds
        ));
    }
    if !is_installed {
        lines.push(
            "systemd does not keep it: unless another init does, the next boot is not counted. \
             `klon ledger install` lets systemd keep it"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn date(unix_seconds: u64) -> String {
    let utc = ZoneArgs {
        local: false,
        utc: true,
    };
    Zone::of(utc).date(unix_seconds)
}
