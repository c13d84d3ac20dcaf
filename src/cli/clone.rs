//! `klon clone`: its arguments.

use super::{Consent, FreezeArgs, ShrinkArgs, SkipArg, StillArgs, TableKind, sealed_text};
use clap::{Args, ValueEnum};
use klon_imaging::change::{Audit, FullEvery, Reliance, Rung, RungChoice, Since};
use klon_imaging::clone::{Freed, Rewrite};
use klon_partition::Outside;
use klon_partition::planner::parse_size;
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
    /// How changes are found: `metadata` reads only what the metadata of the source's files does not
    /// prove to be unchanged (ext, XFS and Btrfs; NTFS with --heuristic), `digest` reads the source and compares it with the record,
    /// `compare` reads both sides, `full` writes everything in use.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: CloneRungArg,
    /// How far klon relies on the metadata of files.
    #[command(flatten)]
    pub reliance: RelianceArgs,
    /// Read only what FILE names as changed: ranges as JSON, or the output of `thin_delta`. The list must
    /// begin with the last clone, and say so (`since`, or --changed-since).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bitmap", "rung"])]
    pub changed: Option<PathBuf>,
    /// With --changed: the run of klon with which the list begins, as `run` of `klon clone --json` names it.
    /// `record` is your word that it begins with the last clone.
    #[arg(long, value_name = "RUN|record", requires = "changed", value_parser = since)]
    pub changed_since: Option<Since>,
    /// Read only what this bitmap has as written to, which QEMU keeps for an NBD export. The run before
    /// must have named it, too: then it existed before klon read.
    #[arg(long, value_name = "NAME", value_parser = sealed_text())]
    pub bitmap: Option<String>,
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
    /// Leave out contents that are worth nothing on a copy: they are zero there. `memory`: pagefile.sys, swapfile.sys
    /// and hiberfil.sys of an NTFS on which no Windows sleeps, and swap files of Linux, which stay swap files. The record
    /// keeps what was left out. Give it with each run.
    #[arg(long, value_name = "WHAT", value_enum, conflicts_with = "rescue")]
    pub skip: Option<SkipArg>,
    /// Give the target disk a table of this kind, with the partitions of the source disk. klon says before what boots
    /// then, and what does not.
    #[arg(long, value_enum, requires = "target")]
    pub table: Option<TableKind>,
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
    /// What klon does about a journal that awaits recovery.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// Clone a source with bad sectors. klon copies everything that can be read: large reads first,
    /// then smaller ones around what fails. What can't be read becomes zeroes on the target. klon
    /// lists it with its files, and the exit code is 1. MAPFILE says how far the rescue came, in the
    /// format of GNU ddrescue; the same command goes on from there [default: a file beside the
    /// records; with a plan, each volume has its own].
    #[arg(long, value_name = "MAPFILE", num_args = 0..=1, require_equals = true,
        conflicts_with_all = ["rung", "rewrite", "freed", "in_place", "strict",
            "assume_clean_since_record", "heuristic", "audit", "full_every", "explain", "changed",
            "bitmap", "snapshot_size", "identity"])]
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
    /// How a mounted source is brought to rest.
    #[command(flatten)]
    pub still: StillArgs,
    /// How it is frozen.
    #[command(flatten)]
    pub freeze: FreezeArgs,
    /// Bring all volumes to rest at the same instant, not each group at its own.
    #[arg(long)]
    pub together: bool,
    /// Which identity clones have: their source's (`keep`), or a `new` one of their own, so that both can be
    /// attached and mounted beside each other. A `dormant` clone is asleep between runs: nothing recognizes it
    /// [default: as the clone has it, else keep].
    #[arg(long, value_enum, value_name = "WHICH")]
    pub identity: Option<IdentityArg>,
    /// What is done about a target that is too small.
    #[command(flatten)]
    pub shrink: ShrinkArgs,
    /// The run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Which identity a clone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdentityArg {
    /// Its source's.
    Keep,
    /// One of its own: other GUIDs, UUIDs and serial numbers.
    New,
    /// The one that it has, and nothing recognizes it between runs (`klon wake`).
    Dormant,
}

/// How far a run relies on the metadata of files.
#[derive(Clone, Debug, Default, Args)]
pub struct RelianceArgs {
    /// Say that the source was never cut off from power, or pulled out, while it was mounted since the
    /// last run. `metadata` needs to know it, but for Btrfs. A ledger tells it (`klon ledger install`); else
    /// only you can. klon keeps your word beside its records.
    #[arg(long)]
    pub assume_clean_since_record: bool,
    /// Let `metadata` go by this heuristic, too, which is no proof. `ntfs`: klon takes a file of NTFS for
    /// unchanged while its file record is. Windows can change a file without that, so klon reads everything
    /// each 7 days, and DELTA.md says what it can miss. Give it with each run.
    #[arg(long, value_enum, value_name = "WHICH")]
    pub heuristic: Option<HeuristicArg>,
    /// How much of what `metadata` would not read klon reads first and compares with what it has: a part
    /// of what is in use (5%, 0.1%), a size (10G), or `none`. The next run goes on where this one
    /// stopped [default: 1%, or 1G if that is less].
    #[arg(long, value_name = "PERCENT|SIZE|none", value_parser = audit)]
    pub audit: Option<Audit>,
    /// How often a run reads everything: each N runs, after N days (30d), or `never` for that reason
    /// alone [default: 30d, 7d by a heuristic, and never on Btrfs].
    #[arg(long, value_name = "N|Nd|never", value_parser = full_every)]
    pub full_every: Option<FullEvery>,
    /// Say how klon found what changed, why that way, what it always reads, and which large files it
    /// read whole.
    #[arg(long)]
    pub explain: bool,
}

