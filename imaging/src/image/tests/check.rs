//! Verify of an image: what is damaged is found, and all that it takes with it.

use super::super::{CheckSummary, Image, check};
use super::{MIB, World, content, noise, open, three};
use crate::progress::{Runner, Silent};
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, ExtentMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

pub(super) fn check_all(image: &Image) -> CheckSummary {
    check_one(image, None).unwrap()
}

fn check_one(image: &Image, number: Option<u64>) -> crate::Result<CheckSummary> {
    check(
        image,
        number,
        Runner {
            name: "x",
            threads: NonZeroUsize::new(2).unwrap(),
            observer: &Silent,
        },
    )
}

#[test]
fn a_whole_image_is_told_as_that_and_each_frame_is_read_once() {
    let (world, ..) = three();
    let all = check_all(&world.image());
    assert!(all.is_whole && all.damage.is_empty());
    assert_eq!((&all.snapshots[..], all.torn_bytes), (&[1, 2, 3][..], 0));
    let one = check_one(&world.image(), Some(2)).unwrap();
    assert_eq!(one.snapshots, [2]);
    // Two more chunks of noise in all than in one.
    assert_eq!(all.plain_bytes - one.plain_bytes, 2 * MIB as u64);
    assert!(all.stored_bytes < world.file.len() as u64);
    assert!(check_one(&world.image(), Some(9)).is_err());
}

#[test]
fn damage_is_told_by_snapshot_and_extent() {
    let (mut world, ..) = three();
    let image = world.image();
    let frame = |number: u64, chunk: u64| {
        let snapshot = image.snapshot(Some(number)).unwrap();
        snapshot.reference(chunk).unwrap().unwrap().position as usize
    };
    // Chunk 0 is in all of them; chunk 3 of the third is its own.
    assert_eq!(frame(1, 0), frame(3, 0));
    for at in [frame(1, 0) + 1000, frame(3, 3)] {
        world.file[at] ^= 4;
    }
    let found = check_all(&world.image());
    assert!(!found.is_whole);
    let extents = |damage: &super::super::SnapshotDamage| damage.extents.clone();
    let chunk = |at: usize| Extent::new((at * MIB) as u64, MIB as u64).unwrap();
    let all: Vec<ExtentMap> = found.damage.iter().map(extents).collect();
    let expected = |chunks: &[usize]| chunks.iter().map(|&at| chunk(at)).collect::<ExtentMap>();
    let [a, b, c] = &all[..] else {
        panic!("{found:?}")
    };
    assert_eq!((a, b), (&expected(&[0]), &expected(&[0])));
    assert_eq!(c, &expected(&[0, 3]));
    assert_eq!(found.damage[2].damaged_bytes, 2 * MIB as u64);
    assert_eq!(found.damage[2].reasons.len(), 2);
    let second = check_one(&world.image(), Some(2)).unwrap();
    assert_eq!(second.damage.len(), 1);
}

#[test]
fn a_damaged_manifest_or_page_takes_what_depends_on_it() {
    let (world, ..) = three();
    let image = world.image();
    let snapshot = image.snapshot(Some(2)).unwrap();
    let page = snapshot.manifest().tree[0].1.position as usize;
    let manifest = snapshot.entry().manifest.position as usize;
    let mut damaged = world.file.clone();
    damaged[page + 100] ^= 1;
    let found = check_all(&open(&damaged));
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.damage[0].extents, snapshot.manifest().data);
    assert!(!found.damage[0].is_lost);
    damaged[manifest + 80] ^= 1;
    let found = check_all(&open(&damaged));
    assert!(
        found.damage[0].is_lost && found.damage[0].snapshot == 2,
        "{found:?}"
    );
}

#[test]
fn a_torn_end_is_told_and_is_no_damage() {
    let (world, _, ends) = three();
    let cut = ends[2] - 1000;
    let found = check_all(&open(&world.file[..cut]));
    assert!(found.is_whole, "{found:?}");
    assert_eq!(found.torn_bytes, (cut - ends[1]) as u64);
}

/// What must be found when a bit of it is flipped: everything that is in use.
fn live(image: &Image) -> ExtentMap {
    let plan = super::super::plan_prune(image, &[]).unwrap();
    let all = ExtentMap::whole(image.size_bytes());
    // What lies in the last block before a hole is in no frame perhaps; see below.
    all.difference(&plan.holes)
}

/// Padding between frames, which nothing depends on.
fn padding(file: &[u8], image: &Image) -> ExtentMap {
    let mut frames: Vec<Extent> = Extent::new(0, 4096).into_iter().collect();
    let mut at = 4096_u64;
    while at + 64 <= file.len() as u64 {
        let bytes = &file[at as usize..];
        if &bytes[..4] != b"kFrm" {
            at += 64;
            continue;
        }
        let len = 64 + u64::from(u32::from_le_bytes(bytes[8..12].try_into().unwrap()));
        frames.extend(Extent::new(at, len));
        at = (at + len).next_multiple_of(64);
    }
    let frames: ExtentMap = frames.into_iter().collect();
    ExtentMap::whole(image.size_bytes()).difference(&frames)
}

#[test]
fn every_flipped_bit_that_matters_is_found_and_none_changes_what_is_read() {
    let mut world = World::small();
    let (mut contents, mut earlier) = (Vec::new(), Vec::new());
    for index in 0..3 {
        world.content[MIB + index] ^= 1;
        world.auto();
        contents.push(world.expected());
        let tail = world.image().tail().clone();
        earlier.extend([tail.footer, tail.catalog_frame.position]);
    }
    // Nothing that is listed needs the catalogs and footers of earlier commits.
    earlier.truncate(4);
    let image = world.image();
    let padding = padding(&world.file, &image);
    let live = live(&image).difference(&padding);
    let mut random = noise(11, 8 * 3000).into_iter();
    let mut next = move || {
        let bytes: Vec<u8> = random.by_ref().take(8).collect();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    let tail = image.tail();
    let small = tail.footer - 6000..tail.end;
    let (mut found, mut read) = (0, 0);
    for round in 0..1000_u64 {
        // Some of them where a file of noise is rarely hit.
        let bytes = match round % 6 {
            0..2 => small.start + next() % (small.end - small.start),
            2 => next() % 4096,
            _ => next() % world.file.len() as u64,
        };
        let bit = next() % 8;
        let mut file = world.file.clone();
        file[bytes as usize] ^= 1 << bit;
        let device = Arc::new(MemoryDevice::new(file, 512));
        let opened = Image::open(device);
        let is_found = opened.as_ref().map_or(true, |image| {
            let check = check_all(image);
            !check.is_whole
        });
        let is_live = live.contains(Extent::new(bytes, 1).unwrap());
        let is_earlier = earlier.iter().any(|&at| (at..at + 600).contains(&bytes));
        assert!(
            is_found || !is_live || is_earlier,
            "byte {bytes}, bit {bit}"
        );
        found += u32::from(is_found);
        if let Ok(image) = opened
            && round % 10 == 0
        {
            for (number, expected) in (1..).zip(&contents) {
                if let Ok(bytes) = content(&image, number) {
                    read += 1;
                    assert!(&bytes == expected, "byte {bytes:?}, snapshot {number}");
                }
            }
        }
    }
    assert!(found > 700 && read > 50, "{found} {read}");
}
