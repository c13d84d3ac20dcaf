//! Restores of damaged images: what is whole arrives, what isn't is zero and known.

use super::super::{SalvageDevice, Salvaged, SnapshotDevice, Unreadable};
use super::{MIB, SIZE, World, noise, open, three};
use crate::change::{Reliance, RungChoice};
use crate::clone::{
    CloneOptions, CloneSummary, Ends, FillTexts, Filled, Freed, Job, Rewrite, Update, clone,
};
use crate::mark::Mark;
use crate::progress::{Runner, Silent};
use crate::record::{Record, RecordStore, Role};
use crate::verify::{Against, verify};
use klon_partition::device::{Fault, FaultAt, MemoryDevice, Overlay, Window};
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use std::num::NonZeroUsize;
use std::sync::Arc;
use tempfile::TempDir;

fn chunk(at: usize) -> Extent {
    Extent::new((at * MIB) as u64, MIB as u64).unwrap()
}

/// Flips a bit in the frames of chunks of a snapshot.
fn damaged(world: &World, number: u64, chunks: &[u64]) -> Vec<u8> {
    let snapshot = world.image().snapshot(Some(number)).unwrap();
    let mut file = world.file.clone();
    for &chunk in chunks {
        let position = snapshot.reference(chunk).unwrap().unwrap().position;
        file[usize::try_from(position).unwrap() + 64 + 9] ^= 1;
    }
    file
}

fn salvage(file: &[u8], number: u64) -> SalvageDevice {
    let snapshot = Arc::new(open(file).snapshot(Some(number)).unwrap());
    SalvageDevice::new(snapshot, Unreadable::Stop)
}

/// A target and its records.
struct Bench {
    target: MemoryDevice,
    records: RecordStore,
    _directory: TempDir,
}

trait Restored: ReadAt {
    fn lost_bytes(&self) -> ExtentMap;
}

impl Restored for SnapshotDevice {
    fn lost_bytes(&self) -> ExtentMap {
        ExtentMap::new()
    }
}

impl Restored for SalvageDevice {
    fn lost_bytes(&self) -> ExtentMap {
        self.lost(self.geometry().extent().unwrap())
    }
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            target: MemoryDevice::new(noise(3, SIZE + 9 * MIB), 512),
            records: RecordStore::new(directory.path().to_owned()),
            _directory: directory,
        }
    }

    fn restore(
        &self,
        source: &impl Restored,
        usage: &Usage,
        present: Option<&Usage>,
    ) -> crate::Result<CloneSummary> {
        let lost = || Filled {
            extents: source.lost_bytes(),
            texts: FillTexts::default(),
        };
        let source_identity = Identity::Path("/image".to_owned());
        let target_identity = Identity::Path("/target".to_owned());
        let job = Job {
            present,
            role: Role::Restore,
            lost: Some(&lost),
            ..Job::new(
                "restored",
                Ends {
                    source,
                    usage,
                    source_identity: &source_identity,
                    target: &self.target,
                    target_identity: &target_identity,
                },
            )
        };
        let options = CloneOptions {
            rung: RungChoice::Auto,
            rewrite: Rewrite::Blocks,
            freed: Freed::Leave,
            update: match present {
                Some(_) => Update::Staged,
                None => Update::InPlace,
            },
            threads: NonZeroUsize::new(2).unwrap(),
            reliance: Reliance::USUAL,
        };
        Ok(clone(&job, &self.records, &options, &Silent)?)
    }

    fn record(&self) -> Option<Record> {
        let target = Identity::Path("/target".to_owned());
        self.records.load(&target).unwrap()
    }

    fn is_marked(&self) -> bool {
        Mark::read(&self.target).unwrap().is_some()
    }

    /// Whether all that is in use is `expected`.
    fn has(&self, usage: &Usage, expected: &[u8]) -> bool {
        let bytes = self.target.to_vec();
        let mut used = usage.extents.iter().map(|extent| {
            usize::try_from(extent.offset_bytes()).unwrap()
                ..usize::try_from(extent.end_bytes()).unwrap()
        });
        used.all(|range| bytes[range.clone()] == expected[range])
    }
}

