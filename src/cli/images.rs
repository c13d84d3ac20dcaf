//! The arguments of commands for images.

use super::{
    CloneRungArg, FreezeArgs, RelianceArgs, ReplayArgs, RunArgs, RungArg, ShrinkArgs, StillArgs,
    TableKind, sealed_text,
};
use clap::{Args, ValueEnum};
use klon_partition::Outside;
use std::path::PathBuf;

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
    /// How it is stored.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How changes are found: `metadata` reads only what the metadata of the source's files does not
    /// prove to be unchanged since its last snapshot (ext, XFS and Btrfs), `digest` compares the source with the
    /// digests of that, `compare` with what is stored, `full` stores everything in use again.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: CloneRungArg,
    /// How far klon relies on the metadata of files.
    #[command(flatten)]
    pub reliance: RelianceArgs,
    /// How much klon stores of the bytes that nothing shows to be free: those in no partition, or
    /// behind the end of a filesystem. `all` stores what is not zero. `edges` stores the first 16 MiB
    /// of a disk, gaps of up to 16 MiB, and the first and last MiB of larger gaps. `none` stores only
    /// the table and the first MiB of a disk. klon says what it leaves out [default: as in the
    /// snapshot before, else all].
    #[arg(long, value_name = "WHICH", value_parser = super::clone::outside)]
    pub outside: Option<Outside>,
    /// How the source is brought to rest.
    #[command(flatten)]
    pub still: StillArgs,
    /// How it is frozen.
    #[command(flatten)]
    pub freeze: FreezeArgs,
    /// Refuse a volume if klon can't tell its used blocks, instead of imaging all of it.
    #[arg(long)]
    pub strict: bool,
    /// What klon does about a journal that awaits recovery.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// Image a source with bad sectors. klon first rescues it to FILE.klon.rescue, as `klon clone
    /// --rescue` does, then adds that file to the image and removes it. MAPFILE says how far the
    /// rescue came [default: FILE.klon.map].
    #[arg(long, value_name = "MAPFILE", num_args = 0..=1, require_equals = true,
        conflicts_with_all = ["strict", "assume_clean_since_record", "heuristic", "audit", "full_every",
            "explain", "still", "snapshot_size", "freeze_max"])]
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
    /// The dates.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// Which time zone dates are of.
#[derive(Clone, Copy, Debug, Args)]
pub struct ZoneArgs {
    /// Dates and days are those of this machine's time zone: the variable TZ, else /etc/localtime.
    /// This is the default.
    #[arg(long, conflicts_with = "utc")]
    pub local: bool,
    /// Dates and days are those of UTC.
    #[arg(long)]
    pub utc: bool,
}

/// Arguments of `klon info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The image (its last snapshot), or FILE.klon@N.
    #[arg(value_name = "FILE.klon[@N]")]
    pub image: PathBuf,
    /// The dates.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// Arguments of `klon restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The image (its last snapshot), FILE.klon@N, or a partition of it: FILE.klon@N:2. Or a packed raw
    /// disk (DISK.img.gz, .zst, .xz, .lz4, .bz2), with its block map beside it if there is one. Or the
    /// plan of a backup drive (`klon plan`).
    #[arg(value_name = "FILE.klon[@N][:PARTITION]|PLAN")]
    pub image: PathBuf,
    /// Where to: a disk, partition or file. With a plan: NAME=DISK, as in Boot=/dev/sdb, for each source
    /// that is to come back. klon gives the disk the table of the original, with its names, its PARTUUIDs
    /// and its boot code, and fills the partitions.
    #[arg(required_unless_present = "partition")]
    pub target: Vec<PathBuf>,
    /// Restore only partition N of a disk's image, to TARGET; may be given several times.
    #[arg(long, value_name = "N=TARGET", conflicts_with = "target", value_parser = sealed_text())]
    pub partition: Vec<String>,
    /// How klon finds what to write: `digest` asks the target's record, `compare` reads the target,
    /// `full` writes everything.
    #[arg(long, value_enum, default_value = "auto")]
    pub rung: RungArg,
    /// Overwrite the target in place, not by way of free room on its drive. If the restore is
    /// interrupted, the target is unfinished until the next run completes it.
    #[arg(long)]
    pub in_place: bool,
    /// How much klon restores of the bytes that nothing shows to be free: those in no partition, or
    /// behind the end of a filesystem. `all` restores what the image has; `edges` and `none` are as
    /// for `klon clone`.
    #[arg(long, value_name = "WHICH", value_parser = super::clone::outside, default_value = "all")]
    pub outside: Outside,
    /// Go on where the image is damaged. klon restores what is intact, and writes zeroes for damaged
    /// bytes, unless the target has the right ones already. It lists these places with their files,
    /// keeps them in the record, and the exit code is 1.
    #[arg(long)]
    pub skip_damaged: bool,
    /// With a plan: how large a source becomes on its new disk, as for `klon plan`: `match` (as it was,
    /// the default; on a smaller disk as far as its filesystems reach), `grow` (the room that is left,
    /// too), or a size.
    #[arg(long, value_name = "NAME=POLICY", value_parser = sealed_text())]
    pub size: Vec<String>,
    /// With a plan: also make the partitions of the original that the plan has no clone of. They are
    /// empty.
    #[arg(long)]
    pub make_empty: bool,
    /// What is done about a target that is too small.
    #[command(flatten)]
    pub shrink: ShrinkArgs,
    /// With --shrink: where the changes of the overlay are kept while klon runs, in a file without a name
    /// [default: $TMPDIR if that is set, else /var/tmp].
    #[arg(long, value_name = "DIR", requires = "shrink")]
    pub scratch: Option<PathBuf>,
    /// Give the disk that the image is restored to a table of this kind. klon says before what boots then, and what
    /// does not.
    #[arg(long, value_enum)]
    pub table: Option<TableKind>,
    /// Afterwards grow what was restored into the room that there is: its partition, and the filesystem in it
    /// (ext, NTFS, XFS, Btrfs). As `klon grow` does.
    #[arg(long)]
    pub grow: bool,
    /// The run.
    #[command(flatten)]
    pub run: RunArgs,
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
    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Arguments of `klon extract`.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The image (its last snapshot), FILE.klon@N, or a partition of it: FILE.klon@N:2.
    #[arg(value_name = "FILE.klon[@N][:PARTITION]")]
    pub image: PathBuf,
    /// The file to be made; - is standard output.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Only these bytes of the snapshot or the partition: 1M+4K is 4 KiB from 1 MiB on, 1M+ is
    /// everything from 1 MiB on. Hexadecimal numbers (0x1000+0x200) are bytes.
    #[arg(long, value_name = "OFFSET+LENGTH")]
    pub range: Option<String>,
    /// How.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// How a snapshot is stored.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Of a new image: the size of its chunks, a power of two from 64K to 16M. Small chunks make
    /// random reads faster and store less of each change; large ones compress better [default: 1M].
    #[arg(long, value_name = "SIZE")]
    pub chunk: Option<String>,
    /// A name for the source, for disks that nothing else tells apart: those without serial numbers
    /// that were written from one image. Snapshots with different names are of different sources, to
    /// `klon prune` too.
    #[arg(long, value_name = "NAME", value_parser = given_name)]
    pub name: Option<String>,
    /// A few words on the snapshot, for `klon list`.
    #[arg(long, value_name = "TEXT", value_parser = sealed_text())]
    pub note: Option<String>,
    /// Level of zstd: higher is smaller and slower.
    #[arg(long, value_name = "1-19", default_value_t = 3,
        value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
}

