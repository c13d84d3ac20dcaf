//! What the user can type: arguments, options and their help. Man pages and completions are made
//! from these definitions too.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Clone disks and volumes block by block: plan a backup drive, clone what is in use, clone again
/// only what changed, verify.
///
/// SOURCE, TARGET and VOLUME may be a disk, a partition, a plain file that holds one, or a
/// partition inside a disk image (FILE:2). SOURCE and VOLUME may be a snapshot in an image of klon's
/// (FILE.klon@3) or a partition of that (FILE.klon@3:2). Devices can also be named LABEL=…, UUID=…,
/// PARTUUID=… or PARTLABEL=….
///
/// Exit codes: 0 done · 1 differences found, or bad sectors remain · 2 usage · 3 refused for safety · 4 device or I/O
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
    /// Where records of clones are kept [default: /var/lib/klon for root, else
    /// $XDG_STATE_HOME/klon].
    #[arg(long, global = true, value_name = "DIR", env = "KLON_RECORDS")]
    pub records: Option<PathBuf>,
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
    /// Add a snapshot to an image from what other programs made: raw, qcow2, partclone, Clonezilla.
    Import(ImportArgs),
    /// Compare clones with their records or with their sources; check images.
    Verify(VerifyArgs),
    /// Show what differs between two snapshots of images, or between a snapshot and a device.
    Diff(DiffArgs),
    /// Remove snapshots of an image that rules don't keep, and give their room back.
    Prune(PruneArgs),
    /// Show which parts of a volume are in use.
    Map(MapArgs),
    /// Let other programs read the snapshots of an image, as network block devices (NBD).
    Serve(ServeArgs),
    /// Show the snapshots of an image as files of a read-only file system (FUSE).
    Mount(MountArgs),
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

/// Consent for commands that destroy something.
#[derive(Clone, Debug, Default, Args)]
pub struct Consent {
    /// Do not ask; needs --confirm where something would be lost.
    #[arg(short, long)]
    pub yes: bool,
    /// With --yes: the identity of what may be overwritten, as the question or the refusal
    /// prints it (a disk's serial number, else its GUID; for a plain file its path).
    #[arg(long, value_name = "IDENTITY")]
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
    #[arg(required = true, value_name = "NAME=SOURCE")]
    pub sources: Vec<String>,
    /// Size of a source's clone: `match` (the source's size, default), a size like 40G, `grow` (a
    /// share of what remains; grow:weight=2000,min=40G,max=1T,padding=10G), or `fit` (refused: klon
    /// can't make a filesystem smaller yet).
    #[arg(long, value_name = "NAME=POLICY")]
    pub size: Vec<String>,
    /// Space that is left to no partition, for updates to be staged in where the volumes themselves
    /// have no room: a size like 40G, or a share like 2% [default: 1%, or less if the volumes
    /// don't fit beside it].
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

/// Arguments of `klon clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// A plan file, or a source.
    #[arg(value_name = "PLAN|SOURCE")]
    pub source: PathBuf,
    /// The target, when the first is a source.
    pub target: Option<PathBuf>,
    /// Only these clones of the plan (BootClone) or groups (Boot).
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How changes are found: `digest` reads the source and compares it with the record,
    /// `compare` reads both sides, `full` writes everything in use.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: RungArg,
    /// What is written of a changed chunk of 1 MiB: only 4 KiB `blocks` that differ (reads the
    /// target), or whole `chunks`.
    #[arg(long, value_enum, default_value = "blocks")]
    pub rewrite: RewriteArg,
    /// What happens to space of the target that is no longer in use.
    #[arg(long, value_enum, default_value = "leave")]
    pub freed: FreedArg,
    /// Update an earlier clone in place where the changes don't fit in free room of its drive. If
    /// that is interrupted, the clone is unfinished until the next run completes it.
    #[arg(long)]
    pub in_place: bool,
    /// Clone over a target that a record knows as the original of a clone, as to restore it from its
    /// backup. Both must be confirmed: with --yes, by --confirm TARGET --confirm SOURCE.
    #[arg(long)]
    pub force_direction: bool,
    /// Refuse to clone a volume whose used blocks can't be told, instead of copying all of it.
    #[arg(long)]
    pub strict: bool,
    /// Clone a source with bad sectors: everything that can be read, large reads first, then
    /// smaller ones around what fails. What can't be read is zero on the target, listed with its
    /// files, and makes the exit code 1. MAPFILE keeps how far that is, in the format of GNU
    /// ddrescue; the same command goes on from it [default: a file beside the records; with a plan
    /// each volume has its own there].
    #[arg(long, value_name = "MAPFILE", num_args = 0..=1, require_equals = true,
        conflicts_with_all = ["rung", "rewrite", "freed", "in_place", "strict"])]
    pub rescue: Option<Option<PathBuf>>,
    /// With --rescue: what can't be read is filled with TEXT, over and over from the start of each
    /// sector on, instead of zeroes, so that `grep` finds the files that are hit. The filesystem's
    /// own structures stay zero [TEXT when only the option is given: KLON BAD SECTOR].
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true,
        default_missing_value = "KLON BAD SECTOR\n", requires = "rescue", value_parser = fill)]
    pub fill_bad: Option<String>,
    /// With --rescue: how often each bad sector is read again.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rescue")]
    pub retries: u32,
    /// Read the target back afterwards and compare it with the digests.
    #[arg(long)]
    pub verify: bool,
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