#[test]
fn damaged_chunks_are_zero_and_bad_in_the_record() {
    let (world, contents, _) = three();
    let bench = Bench::new();
    let file = damaged(&world, 1, &[0, 5]);
    let source = salvage(&file, 1);
    let summary = bench.restore(&source, &world.usage, None).unwrap();
    let bad: ExtentMap = [chunk(0), chunk(5)].into_iter().collect();
    assert_eq!(summary.bad, bad);
    assert_eq!(source.damage().reasons.len(), 2);
    let mut expected = contents[0].clone();
    expected[..MIB].fill(0);
    expected[5 * MIB..6 * MIB].fill(0);
    assert!(bench.has(&world.usage, &expected) && !bench.is_marked());
    let record = bench.record().unwrap();
    assert_eq!(
        (&record.bad, &record.bad_fill),
        (&bad, &FillTexts::default())
    );
    let threads = NonZeroUsize::new(2).unwrap();
    let against = Against::Record(&record);
    let verified = verify(
        &bench.target,
        &against,
        Runner {
            name: "x",
            threads,
            observer: &Silent,
        },
    )
    .unwrap();
    assert!(verified.is_equal && verified.bad == bad);
    // A sound image brings what was missing, and nothing is bad any more.
    let snapshot = Arc::new(world.image().snapshot(Some(1)).unwrap());
    let sound = SnapshotDevice::new(snapshot);
    let summary = bench.restore(&sound, &world.usage, None).unwrap();
    assert!(summary.bad.is_empty());
    assert!(bench.has(&world.usage, &contents[0]));
    assert!(bench.record().unwrap().bad.is_empty());
}

#[test]
fn without_the_flag_nothing_is_left_that_looks_whole() {
    let (world, contents, _) = three();
    let bench = Bench::new();
    let file = damaged(&world, 2, &[5]);
    let device =
        |number| SnapshotDevice::new(Arc::new(open(&file).snapshot(Some(number)).unwrap()));
    let error = bench.restore(&device(2), &world.usage, None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("bytes 0x500000 to 0x5fffff"), "{text}");
    assert!(bench.is_marked() && bench.record().is_none());
    // Staged, the earlier clone is as it was. The first snapshot has another chunk 1, the third 5.
    let whole = SnapshotDevice::new(Arc::new(world.image().snapshot(Some(1)).unwrap()));
    bench.restore(&whole, &world.usage, None).unwrap();
    let before = bench.target.to_vec();
    let mut changed = World::new();
    changed.content.copy_from_slice(&world.content);
    changed.content[MIB..7 * MIB].copy_from_slice(&noise(77, 6 * MIB));
    changed.file = world.file.clone();
    changed.auto();
    let torn = damaged(&changed, 4, &[5]);
    let fourth = SnapshotDevice::new(Arc::new(open(&torn).snapshot(Some(4)).unwrap()));
    let used = world.usage.clone();
    let error = bench.restore(&fourth, &world.usage, Some(&used));
    assert!(error.unwrap_err().to_string().contains("data frame"));
    assert!(!bench.is_marked() && bench.has(&world.usage, &contents[0]));
    assert!(bench.has(&world.usage, &before) && bench.record().unwrap().bad.is_empty());
    // With it, the update is staged, too, and its record says what is bad.
    let source = salvage(&torn, 4);
    let summary = bench.restore(&source, &world.usage, Some(&used)).unwrap();
    assert!(summary.tally.staged_bytes > 0);
    assert_eq!(summary.bad, chunk(5).into());
    assert_eq!(bench.record().unwrap().bad, chunk(5).into());
    let mut expected = changed.expected();
    expected[5 * MIB..6 * MIB].fill(0);
    assert!(bench.has(&world.usage, &expected) && !bench.is_marked());
}

#[test]
fn what_the_target_has_is_not_lost() {
    let (world, contents, _) = three();
    let bench = Bench::new();
    let whole = SnapshotDevice::new(Arc::new(world.image().snapshot(Some(1)).unwrap()));
    bench.restore(&whole, &world.usage, None).unwrap();
    // Chunk 5 is the same in all of them, and its digest is that of what is on the target.
    let source = salvage(&damaged(&world, 3, &[5]), 3);
    let summary = bench.restore(&source, &world.usage, None).unwrap();
    assert!(summary.bad.is_empty());
    assert!(bench.has(&world.usage, &contents[2]));
}

