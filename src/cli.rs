//! What the user can type: arguments, options and their help. Man pages and completions are made
//! from these definitions too.

mod clone;
mod fit;
mod images;
mod ledger;
mod still;

pub use clone::{
    CloneArgs, CloneRungArg, IdentityArg, RelianceArgs, ReplayArg, ReplayArgs, RunArgs, RungArg,
};
pub use fit::{ShrinkArgs, SkipArg};
pub use images::{
    DiffArgs, ExportArgs, ExtractArgs, FormatArg, ImageArgs, ImportArgs, InfoArgs, ListArgs,
    MakeArgs, MountArgs, PruneArgs, RestoreArgs, ServeArgs, ZoneArgs,
};
pub use ledger::{LedgerAction, LedgerArgs};
pub use still::{FreezeArgs, HoldArgs, HookArgs, StillArg, StillArgs, ThawArgs, WatchdogArgs};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use klon_partition::table::Scheme;
use klon_partition::text::sealed;
use std::path::PathBuf;

/// Clone disks and volumes block by block: plan a backup drive, clone what is in use, clone again
/// only what changed, keep images of many days in one file, restore, verify.
///
/// SOURCE, TARGET and VOLUME may be a disk, a partition, a plain file that holds one, or a
/// partition inside a disk image (FILE:2). SOURCE and VOLUME may be a snapshot in an image of klon's
/// (FILE.klon@3) or a partition of that (FILE.klon@3:2), or an export of an NBD server
/// (nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH) or a partition of that (nbd://HOST/EXPORT#2). A
/// virtual disk (qcow2, vmdk, vhdx, vdi, …) stands for the disk in it; raw:FILE stands for the bytes of the
/// file. Devices can also be named LABEL=…, UUID=…,
/// PARTUUID=… or PARTLABEL=….
///
/// Exit codes: 0 done · 1 differences found, or bad places remain · 2 usage · 3 refused for safety · 4 device or I/O
/// error · 5 corrupt or unsupported input · 130 interrupted (what was done is kept).
#[derive(Debug, Parser)]
#[command(name = "klon", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Print JSON: one object a line, described in JSON.md.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Where records of clones are kept [default: $KLON_RECORDS if that is set, else /var/lib/klon for
    /// root, else $XDG_STATE_HOME/klon].
    #[arg(long, global = true, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// The file in which this machine counts its unclean shutdowns, kept by `klon ledger` [default:
    /// /var/lib/klon/ledger].
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KLON_LEDGER",
        hide_env_values = true
    )]
    pub ledger: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show disks, their partitions and filesystems, what is used, and what is in the way.
    Devices(DevicesArgs),
    /// Lay out a drive for clones of the given sources, and write that as a plan file.
    Plan(PlanArgs),
    /// Write a plan's partitions to its drive.
    Prepare(PrepareArgs),
    /// Clone every volume of a plan, or one SOURCE to one TARGET; again, only what changed.
    Clone(CloneArgs),
    /// Complete an update of a clone that was interrupted, from the drive alone.
    Finish(FinishArgs),
    /// Make the partition of a clone, and the filesystem in it, as large as there is room.
    Grow(GrowArgs),
    /// Put a clone to sleep: nothing recognizes it until it wakes, and runs of klon wake it for themselves.
    Sleep(SleepArgs),
    /// Wake a clone that is asleep, for good.
    Wake(SleepArgs),
    /// Put a volume or disk into an image file; again, only what changed is added to it.
    Image(ImageArgs),
    /// Show the snapshots of an image.
    List(ListArgs),
    /// Show what a snapshot of an image holds.
    Info(InfoArgs),
    /// Bring a snapshot of an image, or partitions of it, back to a drive; only what differs is
    /// written.
    Restore(RestoreArgs),
    /// Make a file for other programs of a snapshot, or of a partition of it: raw, qcow2, or raw with a
    /// block map.
    Export(ExportArgs),
    /// Make a raw file of a partition or a range of a snapshot, with holes where nothing is.
    Extract(ExtractArgs),
    /// Add a snapshot to an image from what other programs made: virtual disks, packed disks, partclone,
    /// Clonezilla, and parts of them.
    Import(ImportArgs),
    /// Compare clones with their records or with their sources; check images.
    Verify(VerifyArgs),
    /// Show what differs between two snapshots of images, or between a snapshot and a device.
    Diff(DiffArgs),
    /// Remove snapshots of an image that rules don't keep, and give their room back.
    Prune(PruneArgs),
    /// Show which parts of a volume are in use.
    Map(MapArgs),
    /// Say what firmware will find on a disk and what will be mounted, without booting it; name what is missing.
    CheckBoot(CheckBootArgs),
    /// Let other programs read the snapshots of an image, as network block devices (NBD).
    Serve(ServeArgs),
    /// Show the snapshots of an image as files of a read-only file system (FUSE).
    Mount(MountArgs),
    /// Know whether this machine went down uncleanly: begin, remove or show its ledger.
    Ledger(LedgerArgs),
    /// Thaw volumes that were left frozen: for the worst day.
    Thaw(ThawArgs),
    /// Bring mounted volumes to rest as a clone does, and let them go: to try hooks and limits.
    #[command(hide = true)]
    Hold(HoldArgs),
    /// Thaw what klon has frozen when klon can't: klon starts this itself.
    #[command(hide = true)]
    Watchdog(WatchdogArgs),
    /// Wait for the end of a run, and remove its snapshot: klon starts this itself.
    #[command(hide = true)]
    KeepSnapshot {
        /// The snapshot: GROUP/NAME.
        name: String,
        /// The tag that names the run.
        tag: String,
    },
    /// Work on a volume that klon serves: klon starts this itself.
    #[command(hide = true)]
    OverlayRoom {
        /// What is done.
        job: String,
        /// The process that serves it.
        klon: i32,
        /// A directory that is covered.
        covered: PathBuf,
    },
    /// Write man pages to a directory.
    #[command(hide = true)]
    Man {
        /// Where to.
        directory: PathBuf,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// An argument that may hold any bytes, as sealed text.
fn sealed_text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(sealed)
}

