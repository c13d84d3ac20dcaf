//! Verifies an image by reading each frame once, and names the data that each damaged frame costs.

use super::catalog::pages::{PageNode, read_page};
use super::frame::FrameType;
use super::frames_in_use::FramesInUse;
use super::load::LoadFrames;
use super::reader::Image;
use super::reference::Reference;
use super::snapshot::Snapshot;
use crate::buffer::Pool;
use crate::chunk::Digest;
use crate::error::{Error, Result};
use crate::pipeline::{self, Flow};
use crate::progress::{Event, Runner, unless_cancelled};
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Instant;

/// Reasons that are kept of each snapshot.
const REASONS_MAX: usize = 20;

/// What a verify of an image found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckSummary {
    /// Whether everything is as it was written.
    pub is_whole: bool,
    /// The numbers of the snapshots that were looked at.
    pub snapshots: Vec<u64>,
    /// How many frames were read.
    pub frames: u64,
    /// Bytes of them in the file.
    pub stored_bytes: u64,
    /// Bytes of them as they were imaged.
    pub plain_bytes: u64,
    /// What is damaged, by snapshot; intact snapshots are left out.
    pub damage: Vec<SnapshotDamage>,
    /// What could not be read from the source when it was imaged, by snapshot. The image is not
    /// damaged there.
    pub bad: Vec<SnapshotBad>,
    /// What is wrong with the header of the file, which was rebuilt from the frames.
    pub header_damage: Option<String>,
    /// What is wrong with the last commit. When it can't be read, an earlier one was checked instead.
    pub commit_damage: Option<String>,
    /// Bytes behind the last commit, left by an interrupted run. They are no damage.
    pub torn_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// The bytes of a snapshot that could not be read from its source, and are zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotBad {
    /// Its number.
    pub snapshot: u64,
    /// How many bytes.
    pub bad_bytes: u64,
    /// Where they are in what was imaged.
    pub extents: ExtentMap,
}

/// The bytes of a snapshot that are damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotDamage {
    /// Its number.
    pub snapshot: u64,
    /// Whether nothing of it can be read.
    pub is_lost: bool,
    /// Bytes of what was imaged that are lost.
    pub damaged_bytes: u64,
    /// Where they are in what was imaged.
    pub extents: ExtentMap,
    /// What is wrong with the frames, the first of them.
    pub reasons: Vec<String>,
}