/// How files are made of snapshots.
#[derive(Clone, Copy, Debug, Args)]
pub struct MakeArgs {
    /// Replace OUT if it exists.
    #[arg(long)]
    pub force: bool,
    /// Go on where the image is damaged, with zeroes in place of the damaged bytes. klon lists them,
    /// and the exit code is 5.
    #[arg(long)]
    pub skip_damaged: bool,
    /// How many threads read and check [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// A name for `--name`.
fn given_name(given: &str) -> Result<String, String> {
    let is_plain = !given.trim().is_empty() && !given.chars().any(char::is_control);
    if is_plain && given.len() <= 128 {
        Ok(given.to_owned())
    } else {
        Err("a name has 1 to 128 bytes and no control characters".to_owned())
    }
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
    /// An image of partclone or a raw disk, plain or packed (gzip, zstd, xz, lz4, bzip2), of parts that
    /// `split` made the first (…aa, …00); a directory of Clonezilla; or anything that klon can image.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The image; a new snapshot is added to it, or it is made.
    #[arg(value_name = "FILE.klon")]
    pub image: PathBuf,
    /// Of a Clonezilla directory with several disks: which one.
    #[arg(long, value_name = "NAME")]
    pub disk: Option<String>,
    /// How it is stored.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How many threads digest and compress [default: two more than there are processors].
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
    /// What klon does about a device whose journal awaits recovery: as for the snapshot.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// How a device that is mounted for writing is frozen to find what is in use. It is compared while it is
    /// written to.
    #[command(flatten)]
    pub freeze: FreezeArgs,
    /// How many threads read and digest [default: two more than there are processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
}

/// Arguments of `klon prune`.
///
/// Each rule goes by itself through the snapshots of a source (and name), from the newest date to the
/// oldest, and keeps the newest of each day, week or month that has one, until it has kept N. What any
/// rule keeps is kept, and the last snapshot of each source always. Snapshots with dates that can't be
/// (before klon existed, or in the future) are counted by themselves, and take no other's place.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The image; FILE.klon@3 removes that snapshot alone.
    pub image: PathBuf,
    /// Keep the last N snapshots.
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep the newest of each of the last N days that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// Keep the newest of each of the last N weeks, from Monday on, that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// Keep the newest of each of the last N months that have a snapshot.
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// When days begin.
    #[command(flatten)]
    pub zone: ZoneArgs,
    /// Write what remains to a new file, check the file, and put it in the place of the image. This
    /// needs room for both. Without rules it removes no snapshot.
    #[arg(long)]
    pub compact: bool,
    /// Show which snapshots would go and how much room that frees, and change nothing.
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
    /// Allow an address that other machines reach, too. There is no password and no encryption.
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
    /// Return once the image is mounted, and go on in the background.
    #[arg(long)]
    pub background: bool,
    /// Let other users see the files, too; they can read them if they can read the image.
    #[arg(long)]
    pub allow_other: bool,
    /// Be the one in the background.
    #[arg(long, hide = true, conflicts_with = "background")]
    pub detached: bool,
}