/// Arguments of `klon finish`.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// The target of the clone: a volume (with the rest of its boot group), a drive (all of its
    /// volumes), or a plan file.
    pub target: PathBuf,
    /// Complete this one volume also when the rest of its boot group can't be: it is a whole clone
    /// then, but the others may be of another time. For when the sources are lost.
    #[arg(long)]
    pub alone: bool,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The volume or disk.
    pub source: PathBuf,
    /// The image; a new snapshot is added to it, or it is made. `-` is standard output: a new image,
    /// as through ssh.
    #[arg(value_name = "FILE.klon")]
    pub image: PathBuf,
    /// Keep the image in parts of this size (FILE.klon.000, …), as for FAT: 4095M.
    #[arg(long, value_name = "SIZE")]
    pub split: Option<String>,
    /// A few words on the snapshot, for `klon list`.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Level of zstd: higher is smaller and slower.
    #[arg(long, value_name = "1-19", default_value_t = 3,
        value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// How changes are found: `digest` compares the source with the digests of its last snapshot,
    /// `compare` with what is stored, `full` stores everything in use again.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: RungArg,
    /// Refuse a volume whose used blocks can't be told, instead of imaging all of it.
    #[arg(long)]
    pub strict: bool,
    /// Image a source with bad sectors: as `klon clone --rescue` into FILE.klon.rescue, which takes
    /// room while that goes on, and from there into the image. MAPFILE keeps how far that is
    /// [default: FILE.klon.map].
    #[arg(long, value_name = "MAPFILE", num_args = 0..=1, require_equals = true,
        conflicts_with = "strict")]
    pub rescue: Option<Option<PathBuf>>,
    /// With --rescue: how often each bad sector is read again.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rescue")]
    pub retries: u32,
    /// How many threads read, digest and compress [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The image.
    #[arg(value_name = "FILE.klon")]
    pub image: PathBuf,
}

/// Arguments of `klon info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The image (its last snapshot), or FILE.klon@N.
    #[arg(value_name = "FILE.klon[@N]")]
    pub image: PathBuf,
}

/// Arguments of `klon restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The image (its last snapshot), FILE.klon@N, or a partition of it: FILE.klon@N:2.
    #[arg(value_name = "FILE.klon[@N][:PARTITION]")]
    pub image: PathBuf,
    /// Where to: a disk, partition or file.
    #[arg(required_unless_present = "partition")]
    pub target: Option<PathBuf>,
    /// Instead of all of it, this partition of a disk's image to that target; may be given several
    /// times.
    #[arg(long, value_name = "N=TARGET", conflicts_with = "target")]
    pub partition: Vec<String>,
    /// How it is found what must be written: from the target's record (`digest`), by reading the
    /// target (`compare`), or not (`full`).
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: RungArg,
    /// Overwrite what is on the target in place where the changes don't fit in free room of its
    /// drive. If that is interrupted, it is unfinished until the next run completes it.
    #[arg(long)]
    pub in_place: bool,
    /// Read the target back afterwards and compare it with the digests.
    #[arg(long)]
    pub verify: bool,
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

