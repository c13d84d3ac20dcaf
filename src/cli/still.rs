//! How mounted volumes are brought to rest: options of clones and images, and commands around them.

use crate::still::snapshot::size::SnapshotSize;
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// How a mounted source is brought to rest.
#[derive(Clone, Debug, Args)]
pub struct StillArgs {
    /// How a source that is mounted for writing is brought to rest: the best way that there is, or that one.
    #[arg(long, value_parser = HowParser, default_value = "auto", value_name = "HOW")]
    pub still: StillArg,
    /// How much room a snapshot of an LVM volume has for what is written meanwhile: a size like 4G, or a share
    /// of the volume like 30%. When it is full, the run ends. Thin volumes need none [default: 20%, or
    /// what their group has free].
    #[arg(long, value_name = "SIZE|PERCENT")]
    pub snapshot_size: Option<SnapshotSize>,
    /// What is run around it.
    #[command(flatten)]
    pub hooks: HookArgs,
}

impl StillArgs {
    /// A source that is mounted for writing is refused.
    pub const REFUSE: Self = Self {
        still: StillArg::Refuse,
        snapshot_size: None,
        hooks: HookArgs {
            before_freeze: Vec::new(),
            after_thaw: Vec::new(),
            hooks: None,
            hook_timeout: Duration::from_secs(60),
        },
    };
}

/// How volumes are frozen.
#[derive(Clone, Debug, Args)]
pub struct FreezeArgs {
    /// How long a volume may be frozen at once. A watchdog thaws it then, and the run is refused.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = freeze_max)]
    pub freeze_max: Duration,
}

/// Programs that are run before volumes are frozen, or snapshots made, and after that.
#[derive(Clone, Debug, Args)]
pub struct HookArgs {
    /// Run CMD in a shell before anything is frozen, for example to bring a database to rest. If it fails,
    /// nothing is frozen and the run ends. May be given several times.
    #[arg(long, value_name = "CMD")]
    pub before_freeze: Vec<OsString>,
    /// Run CMD in a shell after everything is thawed, also when the run fails. May be given several times.
    #[arg(long, value_name = "CMD")]
    pub after_thaw: Vec<OsString>,
    /// A directory with the directories `before-freeze` and `after-thaw`. The programs in them are run in the
    /// order of their names, those of `before-freeze` ahead of --before-freeze, those of `after-thaw`
    /// behind --after-thaw [default: /etc/klon/hooks.d, if that is there].
    #[arg(long, value_name = "DIR")]
    pub hooks: Option<PathBuf>,
    /// How long each hook may take. Then it is ended, and has failed.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = hook_timeout)]
    pub hook_timeout: Duration,
}

/// Ways to a source that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StillArg {
    /// The best one that there is. FAT on which a file is open for writing is read twice, and copied when both
    /// reads are equal.
    Auto,
    /// A snapshot of LVM, also of a volume that is not mounted.
    Snapshot,
    /// Freeze the filesystem for moments: ext3, ext4, XFS and Btrfs.
    Freeze,
    /// Make the filesystem read-only for moments, if nothing on it is open for writing: ext3, ext4, XFS, Btrfs and
    /// FAT.
    ReadOnly,
    /// Refuse a source that is mounted for writing.
    Refuse,
}

/// What is said to who asks for a copy without any rest.
const NO_CRASH: &str = "klon makes no crash-consistent copy of what others write to: what is read of it lies minutes \
    apart, and a journal brings the state of one instant in order, not of many. Take a snapshot of LVM (--still \
    snapshot) or moments in which it is frozen (--still freeze)";

/// Reads a [`StillArg`], and says why one that is asked for elsewhere is none.
#[derive(Clone, Debug)]
struct HowParser;

impl TypedValueParser for HowParser {
    type Value = StillArg;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<StillArg, clap::Error> {
        match value == "crash" {
            true => Err(clap::Error::raw(ErrorKind::InvalidValue, NO_CRASH).with_cmd(command)),
            false => EnumValueParser::<StillArg>::new().parse_ref(command, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let all = StillArg::value_variants().iter();
        Some(Box::new(all.filter_map(ValueEnum::to_possible_value)))
    }
}

/// Arguments of `klon thaw`.
///
/// A watchdog thaws what klon has frozen when klon is killed or takes too long. Only when both were killed,
/// or when another program left a volume frozen, this is needed: whoever writes to a frozen volume waits,
/// and can't be killed.
#[derive(Debug, Args)]
pub struct ThawArgs {
    /// Where the volumes are mounted, or any directory on them.
    #[arg(required = true, value_name = "MOUNTPOINT")]
    pub mount_points: Vec<PathBuf>,
}

/// Arguments of `klon hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Where the volumes are mounted.
    #[arg(required = true, value_name = "MOUNTPOINT")]
    pub mount_points: Vec<PathBuf>,
    /// How long they are held.
    #[arg(long = "for", value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub held_for: Duration,
    /// What a clone would write to meanwhile.
    #[arg(long, value_name = "PATH")]
    pub target: Vec<PathBuf>,
    /// The image that would be written to meanwhile.
    #[arg(long, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// How.
    #[command(flatten)]
    pub still: StillArgs,
    /// How they are frozen.
    #[command(flatten)]
    pub freeze: FreezeArgs,
    /// Hold all at the same instant.
    #[arg(long)]
    pub together: bool,
}

/// Arguments of the watchdog.
#[derive(Debug, Args)]
pub struct WatchdogArgs {
    /// The process that started it.
    pub parent: i32,
    /// What it watches over: `frozen:N` or `read-only:N`, with a descriptor of its parent.
    #[arg(required = true)]
    pub volumes: Vec<String>,
}

fn freeze_max(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(100), Duration::from_mins(10))
}

fn hook_timeout(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_hours(24))
}

fn within(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    let [min, max] = [min, max].map(humantime::format_duration);
    Err(format!("it must be between {min} and {max}"))
}
