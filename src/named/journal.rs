//! Journals that await recovery, and what becomes of them when a volume is to be a source.

use crate::human;
use anyhow::Result;
use klon_partition::device::{Redirection, Window};
use klon_partition::filesystem::{Hazard, Replay, Summary, replay};
use klon_partition::inspect::{DiskLayout, Volume};
use klon_partition::table::Partition;
use klon_partition::{Extent, ReadAt};

/// What became of a journal that awaited recovery.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The partition of a disk that it is in; `None` for the volume itself.
    number: Option<u32>,
    /// Where that volume lies on what is read.
    pub extent: Extent,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Replayed {
        transactions: u32,
        replayed_bytes: u64,
    },
    /// By the kernel, which changed that much in the overlay.
    ByKernel {
        changed_bytes: u64,
    },
    Impossible(String),
}

/// What has to be read from elsewhere, by where its volume lies.
pub type Parts = Vec<(Extent, Redirection)>;

/// What the replay of journals comes to.
pub struct Found {
    /// What has to be read from elsewhere.
    pub parts: Parts,
    /// What became of each.
    pub journals: Vec<Journal>,
    /// What only the kernel can replay.
    pub waiting: Vec<Waiting>,
}

/// A volume whose journal the kernel could replay.
#[derive(Clone, Debug)]
pub struct Waiting {
    number: Option<u32>,
    /// Where it lies on what is read.
    pub extent: Extent,
    /// What it is.
    pub summary: Summary,
}

/// A volume of what is read, and what is known of it.
struct Candidate<'a> {
    number: Option<u32>,
    extent: Extent,
    volume: &'a Volume,
}

/// A volume or a disk whose journals are looked at.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What is read.
    pub device: &'a dyn ReadAt,
    /// What is on the device or file that it is of.
    pub layout: &'a DiskLayout,
    /// The partition of it that is read; `None` for all of it.
    pub meant: Option<&'a Partition>,
    /// What is on the disk around it, if that is another one.
    pub around: Option<&'a DiskLayout>,
}

impl Subject<'_> {
    /// Whether a journal awaits recovery, and nothing else keeps its volume from being clean.
    pub fn has_any(self) -> bool {
        self.candidates().iter().any(|found| needs(found.volume))
    }

    /// Replays the journals that klon can, and names the others.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn replayed(self) -> Result<Found> {
        let (mut parts, mut journals, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for Candidate {
            number,
            extent,
            volume,
        } in self.candidates()
        {
            let Some(filesystem) = volume.recognized.as_ref().filter(|_| needs(volume)) else {
                continue;
            };
            let mut note = |outcome| {
                journals.push(Journal {
                    number,
                    extent,
                    outcome,
                });
            };
            if let Some(why) = self.forbidden(volume) {
                note(Outcome::Impossible(why.to_owned()));
                continue;
            }
            let window = Window::new(self.device, extent)?;
            match replay(&window, &**filesystem)? {
                Replay::Unneeded => waiting.push(Waiting {
                    number,
                    extent,
                    summary: filesystem.summary().clone(),
                }),
                Replay::Impossible(why) => note(Outcome::Impossible(why)),
                Replay::Done(done) => {
                    note(Outcome::Replayed {
                        transactions: done.transactions,
                        replayed_bytes: done.replayed_bytes,
                    });
                    parts.push((extent, done.redirection));
                }
            }
        }
        Ok(Found {
            parts,
            journals,
            waiting,
        })
    }

    /// The volumes of what is read.
    fn candidates(&self) -> Vec<Candidate<'_>> {
        let own = self.device.geometry().extent();
        let candidate = |volume: &'_ Volume| match self.meant {
            Some(meant) if meant.extent != volume.extent => None,
            Some(_) => Some((None, own?)),
            None => {
                let number = volume.partition.as_ref().map(|partition| partition.number);
                Some((number, volume.extent))
            }
        };
        let with = |volume| {
            let (number, extent) = candidate(volume)?;
            Some(Candidate {
                number,
                extent,
                volume,
            })
        };
        self.layout.volumes.iter().filter_map(with).collect()
    }

    /// Why a journal is left alone though it could be replayed.
    fn forbidden(&self, volume: &Volume) -> Option<&'static str> {
        if is_hibernated(self.layout) || self.around.is_some_and(is_hibernated) {
            return Some("a system hibernated on its disk, and remembers the volume as it is");
        }
        let overlaps =
            |other: &Volume| other.extent != volume.extent && other.extent.overlaps(volume.extent);
        let is_shared = self.layout.volumes.iter().any(overlaps);
        is_shared.then_some("another partition overlaps it")
    }
}