/// Consent for commands that destroy something.
#[derive(Clone, Debug, Default, Args)]
pub struct Consent {
    /// Do not ask. If something would be lost, --confirm is needed, too.
    #[arg(short, long)]
    pub yes: bool,
    /// With --yes: the identity of what may be overwritten, as the question or the refusal
    /// prints it (a disk's serial number, else its GUID; for a plain file its path).
    #[arg(long, value_name = "IDENTITY", value_parser = sealed_text())]
    pub confirm: Vec<String>,
}

/// Arguments of `klon devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Disks or files to show [default: all disks].
    pub paths: Vec<PathBuf>,
}

/// Arguments of `klon plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The drive to be laid out.
    #[arg(long, value_name = "DRIVE")]
    pub drive: PathBuf,
    /// Sources, each with the name of its clone: Boot=/dev/sda makes BootClone. A disk stands for
    /// all of its partitions, cloned as one group.
    #[arg(required = true, value_name = "NAME=SOURCE", value_parser = sealed_text())]
    pub sources: Vec<String>,
    /// Size of a source's clone: `match` (the source's size, default), a size like 40G, `grow` (a
    /// share of what remains; grow:weight=2000,min=40G,max=1T,padding=10G), or `fit`: as small as the
    /// filesystem can be made by its own tool, and 10 % more, at least 256 MiB. `klon clone` shrinks the
    /// filesystem on its way then; nothing is written to the source.
    #[arg(long, value_name = "NAME=POLICY", value_parser = sealed_text())]
    pub size: Vec<String>,
    /// Leave a partition of a source out of the plan: Boot:4 is partition 4 of the disk that is called Boot. May be given
    /// several times.
    #[arg(long, value_name = "NAME:NUMBER", value_parser = sealed_text())]
    pub skip: Vec<String>,
    /// Let filesystems be shrunk, as for `fit`, where the drive is too small for them. They take what room there is.
    #[arg(long)]
    pub shrink: bool,
    /// Space outside of all partitions, to stage updates in if the volumes themselves have no room: a
    /// size like 40G, or a share like 2% [default: 1%, or less if the volumes don't fit beside it].
    #[arg(long, value_name = "SIZE")]
    pub reserve: Option<String>,
    /// Kind of partition table.
    #[arg(long, value_enum)]
    pub table: Option<TableKind>,
    /// Replace the drive's table; the partitions that are on it now are lost.
    #[arg(long)]
    pub replace_table: bool,
    /// Add a date to the names (MasterClone-2026-11-21); today's (UTC) when none is given.
    #[arg(long, value_name = "DATE", num_args = 0..=1, require_equals = true,
        default_missing_value = "today")]
    pub date_stamp: Option<String>,
    /// Where to write the plan [default: print it].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Kinds of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableKind {
    /// GUID partition table.
    Gpt,
    /// Master boot record.
    Mbr,
}

