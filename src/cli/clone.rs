//! `klon clone`: its arguments.

use super::{Consent, sealed_text};
use clap::{Args, ValueEnum};
use klon_imaging::change::{Rung, RungChoice};
use klon_imaging::clone::{Freed, Rewrite};
use klon_partition::Outside;
use std::path::PathBuf;

/// Arguments of `klon clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// A plan file, or a source.
    #[arg(value_name = "PLAN|SOURCE")]
    pub source: PathBuf,
    /// The target, when the first is a source.
    pub target: Option<PathBuf>,
    /// Only these clones of the plan (BootClone) or groups (Boot).
    #[arg(long, value_name = "NAME", value_parser = sealed_text())]
    pub only: Vec<String>,
    /// How changes are found: `digest` reads the source and compares it with the record,
    /// `compare` reads both sides, `full` writes everything in use.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: RungArg,
    /// What is written of a changed chunk of 1 MiB: only the `blocks` of 4 KiB that differ, which
    /// reads the target, or whole `chunks`.
    #[arg(long, value_enum, default_value = "blocks")]
    pub rewrite: RewriteArg,
    /// What happens to space of the target that is no longer in use.
    #[arg(long, value_enum, default_value = "leave")]
    pub freed: FreedArg,
    /// Update earlier clones in place, not by way of free room on their drive. If the update is
    /// interrupted, the clone is unfinished until the next run completes it.
    #[arg(long)]
    pub in_place: bool,
    /// Clone over a target even if a record says that it is the original of a clone, as to restore
    /// it from its backup. Both must be confirmed: with --yes, by --confirm TARGET --confirm SOURCE.
    #[arg(long)]
    pub force_direction: bool,
    /// How much klon copies of the bytes that nothing shows to be free: those in no partition, or
    /// behind the end of a filesystem. `all` copies what is not zero. `edges` copies the first 16 MiB
    /// of a disk, gaps of up to 16 MiB, and the first and last MiB of larger gaps. `none` copies only
    /// the table and the first MiB of a disk. klon says what it leaves out [default: as in the run
    /// before, else all].
    #[arg(long, value_name = "WHICH", value_parser = outside)]
    pub outside: Option<Outside>,
    /// Refuse to clone a volume if klon can't tell its used blocks, instead of copying all of it.
    #[arg(long)]
    pub strict: bool,
    /// Clone a source with bad sectors. klon copies everything that can be read: large reads first,
    /// then smaller ones around what fails. What can't be read becomes zeroes on the target. klon
    /// lists it with its files, and the exit code is 1. MAPFILE says how far the rescue came, in the
    /// format of GNU ddrescue; the same command goes on from there [default: a file beside the
    /// records; with a plan, each volume has its own].
    #[arg(long, value_name = "MAPFILE", num_args = 0..=1, require_equals = true,
        conflicts_with_all = ["rung", "rewrite", "freed", "in_place", "strict"])]
    pub rescue: Option<Option<PathBuf>>,
    /// With --rescue: fill what can't be read with TEXT instead of zeroes, repeated from the start of
    /// each sector, so that `grep` finds the files that are hit. The filesystem's own structures stay
    /// zero [TEXT if only the option is given: KLON BAD SECTOR].
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true,
        default_missing_value = "KLON BAD SECTOR\n", requires = "rescue", value_parser = fill)]
    pub fill_bad: Option<String>,
    /// With --rescue: how often each bad sector is read again.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rescue")]
    pub retries: u32,
    /// The run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How clones and restores run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Read the target back afterwards and compare it with the digests.
    #[arg(long)]
    pub verify: bool,
    /// Make NTFS, FAT and exFAT volumes say where their new partition begins, in their boot sectors
    /// and the copies of these. Boot loaders of BIOS systems, and Windows, look there.
    #[arg(long)]
    pub fix_boot_fields: bool,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Show what would be done and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Consent.
    #[command(flatten)]
    pub consent: Consent,
}

/// `--outside`.
pub(super) fn outside(text: &str) -> Result<Outside, String> {
    let all = [Outside::All, Outside::Edges, Outside::None];
    let found = all.into_iter().find(|choice| choice.to_string() == text);
    found.ok_or_else(|| "expected all, edges or none".to_owned())
}

/// A text that fits into any sector.
fn fill(text: &str) -> Result<String, String> {
    match text.len() {
        1..=512 => Ok(text.to_owned()),
        found => Err(format!("expected 1 to 512 bytes, found {found}")),
    }
}

/// `--rung`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RungArg {
    /// The least work that is shown to be exact.
    Auto,
    /// Read both sides.
    Compare,
    /// Read the source, compare with the record.
    Digest,
    /// Write everything in use.
    Full,
}

/// `--rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RewriteArg {
    /// Differing blocks of 4 KiB.
    Blocks,
    /// Whole chunks of 1 MiB.
    Chunks,
}

/// `--freed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FreedArg {
    /// Keep what is there.
    Leave,
    /// Make it zero.
    Zero,
    /// Tell the drive that it is not needed.
    Discard,
}

impl From<RungArg> for RungChoice {
    fn from(arg: RungArg) -> Self {
        match arg {
            RungArg::Auto => Self::Auto,
            RungArg::Compare => Self::Only(Rung::Compare),
            RungArg::Digest => Self::Only(Rung::Digest),
            RungArg::Full => Self::Only(Rung::Full),
        }
    }
}

impl From<RewriteArg> for Rewrite {
    fn from(arg: RewriteArg) -> Self {
        match arg {
            RewriteArg::Blocks => Self::Blocks,
            RewriteArg::Chunks => Self::Chunks,
        }
    }
}

impl From<FreedArg> for Freed {
    fn from(arg: FreedArg) -> Self {
        match arg {
            FreedArg::Leave => Self::Leave,
            FreedArg::Zero => Self::Zero,
            FreedArg::Discard => Self::Discard,
        }
    }
}