#[test]
fn what_another_device_has_is_taken_from_there() {
    let (world, contents, _) = three();
    let file = damaged(&world, 2, &[0, 5]);
    let read = |other: Vec<u8>, start: usize| {
        let device = Arc::new(MemoryDevice::new(other, 512));
        let source = salvage(&file, 2).or_from(device, start as u64);
        let mut bytes = vec![1; SIZE];
        source.read_exact_at(&mut bytes[..1000], 0).unwrap();
        source.read_exact_at(&mut bytes[1000..], 1000).unwrap();
        (bytes, source.damage().extents)
    };
    let (bytes, lost) = read(contents[1].clone(), 0);
    assert!(bytes == contents[1] && lost.is_empty());
    // A partition, and one that is cut off; another state; nothing.
    let (bytes, lost) = read(contents[1][5 * MIB - 512..6 * MIB].to_vec(), 5 * MIB - 512);
    assert!(bytes[MIB..] == contents[1][MIB..] && lost == chunk(0).into());
    let mut other = contents[1][..6 * MIB - 1].to_vec();
    other[MIB - 1] ^= 1;
    let (bytes, lost) = read(other, 0);
    assert_eq!(lost, [chunk(0), chunk(5)].into_iter().collect());
    assert!(bytes[..MIB].iter().all(|&byte| byte == 0));
    assert!(bytes[MIB..5 * MIB] == contents[1][MIB..5 * MIB]);
}

#[test]
fn a_damaged_page_costs_its_chunks_and_sources_within_it_tell_of_it() {
    let (world, ..) = three();
    let page = world.image().snapshot(Some(2)).unwrap().manifest().tree[0].1;
    let mut file = world.file.clone();
    file[usize::try_from(page.position).unwrap() + 100] ^= 1;
    let source = Arc::new(salvage(&file, 2));
    let mut bytes = vec![1; 2 * MIB];
    source.read_exact_at(&mut bytes, MIB as u64 / 2).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert_eq!(source.sha256(chunk(0)).unwrap(), None);
    let all = chunk(0).end_bytes() * 3;
    assert_eq!(source.damage().extents, ExtentMap::whole(all));
    let at = Extent::new(MIB as u64, 2 * MIB as u64).unwrap();
    let mut salvaged = Salvaged::new(source.clone(), at);
    let window: Box<dyn ReadAt> = Box::new(Window::new(source.clone(), at).unwrap());
    let inner = window.geometry().extent().unwrap();
    assert_eq!(salvaged.lost(), inner.into());
    let overlay = Overlay::new(&*window, 1 << 20);
    overlay.write_all_at(&[1; 512], 1024).unwrap();
    salvaged.replace(&overlay.dirty_map());
    let expected = ExtentMap::from(inner).difference(&Extent::new(1024, 512).unwrap().into());
    assert_eq!(salvaged.lost(), expected);
    source.forget();
    assert!(salvaged.lost().is_empty() && source.damage().reasons.is_empty());
}

#[test]
fn an_image_that_can_t_be_read_is_damage_only_for_those_who_say_so() {
    let (world, ..) = three();
    let position = {
        let snapshot = world.image().snapshot(Some(1)).unwrap();
        snapshot.reference(5).unwrap().unwrap().position
    };
    let bad = Extent::new(position + 4096, 512).unwrap();
    let file = MemoryDevice::new(world.file.clone(), 512);
    let device = FaultAt::new(file, Some(Fault::Unreadable(bad)));
    let image = super::super::Image::open(Arc::new(device)).unwrap();
    let snapshot = Arc::new(image.snapshot(Some(1)).unwrap());
    let mut bytes = vec![1; MIB];
    let read = |unreadable, bytes: &mut Vec<u8>| {
        let source = SalvageDevice::new(snapshot.clone(), unreadable);
        source.read_exact_at(bytes, chunk(5).offset_bytes())
    };
    assert!(read(Unreadable::Stop, &mut bytes).is_err());
    read(Unreadable::Damage, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
}
