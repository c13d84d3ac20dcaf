//! Places whose journals are replayed, what is said of them, and of what is in use of them.

use super::journal::{Journal, Subject};
use super::open::OpenPlace;
use super::recovered;
use anyhow::{Context as _, Result};
use klon_partition::ReadAt;
use klon_partition::device::Redirected;
use klon_partition::filesystem::{Usage, recognize};
use klon_partition::inspect::{DiskUsage, Volume, inspect};
use klon_partition::system::System;
use std::sync::Arc;

impl OpenPlace {
    /// The same place, with its journals replayed where that is asked for and makes its volumes clean.
    pub(super) fn with_replay(mut self) -> Result<Self> {
        let subject = |around| Subject {
            device: &*self.device,
            layout: &self.layout,
            meant: self.partition.as_ref(),
            around,
        };
        let asked = self.place.replay.clone();
        let Some(scratch) = asked.filter(|_| self.snapshot.is_none()) else {
            return Ok(self);
        };
        if self.layout.doubt().is_some() || !subject(None).has_any() {
            return Ok(self);
        }
        let system = System::current()?;
        let parent = self.parent(&system)?;
        let doing = || format!("replaying the journal of {}", self.place.given);
        let replayed = subject(parent.map(|parent| &parent.layout)).replayed();
        let mut found = replayed.with_context(doing)?;
        let mut shown = self.device.clone();
        if !found.parts.is_empty() {
            shown = Arc::new(Redirected::new(shown, found.parts)?);
        }
        let by_kernel = recovered::by_kernel(&self.place, &scratch, shown, found.waiting, &system);
        let (shown, journals) = by_kernel.with_context(doing)?;
        found.journals.extend(journals);
        self.journals = found.journals;
        if self.is_replayed() {
            self.show(shown)?;
        }
        Ok(self)
    }

    /// Reads `shown` in its place from now on, which is as large.
    fn show(&mut self, shown: Arc<dyn ReadAt>) -> Result<()> {
        let given = || self.place.given.clone();
        match &self.partition {
            None => self.layout = inspect(&*shown).with_context(given)?,
            Some(partition) => {
                let found = recognize(&*shown).with_context(given)?;
                let is_it = |volume: &&mut Volume| volume.extent == partition.extent;
                if let Some(volume) = self.layout.volumes.iter_mut().find(is_it) {
                    volume.filesystem = found.as_ref().map(|it| it.summary().clone());
                    volume.recognized = found;
                }
            }
        }
        self.device = shown;
        Ok(())
    }

    /// What became of its journals, in words.
    pub fn notes(&self) -> Vec<String> {
        let note = |journal: &Journal| journal.note(&self.place.given);
        self.journals.iter().map(note).collect()
    }

    /// Whether a journal of it was replayed.
    pub fn is_replayed(&self) -> bool {
        self.journals.iter().any(Journal::is_replayed)
    }

    /// Marks what is in use of the volume that it is, if its journal was replayed.
    pub fn mark_replayed(&self, usage: &mut Usage) {
        usage.is_replayed |= self.is_replayed();
    }

    /// As [`mark_replayed`](Self::mark_replayed), for the volumes of a disk.
    pub fn mark_replayed_volumes(&self, disk: &mut DiskUsage) {
        for journal in self.journals.iter().filter(|journal| journal.is_replayed()) {
            let volumes = disk.volumes.iter_mut();
            volumes
                .filter(|volume| volume.extent == journal.extent)
                .for_each(|volume| volume.usage.is_replayed = true);
        }
    }
}
