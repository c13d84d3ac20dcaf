//! Opened sources, with the bytes of them that are in use.

pub mod adapted;
pub mod bad_sectors;
pub mod clone_end;
pub mod contained;
pub mod copied;
pub mod damaged_image;
pub mod fit;
pub mod imaged;
pub mod live;
pub mod lost_before;
pub mod open;
pub mod packed;
pub mod resized;
pub mod shrunk;
pub mod skipped;
pub mod tracking;
pub mod unread;
pub mod warnings;
pub mod watch;

use crate::messages::say;
use fit::Cut;
use klon_imaging::Consistency;
use klon_imaging::change::Rested;
use klon_imaging::clone::Filled;
use klon_imaging::image::{Salvaged, Snapshot};
use klon_imaging::record::OwnIdentity;
use klon_partition::filesystem::Usage;
use klon_partition::inspect::VolumeUsage;
use klon_partition::system::Location;
use klon_partition::table::{Moved, Table};
use klon_partition::{ExtentMap, Identity, Outside, ReadAt};
use live::Live;
use lost_before::Recorded;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;
use watch::Watch;

/// An opened source, with the bytes of it that are in use.
pub struct SourceEnd {
    /// As the user named it.
    pub name: String,
    /// What was opened for it.
    pub path: PathBuf,
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// Its bytes in use.
    pub usage: Usage,
    /// Where it begins in what was opened: errors tell positions there.
    pub start_bytes: u64,
    /// How it is recognized.
    pub identity: Identity,
    /// Where it lies.
    pub location: Location,
    /// Its partition table; `None` for one volume.
    pub table: Option<Table>,
    /// Numbers in the table that differ on a target of another size.
    pub moved: Vec<Moved>,
    /// The extents of the filesystem's own structures; empty where nobody needs to know.
    pub metadata: ExtentMap,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What became of journals that awaited recovery, to be said.
    pub journals: Vec<String>,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
    /// What shows that others write to it meanwhile.
    pub watch: Option<Watch>,
    /// How it is frozen, when it is mounted for writing.
    pub live: Option<Live>,
    /// The bytes that are not read from what was opened, such as a table that is edited for the target.
    pub replaced: ExtentMap,
    /// Its bytes in no partition that lie where the target has the backup of the GPT.
    pub covered: ExtentMap,
    /// The bytes that a damaged image has lost.
    pub salvaged: Option<Salvaged>,
    /// The volumes whose records may tell what it had lost before.
    pub recorded: Vec<Recorded>,
    /// The bytes that it had lost before, once that is noted.
    pub lost_before: Filled,
    /// The runs that wrote to it when it was a target, by its records, once that is noted.
    pub written_by: Vec<Uuid>,
    /// Since when and how it is at rest, if it is mounted for writing.
    pub rested: Option<Rested>,
    /// The identity of its own that it is shown with, as its clone has it.
    pub own_identity: Option<OwnIdentity>,
    /// The snapshot that it is, or is a part of.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The end of it that a smaller target has no room for.
    pub cut: Option<Cut>,
    /// The partitions of a disk, if they tell which bytes are in use.
    pub volumes: Vec<VolumeUsage>,
}

impl SourceEnd {
    /// Says what became of journals that awaited recovery.
    pub fn tell_journals(&self, is_quiet: bool) {
        let notes = self.journals.iter().filter(|_| !is_quiet);
        notes.for_each(|note| say(&format!("klon: {note}")));
    }

    /// What happened to it since it was opened, beside what passes are for; `None` for nothing.
    ///
    /// # Errors
    /// When the kernel's account of writes to it can't be read, or LVM can't be asked for its snapshot.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        let of_live = self.live.as_ref().map_or(Ok(None), Live::changed)?;
        match of_live {
            None => self.watch.as_ref().map_or(Ok(None), Watch::changed),
            what => Ok(what),
        }
    }

    /// How it is at rest, where that is not for moments alone.
    pub fn consistency(&self) -> Consistency {
        let rested = self.rested.as_ref();
        rested.map_or(Consistency::Still, |rested| rested.consistency)
    }

    /// Leaves out what the user chose not to have of what no one proved free.
    pub fn limit(&mut self, choice: Outside) {
        self.usage.limit(choice);
        if let Some(cut) = &mut self.cut {
            cut.limit(choice);
        }
    }
}