/// Reads every frame of one snapshot or of all, in the order of their positions, and compares it
/// with its checksum and digest.
///
/// # Errors
/// [`Error::Image`] when there is no snapshot of that number, [`Error::Interrupted`]. Damage is no
/// error.
pub fn check(image: &Image, number: Option<u64>, runner: Runner<'_>) -> Result<CheckSummary> {
    let started = Instant::now();
    let mut checked = Findings::open(image, number)?;
    let frames = FramesInUse::of(image, &checked.snapshots);
    let stored_bytes = total(&frames.data);
    runner.observer.event(&Event::Started {
        name: runner.name,
        rung: None,
        reason: "checking every frame against its digest",
        total_bytes: stored_bytes,
    });
    let plain_bytes = frames.data.iter().map(|r| u64::from(r.plain_bytes)).sum();
    let count = frames.data.len() + frames.pages.len() + checked.snapshots.len() + 2;
    let metadata_bytes = total(&frames.pages) + checked.manifest_bytes();
    checked.read(image, frames.data, runner)?;
    runner.observer.event(&Event::Finished);
    let damage = checked.damage();
    let tail = image.tail();
    let commit_damage = tail.damage.clone().or_else(|| damaged_page(image));
    Ok(CheckSummary {
        is_whole: damage.is_empty() && commit_damage.is_none() && image.header_damage().is_none(),
        snapshots: checked.numbers,
        frames: count as u64,
        stored_bytes: stored_bytes.saturating_add(metadata_bytes),
        plain_bytes,
        damage,
        bad: checked.snapshots.iter().filter_map(bad_of).collect(),
        header_damage: image.header_damage().map(str::to_owned),
        commit_damage,
        torn_bytes: image.size_bytes().saturating_sub(tail.end),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What is wrong with the first damaged page of the catalog. Each page is stored twice, so its
/// contents can still be read.
fn damaged_page(image: &Image) -> Option<String> {
    let frames = PageNode::all_frames(&image.tail().catalog_pages);
    let read = |frame: &Reference| read_page(image.device(), image.header(), frame).err();
    let error = frames.iter().find_map(read)?;
    Some(format!(
        "{error}. The file has a second copy of it, so nothing is lost; compacting the image writes \
         both again"
    ))
}

fn bad_of(snapshot: &Snapshot) -> Option<SnapshotBad> {
    let extents = &snapshot.manifest().bad;
    (!extents.is_empty()).then(|| SnapshotBad {
        snapshot: snapshot.number(),
        bad_bytes: extents.total_bytes(),
        extents: extents.clone(),
    })
}

fn total(references: &[Reference]) -> u64 {
    let of = |reference: &Reference| u64::from(reference.stored_bytes);
    references.iter().map(of).sum()
}

/// The snapshots that are looked at, and what was found of them.
struct Findings {
    numbers: Vec<u64>,
    snapshots: Vec<Snapshot>,
    lost: Vec<SnapshotDamage>,
    bad: HashMap<Reference, String>,
}

impl Findings {
    fn open(image: &Image, number: Option<u64>) -> Result<Self> {
        let mut checked = Self {
            numbers: Vec::new(),
            snapshots: Vec::new(),
            lost: Vec::new(),
            bad: HashMap::new(),
        };
        if let Some(number) = number
            && image.catalog().find(Some(number)).is_none()
        {
            // The error says which snapshots exist.
            image.snapshot(Some(number)).map_err(Error::Image)?;
        }
        let entries = image.catalog().snapshots.iter();
        for entry in entries.filter(|entry| number.is_none_or(|number| number == entry.number)) {
            checked.numbers.push(entry.number);
            match image.snapshot(Some(entry.number)) {
                Ok(snapshot) => checked.snapshots.push(snapshot),
                Err(error) => checked.lost.push(SnapshotDamage {
                    snapshot: entry.number,
                    is_lost: true,
                    damaged_bytes: entry.used_bytes,
                    extents: Extent::new(0, entry.source_bytes).into_iter().collect(),
                    reasons: vec![error.to_string()],
                }),
            }
        }
        Ok(checked)
    }

    fn manifest_bytes(&self) -> u64 {
        let of = |snapshot: &Snapshot| u64::from(snapshot.entry().manifest.stored_bytes);
        self.snapshots.iter().map(of).sum()
    }

    fn read(&mut self, image: &Image, data: Vec<Reference>, runner: Runner<'_>) -> Result<()> {
        let Runner {
            threads, observer, ..
        } = runner;
        let chunk_len = image.header().chunk_size.buffer_len();
        let pool = Pool::new(chunk_len);
        let tasks = data
            .into_iter()
            .map(|reference| unless_cancelled(observer, reference));
        let read = |reference: Reference| {
            let mut plain = pool.take();
            let len = (reference.plain_bytes as usize).min(chunk_len);
            let result = image.read_into(&reference, FrameType::Data, &mut plain[..len]);
            Ok((reference, result.err().map(|error| error.to_string())))
        };
        let flow = Flow::of_items(threads, chunk_len, 2 * chunk_len);
        pipeline::run(flow, tasks, read, |(reference, why)| {
            if let Some(why) = why {
                self.bad.insert(reference, why);
            }
            observer.event(&Event::Advanced {
                bytes: reference.stored_bytes.into(),
            });
            Ok(())
        })
    }

    /// What is damaged, by snapshot.
    fn damage(&mut self) -> Vec<SnapshotDamage> {
        let mut damage = std::mem::take(&mut self.lost);
        let mut zeroes = Zeroes::default();
        let of = |snapshot| damage_of(snapshot, &self.bad, &mut zeroes);
        damage.extend(self.snapshots.iter().filter_map(of));
        damage.sort_by_key(|damage| damage.snapshot);
        damage
    }
}

fn damage_of(
    snapshot: &Snapshot,
    bad: &HashMap<Reference, String>,
    zeroes: &mut Zeroes,
) -> Option<SnapshotDamage> {
    let mut reasons = Vec::new();
    let mut note = |why: String| {
        if reasons.len() < REASONS_MAX && !reasons.contains(&why) {
            reasons.push(why);
        }
    };
    let mut lost = Lost::new(&snapshot.manifest().data);
    for item in snapshot.references() {
        match item {
            Err(error) => note(error.to_string()),
            Ok((number, reference)) => match bad.get(&reference) {
                Some(why) => note(why.clone()),
                None if reference.is_zero() && !zeroes.is_right(&reference) => note(format!(
                    "chunk {number} is said to be zero with the digest {}",
                    reference.digest
                )),
                None => lost.sound(snapshot.chunk(number)),
            },
        }
    }
    let extents = lost.finish();
    if extents.is_empty() && reasons.is_empty() {
        return None;
    }
    if reasons.is_empty() {
        reasons.push("some of its chunks are in no page".to_owned());
    }
    Some(SnapshotDamage {
        snapshot: snapshot.number(),
        is_lost: false,
        damaged_bytes: extents.total_bytes(),
        extents,
        reasons,
    })
}

/// Finds the data that no sound chunk covers, in one pass and little memory.
struct Lost<'a> {
    data: &'a ExtentMap,
    extents: ExtentMapBuilder,
    done_bytes: u64,
}

impl<'a> Lost<'a> {
    fn new(data: &'a ExtentMap) -> Self {
        Self {
            data,
            extents: ExtentMapBuilder::new(),
            done_bytes: 0,
        }
    }

    /// Notes a sound chunk; they come in order.
    fn sound(&mut self, chunk: Option<Extent>) {
        let Some(chunk) = chunk else { return };
        self.up_to(chunk.offset_bytes());
        self.done_bytes = chunk.end_bytes();
    }

    fn up_to(&mut self, end_bytes: u64) {
        let gap = Extent::between(self.done_bytes, end_bytes);
        let lost = gap.into_iter().flat_map(|gap| self.data.within(gap));
        lost.for_each(|extent| self.extents.push(extent));
    }

    fn finish(mut self) -> ExtentMap {
        self.up_to(self.data.end_bytes());
        self.extents.finish()
    }
}

/// Digests of zeroes, by how many zeroes there are: as many as in a chunk, and as in the last one.
#[derive(Default)]
struct Zeroes(HashMap<u32, Digest>);

impl Zeroes {
    fn is_right(&mut self, reference: &Reference) -> bool {
        let len = reference.plain_bytes;
        let digest = self
            .0
            .entry(len)
            .or_insert_with(|| Digest::of(&vec![0; len as usize]));
        *digest == reference.digest
    }
}
