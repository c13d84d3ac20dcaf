//! Sources, opened, with what of them is in use.

pub mod bad_sectors;
pub mod clone_end;
pub mod contained;
pub mod damaged_image;
pub mod fit;
pub mod imaged;
pub mod open;
pub mod packed;
pub mod resized;
pub mod unread;
pub mod warnings;
pub mod watch;

use fit::Cut;
use klon_imaging::image::{Salvaged, Snapshot};
use klon_partition::filesystem::Usage;
use klon_partition::system::Location;
use klon_partition::table::{Moved, Table};
use klon_partition::{ExtentMap, Identity, Outside, ReadAt};
use std::path::PathBuf;
use std::sync::Arc;
use watch::Watch;

/// A source, opened, with what of it is in use.
pub struct SourceEnd {
    /// As the user named it.
    pub name: String,
    /// What was opened for it.
    pub path: PathBuf,
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: Usage,
    /// Where it begins in what was opened: errors tell positions there.
    pub start_bytes: u64,
    /// How it is recognized.
    pub identity: Identity,
    /// Where it lies.
    pub location: Location,
    /// Its partition table; `None` for one volume.
    pub table: Option<Table>,
    /// What the table says otherwise on a target of another size.
    pub moved: Vec<Moved>,
    /// What of it holds the filesystem's own structures; empty where nobody needs to know.
    pub metadata: ExtentMap,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
    /// What shows that it is written to meanwhile.
    pub watch: Option<Watch>,
    /// What of it is read from elsewhere than from what was opened.
    pub replaced: ExtentMap,
    /// Of a damaged image: what of it is lost.
    pub salvaged: Option<Salvaged>,
    /// The snapshot that it is, or is a part of.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The end of it that a smaller target has no room for.
    pub cut: Option<Cut>,
}

impl SourceEnd {
    /// Leaves out what the user chose not to have of what no one proved free.
    pub fn limit(&mut self, choice: Outside) {
        self.usage.limit(choice);
        if let Some(cut) = &mut self.cut {
            cut.limit(choice);
        }
    }
}
