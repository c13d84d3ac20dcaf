//! One side of a comparison: a device, a file or a snapshot, and its bytes in use.

use crate::cli::{ReplayArgs, StillArg};
use crate::files_hit;
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use crate::source::clone_end;
use crate::source::contained;
use crate::source::fit::{self, Cut, Loss};
use crate::source::imaged::of_part;
use crate::source::live;
use crate::source::resized::Resized;
use crate::source::unread;
use crate::still::Moments;
use crate::still::ways::Ways;
use anyhow::{Context as _, Result};
use klon_imaging::image::{Sides, Snapshot};
use klon_imaging::{ChunkSize, RecordStore};
use klon_partition::Shown;
use klon_partition::device::read_vec;
use klon_partition::filesystem::{Owners, usage_or_whole};
use klon_partition::inspect::{disk_usage, disk_usage_by};
use klon_partition::system::System;
use klon_partition::table::{Moved, Table, raw_extents};
use klon_partition::{Extent, ExtentMap, Geometry, Identity, Outside, ReadAt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One side of a comparison.
pub struct Side {
    /// As the user named it; of an image, with the number of the snapshot.
    pub name: String,
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// The device with everything that is on it. A clone may lack some of that, such as the log of an empty
    /// journal.
    whole: Arc<dyn ReadAt>,
    /// Its bytes in use.
    pub used: ExtentMap,
    /// Its bytes that no one proved free, and that the image does not have.
    pub left_out: ExtentMap,
    /// What could not be read when it was imaged.
    pub bad: ExtentMap,
    /// How it is recognized, where that is known; of a snapshot, what it was made of.
    pub identity: Option<Identity>,
    /// Whether it is a snapshot, or a part of one.
    pub is_image: bool,
    /// The size of its chunks, if it is an image.
    chunk_size: Option<ChunkSize>,
    /// Numbers and places of its partitions, if it is a disk.
    partitions: Option<Vec<(u32, Extent)>>,
    /// The table, if it is a disk.
    table: Option<Table>,
    /// What became of journals that awaited recovery, to be said.
    journals: Vec<String>,
    /// Numbers in its table that differ because it is shown as on a disk of another size.
    pub moved: Vec<Moved>,
    /// Whether it is mounted and written to while it is compared.
    pub is_in_use: bool,
}

impl Side {
    /// The same side, compared with all that is on it.
    pub fn with_all(self) -> Self {
        Self {
            device: self.whole.clone(),
            ..self
        }
    }

    /// Says what became of journals that awaited recovery.
    pub fn tell_journals(&self, is_quiet: bool) {
        let notes = self.journals.iter().filter(|_| !is_quiet);
        notes.for_each(|note| say(&format!("klon: {note}")));
    }

    /// The devices of this side and the `second` one.
    pub fn and<'a>(&'a self, second: &'a Self) -> Sides<'a> {
        Sides {
            first: &*self.device,
            second: &*second.device,
        }
    }

    /// Opens what `given` names, in nobody's way. What is mounted for writing is brought to rest for a look at what
    /// is in use.
    ///
    /// # Errors
    /// When the place can't be opened, or what is in use can't be told.
    pub fn open(
        given: &Path,
        replay: &ReplayArgs,
        freeze_max: Duration,
        system: &System,
    ) -> Result<Self> {
        let place = Place::resolve(given, system)?;
        let moments = Moments::asked(StillArg::Auto, freeze_max);
        if let Some(moments) = moments.filter(|_| place.image.is_none()) {
            let node = place.clone().at_node(system)?;
            let look = |open: &OpenPlace| Self::new(open, system);
            if let Some(side) = live::looked_at(&node, system, moments, look)? {
                return Ok(Self {
                    is_in_use: true,
                    ..side
                });
            }
        }
        Self::new(&place.replaying(replay).open()?, system)
    }

    /// Says that what differs may have been written since.
    pub fn tell_in_use(&self, is_quiet: bool) {
        if self.is_in_use && !is_quiet {
            say(&in_use(&self.name));
        }
    }

    fn new(open: &OpenPlace, system: &System) -> Result<Self> {
        let given = &open.place.given;
        let table = open.layout.table.as_ref().filter(|_| open.is_disk());
        let none = ExtentMap::new;
        let mut device = open.device.clone();
        let (used, bad, left_out) = match &open.snapshot {
            Some(snapshot) => {
                let manifest = snapshot.manifest();
                let part = |map: &ExtentMap| of_part(map, open.partition.as_ref());
                let left_out = part(&manifest.left_out);
                (part(&manifest.wanted()), part(&manifest.bad), left_out)
            }
            None if open.is_disk() => {
                let used = disk_usage_by(&*open.device, &open.layout.volumes)
                    .with_context(|| given.clone())?;
                device = unread::of_disk(device, &used)?;
                (used.extents, none(), none())
            }
            None => {
                let usage = usage_or_whole(&*open.device, open.recognized().cloned());
                let usage = contained::by_disk(usage, open, system)?;
                device = unread::of_volume(device, &usage);
                (usage.extents, none(), none())
            }
        };
        let name = match (&open.snapshot, &open.partition) {
            (Some(snapshot), None) => {
                let path = open.place.path.shown();
                format!("{path}@{}", snapshot.number())
            }
            _ => given.clone(),
        };
        Ok(Self {
            name,
            device,
            whole: open.device.clone(),
            used,
            bad,
            left_out,
            journals: open.notes(),
            identity: open.identity(system).ok(),
            is_image: open.snapshot.is_some(),
            chunk_size: (open.snapshot.as_deref()).map(Snapshot::chunk_size),
            partitions: table.map(files_hit::partitions),
            table: table.cloned(),
            moved: Vec::new(),
            is_in_use: false,
        })
    }

    /// A snapshot as it is on a target that has no room for all of it.
    ///
    /// # Errors
    /// When it can't be there, because what is in use ends behind the target.
    pub fn cut_for(self, given: &Path, restored: &Restored, with: Known<'_>) -> Result<Self> {
        let Known { records, system } = with;
        let target = restored.target;
        let mut source = SourceEnd::open(
            &Place::resolve(given, system)?,
            &Ways::none(),
            system,
            Some(target),
        )?;
        if let Some(choice) = restored.choice {
            source.limit(choice);
        }
        tell_cut(&source, source.cut.as_ref(), records)?;
        let table = match &source.table {
            Some(table) => raw_extents(&*source.device, table)?,
            None => ExtentMap::new(),
        };
        let used = self.used.union(&table);
        let used = used.intersection(&ExtentMap::whole(target.size_bytes));
        Ok(Self {
            used: source.usage.extents.intersection(&used),
            left_out: self.left_out.union(&source.usage.left_out),
            device: source.device,
            moved: source.moved,
            ..self
        })
    }

    /// The same without what was left out of the other side by choice.
    #[must_use]
    pub fn without(mut self, left_out: &ExtentMap) -> Self {
        self.left_out = self.left_out.union(&self.used.intersection(left_out));
        self.used = self.used.difference(left_out);
        self
    }

    /// The same side as it is on `other`, a disk of another size to which it was cloned or restored. The GPT
    /// differs there.
    ///
    /// Where `other` has the table as it is here, as after a plain copy, nothing is changed.
    ///
    /// # Errors
    /// When a table can't be read, or does not fit the other size.
    pub fn on(mut self, other: &Self) -> Result<Self> {
        let geometry = other.device.geometry();
        let table = self.table.as_ref();
        let Some(table) = table.filter(|_| geometry.size_bytes != self.size_bytes()) else {
            return Ok(self);
        };
        let before = raw_extents(&*self.device, table)?;
        if is_equal(&before, &*self.device, &*other.device) {
            return Ok(self);
        }
        let resized = Resized::new(&self.name, &self.device, Some(table), Some(geometry))?;
        if resized.moved.is_empty() {
            return Ok(self);
        }
        let after = raw_extents(&*resized.device, table)?;
        let whole = ExtentMap::whole(geometry.size_bytes);
        let there = disk_usage(&*resized.device).map_or(whole, |usage| usage.extents);
        let used = self.used.difference(&before.difference(&after));
        let not_there = used.difference(&there);
        self.used = used.difference(&not_there).union(&after);
        self.device = resized.device;
        self.moved = resized.moved;
        Ok(self)
    }

    /// By how much the two are compared at once: the chunks of the image that has the larger ones.
    pub fn chunk_size(&self, other: &Self) -> ChunkSize {
        let larger = self.chunk_size.max(other.chunk_size);
        larger.unwrap_or(ChunkSize::USUAL)
    }

    /// Whether it is a snapshot, which has digests of its chunks.
    pub const fn is_snapshot(&self) -> bool {
        self.chunk_size.is_some()
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.device.geometry().size_bytes
    }

    /// Its files with bytes in `extents`.
    pub fn files(&self, extents: &ExtentMap) -> Owners {
        if extents.is_empty() {
            Owners::default()
        } else {
            files_hit::owners_in(&*self.device, self.partitions.as_deref(), extents)
        }
    }
}

/// What a snapshot was restored to.
pub struct Restored {
    /// How large that is.
    pub target: Geometry,
    /// How the user limited the restore, if a record says so.
    pub choice: Option<Outside>,
}

/// What klon knows of clones and of this machine.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Where the records of clones are.
    pub records: &'a RecordStore,
    /// The disks, and who uses them.
    pub system: &'a System,
}

