//! Images: round trips, torn ends, flipped bits.

mod check;
mod compact;
mod header;
mod hostile;
mod kept;
mod pages;
mod parts;
mod pieces;
mod prune;
mod salvage;
mod sizes;
mod torn;

use super::{
    Adopted, Append, CaptureJob, CaptureOptions, CaptureSummary, HEADER_LEN, Header, Image,
    ImageWriter, Snapshot, SnapshotDevice, VolumeKind, capture,
};
use crate::change::{Reliance, RungChoice};
use crate::chunk::ChunkSize;
use crate::clone::{CloneOptions, Ends, Freed, Job, Rewrite, Update, clone};
use crate::error::Result;
use crate::progress::{Observer, Silent};
use crate::record::{Consistency, RecordStore, Role};
use crate::rung::Rung;
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt};
use std::num::NonZeroUsize;
use std::sync::Arc;
use uuid::Uuid;

const MIB: usize = 1 << 20;
const SIZE: usize = 9 * MIB + 512 * 3;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A source whose parts compress well, not at all, are zero, or not in use.
pub(crate) struct World {
    pub(crate) content: Vec<u8>,
    pub(crate) usage: Usage,
    file: Vec<u8>,
    chunk_bytes: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut content = noise(5, SIZE);
        content[2 * MIB..3 * MIB].fill(7);
        content[4 * MIB..5 * MIB].fill(0);
        let used = [(0, 6 * MIB + 4096), (7 * MIB + 8192, SIZE - 7 * MIB - 8192)];
        let extents: ExtentMap = used
            .into_iter()
            .filter_map(|(offset, len)| Extent::new(offset as u64, len as u64))
            .collect();
        Self {
            content,
            usage: Usage::mapped(extents),
            file: Vec::new(),
            chunk_bytes: MIB as u32,
        }
    }

    /// One of two chunks, all of it noise and in use.
    fn small() -> Self {
        let content = noise(6, MIB + 100_000);
        Self {
            usage: Usage::mapped(ExtentMap::whole(content.len() as u64)),
            content,
            file: Vec::new(),
            chunk_bytes: MIB as u32,
        }
    }

    pub(crate) fn image(&self) -> Image {
        open(&self.file)
    }

    pub(crate) fn file(&self) -> &[u8] {
        &self.file
    }

    fn append(&mut self, rung: RungChoice, observer: &dyn Observer) -> Result<CaptureSummary> {
        let previous = match self.file.is_empty() {
            true => None,
            false => self.image().snapshot(None).ok(),
        };
        let mut writer = match self.file.is_empty() {
            true => ImageWriter::create(Vec::new(), header(self.chunk_bytes))?,
            false => {
                let image = self.image();
                let adopted = Adopted::find(image.device(), image.header(), image.tail()).unwrap();
                let mut file = self.file.clone();
                file.resize(usize::try_from(adopted.end).unwrap(), 0);
                ImageWriter::resume(file, &image, &adopted)?
            }
        };
        let result = self.capture(&mut writer, previous.as_ref(), rung, observer);
        self.file = writer.into_output();
        result
    }

    fn capture<A: Append>(
        &self,
        writer: &mut ImageWriter<A>,
        previous: Option<&Snapshot>,
        rung: RungChoice,
        observer: &dyn Observer,
    ) -> Result<CaptureSummary> {
        let source = MemoryDevice::new(self.content.clone(), 512);
        self.capture_of((&source, false), writer, previous, (rung, observer))
    }

    /// Adds a snapshot of a source that may compare what is read of it with digests that it keeps.
    fn capture_of<A: Append>(
        &self,
        (source, is_checked): (&dyn ReadAt, bool),
        writer: &mut ImageWriter<A>,
        previous: Option<&Snapshot>,
        (rung, observer): (RungChoice, &dyn Observer),
    ) -> Result<CaptureSummary> {
        let identity = Identity::Path("/source".to_owned());
        let job = CaptureJob {
            name: "source",
            source,
            usage: &self.usage,
            source_identity: &identity,
            kind: VolumeKind::Volume,
            disk_guid: None,
            partitions: Vec::new(),
            bad: ExtentMap::new(),
            previous,
            watch: None,
            given_name: None,
            consistency: Consistency::Still,
            clone_bytes: None,
            note: None,
            is_checked,
            volumes: None,
        };
        let options = CaptureOptions {
            rung,
            level: 1,
            threads: NonZeroUsize::new(2).unwrap(),
            reliance: Reliance::USUAL,
        };
        capture(&job, writer, &options, observer)
    }

    pub(crate) fn auto(&mut self) -> CaptureSummary {
        self.append(RungChoice::Auto, &Silent).unwrap()
    }

    /// What the image must give back.
    pub(crate) fn expected(&self) -> Vec<u8> {
        let mut expected = vec![0; self.content.len()];
        for extent in self.usage.extents.iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            expected[range.clone()].copy_from_slice(&self.content[range]);
        }
        expected
    }
}