impl From<&RelianceArgs> for Reliance {
    fn from(args: &RelianceArgs) -> Self {
        Self {
            is_off: false,
            is_said_clean: args.assume_clean_since_record,
            trusts_file_records: args.heuristic == Some(HeuristicArg::Ntfs),
            audit: args.audit.unwrap_or(Self::USUAL.audit),
            full_every: args.full_every.unwrap_or(Self::USUAL.full_every),
        }
    }
}

/// `--heuristic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeuristicArg {
    /// The file records of NTFS.
    Ntfs,
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

/// `--audit`.
fn audit(text: &str) -> Result<Audit, String> {
    if text == "none" {
        return Ok(Audit::Nothing);
    }
    let Some(percent) = text.strip_suffix('%') else {
        let size = parse_size(text).map_err(|error| error.to_string())?;
        return Ok(Audit::Bytes(size));
    };
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let millionths = || {
        let digits = format!("{fraction:0<4}");
        let fraction: u32 = digits.get(..4)?.parse().ok()?;
        let whole: u32 = whole.parse().ok()?;
        whole.checked_mul(10_000)?.checked_add(fraction)
    };
    let found = (is_number(whole) && is_number(fraction) && fraction.len() <= 4).then(millionths);
    let found = found
        .flatten()
        .filter(|&millionths| millionths <= 1_000_000);
    let found = found.map(Audit::Millionths);
    found.ok_or_else(|| "expected 0% to 100%, a size, or none".to_owned())
}

/// `--full-every`.
fn full_every(text: &str) -> Result<FullEvery, String> {
    if text == "never" {
        return Ok(FullEvery::Never);
    }
    let found = match text.strip_suffix('d') {
        Some(days) => days.parse().ok().map(FullEvery::Days),
        None => text.parse().ok().map(FullEvery::Runs),
    };
    let is_some = |every: &FullEvery| *every != FullEvery::Runs(0);
    let found = found.filter(is_some);
    found.ok_or_else(|| "expected a number of runs (10), of days (30d), or never".to_owned())
}

/// `--changed-since`.
fn since(text: &str) -> Result<Since, String> {
    match text {
        "record" => Ok(Since::Record),
        run => (run.parse().map(Since::Run))
            .map_err(|_| "expected the UUID of a run, or record".to_owned()),
    }
}

/// A text that fits into any sector.
fn fill(text: &str) -> Result<String, String> {
    match text.len() {
        1..=512 => Ok(text.to_owned()),
        found => Err(format!("expected 1 to 512 bytes, found {found}")),
    }
}

/// What is done about sources whose journal awaits recovery.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// What klon does about an ext3, ext4, XFS or Btrfs source that was not unmounted cleanly. `auto` replays
    /// its journal in an overlay and reads the source as it is then, only blocks in use; nothing is written to
    /// it. For XFS and Btrfs it lets the kernel do that, as root. `never` takes the source as it is, all of it.
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub replay: ReplayArg,
    /// Where the changes of an overlay are kept while klon runs, in a file without a name [default: $TMPDIR if
    /// that is set, else /var/tmp].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

impl ReplayArgs {
    /// Take each volume as it is.
    pub const NEVER: Self = Self {
        replay: ReplayArg::Never,
        scratch: None,
    };
}

/// `--replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayArg {
    /// Replay the journal where that makes the volume a clean one.
    Auto,
    /// Take the volume as it is.
    Never,
}

/// `--rung` of a clone or an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloneRungArg {
    /// The least work that is shown to be exact.
    Auto,
    /// Read both sides.
    Compare,
    /// Read the source, compare with the record.
    Digest,
    /// Write everything in use.
    Full,
    /// Read what the metadata of files does not prove to be unchanged.
    Metadata,
}

/// `--rung` of what has no metadata to go by.
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

impl From<CloneRungArg> for RungChoice {
    fn from(arg: CloneRungArg) -> Self {
        match arg {
            CloneRungArg::Auto => Self::Auto,
            CloneRungArg::Compare => Self::Only(Rung::Compare),
            CloneRungArg::Digest => Self::Only(Rung::Digest),
            CloneRungArg::Full => Self::Only(Rung::Full),
            CloneRungArg::Metadata => Self::Only(Rung::Metadata),
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

#[cfg(test)]
mod tests {
    use super::{audit, full_every, since};
    use klon_imaging::change::{Audit, FullEvery, Since};

    #[test]
    fn audits_are_parts_or_sizes() {
        assert_eq!(audit("none"), Ok(Audit::Nothing));
        assert_eq!(audit("100%"), Ok(Audit::Millionths(1_000_000)));
        assert_eq!(audit("0.1%"), Ok(Audit::Millionths(1000)));
        assert_eq!(audit("2.5%"), Ok(Audit::Millionths(25_000)));
        assert_eq!(audit("10G"), Ok(Audit::Bytes(10 << 30)));
        for wrong in ["101%", "-1%", "%", "1.%%", "0.00001%", "much", ""] {
            assert!(audit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_begin_with_a_run_or_with_the_record() {
        const RUN: &str = "5f0c1f6e-94a3-4c55-8a4e-0f7c1d3f7e10";
        assert_eq!(since("record"), Ok(Since::Record));
        assert_eq!(since(RUN), Ok(Since::Run(RUN.parse().unwrap())));
        assert!(since("last").is_err() && since("").is_err());
    }

    #[test]
    fn full_runs_come_by_days_or_by_runs() {
        assert_eq!(full_every("never"), Ok(FullEvery::Never));
        assert_eq!(full_every("7d"), Ok(FullEvery::Days(7)));
        assert_eq!(full_every("10"), Ok(FullEvery::Runs(10)));
        for wrong in ["0", "d", "-3", "1w", ""] {
            assert!(full_every(wrong).is_err(), "{wrong}");
        }
    }
}