/// Arguments of `klon export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The image (its last snapshot), FILE.klon@N, or a partition of it: FILE.klon@N:2.
    #[arg(value_name = "FILE.klon[@N][:PARTITION]")]
    pub image: PathBuf,
    /// The file to be made; - is standard output, for raw alone.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Format [default: qcow2 for a name that ends so, else raw].
    #[arg(long, value_enum)]
    pub format: Option<FormatArg>,
    /// Compress qcow2 with zstd, which QEMU reads since version 5.1.
    #[arg(long)]
    pub compress: bool,
    /// Replace OUT if it exists.
    #[arg(long)]
    pub force: bool,
    /// Go on where the image is damaged, with zeroes in place of the damaged bytes; they are listed,
    /// and the exit code is 5.
    #[arg(long)]
    pub skip_damaged: bool,
    /// How many threads read and check [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// The bytes as they were; what was not in use is a hole.
    Raw,
    /// QEMU's format, version 3.
    Qcow2,
    /// Raw, and a block map for bmaptool in OUT.bmap.
    Bmap,
}

/// Arguments of `klon import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A qcow2 image, an image of partclone (plain, gzip, zstd, xz or lz4; of a split one the first
    /// part, …aa), a directory of Clonezilla, or anything that klon can image.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The image; a new snapshot is added to it, or it is made.
    #[arg(value_name = "FILE.klon")]
    pub image: PathBuf,
    /// Of a Clonezilla directory with several disks: which one.
    #[arg(long, value_name = "NAME")]
    pub disk: Option<String>,
    /// A few words on the snapshot, for `klon list`.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Level of zstd: higher is smaller and slower.
    #[arg(long, value_name = "1-19", default_value_t = 3,
        value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// How many threads digest and compress [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
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
    /// Compare the clones of a plan with their sources instead of their records.
    #[arg(long)]
    pub against_source: bool,
    /// Only these clones of the plan (BootClone) or groups (Boot).
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A snapshot: FILE.klon@3, or FILE.klon for the last one.
    pub first: PathBuf,
    /// Another one, or a device or a file.
    pub second: PathBuf,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon prune`.
///
/// Each rule goes by itself through the snapshots of a source, from the newest to the oldest, and
/// keeps the newest of each day, week or month that has one, until it has kept N. What any rule
/// keeps is kept, and the last snapshot of each source always.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The image; FILE.klon@3 removes that snapshot alone.
    pub image: PathBuf,
    /// Keep the last N snapshots.
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep the newest of each of the last N days (UTC) that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// Keep the newest of each of the last N weeks, from Monday on, that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// Keep the newest of each of the last N months that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// Write what remains to a new file, check that, and put it in the place of the image. Needs
    /// room for both; without rules it removes no snapshot.
    #[arg(long)]
    pub compact: bool,
    /// Show what would go and how much that frees, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// With --compact: how many threads read and digest [default: two more than there are
    /// processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon map`.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// The volume or disk.
    pub volume: PathBuf,
}

/// Arguments of `klon serve`.
///
/// Snapshots are exports named by their numbers (2), partitions in them by theirs (2/p1); the
/// default export is the snapshot that is named, else the last one. All are read-only. Clients can
/// ask where data is (base:allocation) and what differs from another snapshot
/// (klon:changed-since:1).
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The image, and which snapshot of it is the default export [default: the last one].
    #[arg(value_name = "FILE[@N]")]
    pub image: PathBuf,
    /// Where clients connect to; any user of this machine can then read the image [default:
    /// 127.0.0.1:10809].
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "socket")]
    pub listen: Option<String>,
    /// A Unix socket for clients to connect to; only you can then read the image.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Listen on an address that other machines reach, too. There is no password, and no encryption.
    #[arg(long, requires = "listen")]
    pub open_to_all: bool,
}

/// Arguments of `klon mount`.
///
/// Each snapshot is a directory (1, 2, …; latest) with disk.img or volume.img, and partition-N.img,
/// as sparse files. What is in a file system of them can be seen with
/// `mount -o loop,ro DIRECTORY/latest/volume.img /mnt`.
#[derive(Debug, Args)]
pub struct MountArgs {
    /// The image; with @N only that snapshot of it.
    #[arg(value_name = "FILE[@N]")]
    pub image: PathBuf,
    /// An empty directory.
    pub directory: PathBuf,
    /// Return when it is mounted, and go on in the background.
    #[arg(long)]
    pub background: bool,
    /// Let other users see it, too; they can read it if they could read the image.
    #[arg(long)]
    pub allow_other: bool,
    /// Be the one in the background.
    #[arg(long, hide = true, conflicts_with = "background")]
    pub detached: bool,
}
