//! Arguments about targets that are too small, have other sectors, or need not have everything.

use clap::{Args, ValueEnum};

/// What is done about targets that are too small.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShrinkArgs {
    /// Where the target is too small for the filesystem of a source, but not for what is in it: let the
    /// filesystem's own program shrink it in an overlay, and copy that. Nothing is written to the source. For
    /// ext2, ext3, ext4 (resize2fs), NTFS (ntfsresize), FAT (by klon itself) and, as root, Btrfs. The source must not be
    /// mounted.
    #[arg(long)]
    pub shrink: bool,
    /// What klon does about filesystems that were made for sectors of another size than the disk has that they go to.
    /// `adapt` lays FAT out anew for those and makes the boot sectors of NTFS and exFAT anew; what can't be used there
    /// is refused. `keep` copies everything as it is.
    #[arg(long, value_name = "HOW", value_enum, default_value = "adapt")]
    pub sectors: SectorsArg,
}

/// `--sectors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SectorsArg {
    /// Lay filesystems out for the sectors of the target.
    Adapt,
    /// Copy them as they are.
    Keep,
}

impl ShrinkArgs {
    /// Whether filesystems are laid out for the sectors of the target.
    pub const fn adapts(self) -> bool {
        matches!(self.sectors, SectorsArg::Adapt)
    }
}

/// `--skip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SkipArg {
    /// Memory of a system that is not running.
    Memory,
}