fn header(chunk_bytes: u32) -> Header {
    Header {
        uuid: Uuid::from_u128(7),
        chunk_size: ChunkSize::new(chunk_bytes.into()).unwrap(),
        made_unix_seconds: 1,
        is_appendable: true,
        has_catalog_pages: true,
    }
}

fn open(file: &[u8]) -> Image {
    Image::open(Arc::new(MemoryDevice::new(file.to_vec(), 512))).unwrap()
}

fn content(image: &Image, number: u64) -> klon_partition::Result<Vec<u8>> {
    let device = SnapshotDevice::new(Arc::new(image.snapshot(Some(number))?));
    let mut bytes = vec![1; usize::try_from(device.geometry().size_bytes).unwrap()];
    device.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// An image of three snapshots, their contents, and where their commits end.
fn three() -> (World, [Vec<u8>; 3], [usize; 3]) {
    let mut world = World::new();
    let mut contents = [Vec::new(), Vec::new(), Vec::new()];
    let mut ends = [0; 3];
    for index in 0..3 {
        world.content[MIB + index * 1_500_000] ^= 1;
        world.auto();
        contents[index] = world.expected();
        ends[index] = world.file.len();
    }
    (world, contents, ends)
}

#[test]
fn every_snapshot_reads_as_a_full_image() {
    let (world, contents, _) = three();
    let image = world.image();
    assert_eq!(image.tail().damage, None);
    for (number, expected) in (1..).zip(&contents) {
        assert!(&content(&image, number).unwrap() == expected, "{number}");
    }
}

#[test]
fn small_reads_at_any_place_are_those_of_the_source() {
    let (world, contents, _) = three();
    let device = SnapshotDevice::new(Arc::new(world.image().snapshot(None).unwrap()));
    for index in 0..200_usize {
        let at = (index * 48_271_981) % (SIZE - 5000);
        let mut bytes = vec![0; 1 + index * 25 % 5000];
        device.read_exact_at(&mut bytes, at as u64).unwrap();
        assert!(bytes == contents[2][at..at + bytes.len()], "{at}");
    }
    assert!(device.read_exact_at(&mut [0; 2], SIZE as u64 - 1).is_err());
}

#[test]
fn only_what_is_new_is_added_once() {
    let mut world = World::new();
    let first = world.auto();
    assert_eq!(first.rung, Rung::Full);
    // Noise but for three chunks.
    assert!((5 * MIB as u64..7 * MIB as u64).contains(&first.added_bytes));
    let again = world.auto();
    assert_eq!((again.rung, again.changed_bytes), (Rung::Digest, 0));
    assert!(again.added_bytes < 8192, "{}", again.added_bytes);
    // What another place has already, and zeroes.
    world.content.copy_within(MIB..2 * MIB, 2 * MIB);
    world.content[3 * MIB..4 * MIB].fill(0);
    let moved = world.auto();
    assert_eq!(moved.changed_bytes, 2 * MIB as u64);
    assert!(moved.added_bytes < 8192, "{}", moved.added_bytes);
    let full = world.append(RungChoice::Only(Rung::Full), &Silent).unwrap();
    assert!(full.added_bytes > 4 * MIB as u64);
    assert!(content(&world.image(), 4).unwrap() == world.expected());
}

#[test]
fn torn_anywhere_the_earlier_snapshots_are_whole() {
    let (world, contents, ends) = three();
    let len = world.file.len();
    let near = |at: usize| (at.saturating_sub(200)..(at + 200).min(len)).step_by(8);
    let cuts = (0..len)
        .step_by(40_961)
        .chain(ends.into_iter().flat_map(near));
    for cut in cuts.filter(|&cut| cut >= HEADER_LEN) {
        let image = open(&world.file[..cut]);
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let found = image.catalog().snapshots.len();
        assert_eq!(found, whole, "cut at {cut} of {len}");
        if whole > 0 && cut % 5 == 0 {
            assert!(
                content(&image, whole as u64).unwrap() == contents[whole - 1],
                "{cut}"
            );
        }
    }
}

#[test]
fn a_torn_append_is_gone_on_with() {
    let (world, contents, ends) = three();
    let mut added = Vec::new();
    for cut in [
        ends[2] - 1,
        ends[2] - 5000,
        ends[1] + 1_000_000,
        ends[1] + 10,
        ends[1],
    ] {
        let mut torn = World::new();
        torn.content = world.content.clone();
        torn.file = world.file[..cut].to_vec();
        let summary = torn.auto();
        added.push(summary.added_bytes);
        let image = torn.image();
        for (number, expected) in (1..).zip(&contents) {
            assert!(
                &content(&image, number).unwrap() == expected,
                "{cut}, {number}"
            );
        }
        assert_eq!(torn.file[..ends[1]], world.file[..ends[1]]);
    }
    // The more there was, the less is added.
    // But for what the time that each run took makes of its manifest.
    let blocks = added.iter().map(|bytes| bytes / 4096);
    assert!(blocks.is_sorted(), "{added:?}");
    assert!(added[0] < 8192 && added[4] > MIB as u64, "{added:?}");
}

#[test]
fn no_flipped_bit_is_taken_for_content() {
    let (world, contents, _) = three();
    let mut noise = noise(9, 800).into_iter();
    let mut next = || {
        let bytes: Vec<u8> = noise.by_ref().take(8).collect();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    let mut read = 0;
    for _ in 0..100 {
        let bit = next() as usize % (world.file.len() * 8);
        let mut file = world.file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        let device = Arc::new(MemoryDevice::new(file, 512));
        let Ok(image) = Image::open(device) else {
            continue;
        };
        for (number, expected) in (1..).zip(&contents) {
            if let Ok(found) = content(&image, number) {
                read += 1;
                assert!(&found == expected, "bit {bit}, snapshot {number}");
            }
        }
    }
    assert!(read > 20, "{read}");
}

#[test]
fn a_copy_of_an_image_inside_an_image_is_no_commit() {
    let (world, _, _) = three();
    let mut outer = World::new();
    outer.content = world.file.clone();
    outer.content.resize(SIZE, 0);
    outer.auto();
    let len = outer.file.len();
    // The end of the outer one is lost; the inner one, of the same UUID, has valid frames.
    for cut in [len - 1, len - 3000, len - 2 * MIB] {
        assert_eq!(
            open(&outer.file[..cut]).catalog().snapshots.len(),
            0,
            "{cut}"
        );
    }
}

#[test]
fn a_restore_reads_only_what_the_target_lacks() {
    let (world, contents, _) = three();
    let device = SnapshotDevice::new(Arc::new(world.image().snapshot(Some(2)).unwrap()));
    let target = MemoryDevice::new(noise(3, SIZE), 512);
    let store = tempfile::tempdir().unwrap();
    let records = RecordStore::new(store.path().to_owned());
    let [source_identity, target_identity] =
        ["/image", "/target"].map(|path| Identity::Path(path.to_owned()));
    let restore = |device: &SnapshotDevice, rung| {
        let usage = Usage {
            extents: device.snapshot().manifest().wanted(),
            ..world.usage.clone()
        };
        let job = Job {
            role: Role::Restore,
            ..Job::new(
                "restored",
                Ends {
                    source: device,
                    usage: &usage,
                    source_identity: &source_identity,
                    target: &target,
                    target_identity: &target_identity,
                },
            )
        };
        let options = CloneOptions {
            rung,
            rewrite: Rewrite::Blocks,
            freed: Freed::Leave,
            update: Update::InPlace,
            threads: NonZeroUsize::new(2).unwrap(),
            reliance: Reliance::USUAL,
        };
        clone(&job, &records, &options, &Silent).unwrap()
    };
    let is_restored = |expected: &[u8]| {
        let bytes = target.to_vec();
        let used = world.usage.extents.iter();
        used.map(|extent| extent.offset_bytes() as usize..extent.end_bytes() as usize)
            .all(|range| bytes[range.clone()] == expected[range])
    };
    restore(&device, RungChoice::Auto);
    assert!(is_restored(&contents[1]));
    for rung in [RungChoice::Auto, RungChoice::Only(Rung::Compare)] {
        let again = restore(&device, rung);
        // The first chunk is held back, and so read always.
        assert_eq!(
            (again.tally.read_source_bytes, again.tally.changed_bytes),
            (MIB as u64, 0)
        );
    }
    let device = SnapshotDevice::new(Arc::new(world.image().snapshot(Some(3)).unwrap()));
    let next = restore(&device, RungChoice::Only(Rung::Compare));
    assert_eq!(
        (next.tally.read_source_bytes, next.tally.changed_bytes),
        (2 * MIB as u64, 4096)
    );
    assert!(is_restored(&contents[2]));
}