fn needs(volume: &Volume) -> bool {
    let summary = volume.filesystem.as_ref();
    let hazards = summary.map_or(&[][..], |summary| &summary.hazards);
    let is_recovery = |hazard: &Hazard| matches!(hazard, Hazard::NeedsRecovery(_));
    !hazards.is_empty() && hazards.iter().all(is_recovery)
}

fn is_hibernated(layout: &DiskLayout) -> bool {
    let summaries = layout
        .volumes
        .iter()
        .filter_map(|it| it.filesystem.as_ref());
    let mut hazards = summaries.flat_map(|summary| &summary.hazards);
    hazards.any(|hazard| matches!(hazard, Hazard::Hibernated(_)))
}

impl Waiting {
    /// What is known once the kernel changed that much to replay it.
    pub const fn replayed(&self, changed_bytes: u64) -> Journal {
        self.journal(Outcome::ByKernel { changed_bytes })
    }

    /// What is known when it could not be replayed.
    pub fn impossible(&self, why: String) -> Journal {
        self.journal(Outcome::Impossible(why))
    }

    const fn journal(&self, outcome: Outcome) -> Journal {
        Journal {
            number: self.number,
            extent: self.extent,
            outcome,
        }
    }
}

impl Journal {
    /// Whether it was replayed.
    pub const fn is_replayed(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Replayed { .. } | Outcome::ByKernel { .. }
        )
    }

    /// What is said of it.
    pub fn note(&self, name: &str) -> String {
        let name = match self.number {
            Some(number) => format!("partition {number} of {name}"),
            None => name.to_owned(),
        };
        match &self.outcome {
            Outcome::Replayed {
                transactions,
                replayed_bytes,
            } => format!(
                "{name}: it was not unmounted cleanly. klon replayed its journal in an overlay ({}, {}) \
                 and reads the result; nothing is written to it",
                human::count(u64::from(*transactions), "transaction"),
                human::size(*replayed_bytes)
            ),
            Outcome::ByKernel { changed_bytes } => format!(
                "{name}: it was not unmounted cleanly. The kernel replayed its log in an overlay ({} changed) \
                 and klon reads the result; nothing is written to it",
                human::size(*changed_bytes)
            ),
            Outcome::Impossible(why) => {
                format!("{name}: klon did not replay its journal: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Journal, Outcome};
    use klon_partition::Extent;

    #[test]
    fn notes_say_what_became_of_a_journal() {
        let journal = |outcome| Journal {
            number: Some(2),
            extent: Extent::new(0, 512).unwrap(),
            outcome,
        };
        let replayed = journal(Outcome::Replayed {
            transactions: 1,
            replayed_bytes: 4096,
        });
        let note = replayed.note("disk");
        assert!(replayed.is_replayed());
        assert!(note.starts_with("partition 2 of disk: "), "{note}");
        assert!(note.contains("(1 transaction, 4 KiB)"), "{note}");
        let by_kernel = journal(Outcome::ByKernel {
            changed_bytes: 8192,
        });
        assert!(by_kernel.is_replayed() && by_kernel.note("disk").contains("(8 KiB changed)"));
        let left = journal(Outcome::Impossible("why".to_owned()));
        assert!(!left.is_replayed() && left.note("disk").ends_with(": why"));
    }
}