/// Names the bytes of `source` that nobody proved free and the other side has no room for. If `source` is a clone and
/// its record ends before them, nothing is said: the earlier run said it.
///
/// # Errors
/// When the source can't be read.
pub fn tell_cut(source: &SourceEnd, cut: Option<&Cut>, records: &RecordStore) -> Result<()> {
    let clone = clone_end::of(source, records).zip(cut);
    if clone.is_some_and(|(end_bytes, cut)| end_bytes <= cut.target_bytes()) {
        return Ok(());
    }
    fit::check(&source.name, cut, Loss::Tell)
}

/// What is said of a comparison with a volume that is written to meanwhile.
pub fn in_use(name: &str) -> String {
    format!(
        "klon: {name} is mounted, and was compared while it is written to: what differs may have been written \
         since the copy, or meanwhile"
    )
}

/// Whether both have the same bytes in `extents`, which are few.
fn is_equal(extents: &ExtentMap, one: &dyn ReadAt, other: &dyn ReadAt) -> bool {
    extents.iter().all(|extent| {
        let read = |device: &dyn ReadAt| {
            let len = usize::try_from(extent.len_bytes()).ok()?;
            read_vec(device, extent.offset_bytes(), len).ok()
        };
        read(one).is_some_and(|bytes| read(other) == Some(bytes))
    })
}