impl From<TableKind> for Scheme {
    fn from(kind: TableKind) -> Self {
        match kind {
            TableKind::Gpt => Self::Gpt,
            TableKind::Mbr => Self::Mbr,
        }
    }
}

/// Arguments of `klon prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// The plan file.
    pub plan: PathBuf,
    /// Show what would be done and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Consent.
    #[command(flatten)]
    pub consent: Consent,
}

/// Arguments of `klon finish`.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// The target of the clone: a volume (with the rest of its boot group), a drive (all of its
    /// volumes), or a plan file.
    pub target: PathBuf,
    /// Complete this one volume even if the rest of its boot group can't be completed. It is a whole
    /// clone then, but the others may be of another time. For when the sources are lost.
    #[arg(long)]
    pub alone: bool,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon check-boot`.
#[derive(Debug, Args)]
pub struct CheckBootArgs {
    /// The disk, or a file that holds one, or a snapshot of one in an image.
    #[arg(value_name = "DISK")]
    pub target: PathBuf,
}

/// Arguments of `klon grow`.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// What is to grow: a partition (/dev/sdb2, or FILE:2) with ext, NTFS, XFS or Btrfs, into the room behind
    /// it; a volume or file without a partition table; or a disk, of which one partition can grow. It must
    /// not be mounted.
    pub target: PathBuf,
    /// Show what would be done and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Consent.
    #[command(flatten)]
    pub consent: Consent,
}

/// Arguments of `klon sleep` and `klon wake`.
#[derive(Debug, Args)]
pub struct SleepArgs {
    /// A clone: a disk, a partition (/dev/sdb2, or FILE:2), or a file.
    pub target: PathBuf,
}

/// Arguments of `klon verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A plan file, the target of a clone, or an image: FILE.klon for all of its snapshots,
    /// FILE.klon@3 for one.
    #[arg(value_name = "PLAN|TARGET|IMAGE")]
    pub target: PathBuf,
    /// Compare the target with this source instead of its record, or a snapshot with this device
    /// instead of its own digests.
    #[arg(value_name = "SOURCE")]
    pub source: Option<PathBuf>,
    /// Compare clones with their sources instead of their records. The plan, or the record of the
    /// clone, says which they are.
    #[arg(long)]
    pub against_source: bool,
    /// What klon does about a source whose journal awaits recovery: as for the clone or the snapshot.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// How a source that is mounted for writing is brought to rest for the comparison. Where that would take
    /// longer than it may, it is compared while it is written to, and klon says so.
    #[command(flatten)]
    pub still: StillArgs,
    /// How it is frozen.
    #[command(flatten)]
    pub freeze: FreezeArgs,
    /// Only these clones of the plan (BootClone) or groups (Boot).
    #[arg(long, value_name = "NAME", value_parser = sealed_text())]
    pub only: Vec<String>,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon map`.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// The volume or disk.
    pub volume: PathBuf,
    /// Also say how small a clone could be: as the volume is, and once the tool of its filesystem had made
    /// that smaller. The tools are asked, and write nothing.
    #[arg(long)]
    pub minimum: bool,
    /// What klon does about a journal that awaits recovery.
    #[command(flatten)]
    pub replay: ReplayArgs,
}
