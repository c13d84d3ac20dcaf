//! Chunks of every size that the format has.

use super::super::export::{ExportJob, Piece, Sink, export};
use super::super::{Header, SalvageDevice, Sides, SnapshotDevice, Unreadable, compact, compare};
use super::check::check_all;
use super::{MIB, SIZE, World, content, open};
use crate::change::RungChoice;
use crate::chunk::ChunkSize;
use crate::error::Result;
use crate::progress::{Runner, Silent};
use crate::rung::Rung;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::num::NonZeroUsize;
use std::sync::Arc;

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn world(chunk_bytes: u32) -> World {
    World {
        chunk_bytes,
        ..World::new()
    }
}

/// Every second power of two from 64 KiB to 16 MiB.
fn sizes() -> impl Iterator<Item = u32> {
    (16..=24).step_by(2).map(|log| 1 << log)
}

#[test]
fn what_went_in_comes_out_with_every_size() {
    for size in sizes() {
        let mut world = world(size);
        world.auto();
        let first = world.expected();
        world.content[MIB + 5] ^= 1;
        let second = world.auto();
        let changed = u64::from(size).min(SIZE as u64);
        assert_eq!((second.rung, second.changed_bytes), (Rung::Digest, changed));
        assert!(second.added_bytes < changed + 8192, "{size}: {second:?}");
        let again = world
            .append(RungChoice::Only(Rung::Compare), &Silent)
            .unwrap();
        assert_eq!(again.changed_bytes, 0, "{size}");
        let image = world.image();
        assert_eq!(image.header().chunk_size.bytes(), u64::from(size));
        assert!(content(&image, 1).unwrap() == first, "{size}");
        assert!(content(&image, 2).unwrap() == world.expected(), "{size}");
        assert!(check_all(&image).is_whole, "{size}");
        let small = compact(
            &image,
            &[1],
            Vec::new(),
            Runner {
                name: "x",
                threads: THREADS,
                observer: &Silent,
            },
        )
        .unwrap();
        assert!(content(&open(&small), 3).unwrap() == world.expected());
    }
}

#[test]
fn pieces_at_any_place_are_those_of_the_source_with_every_size() {
    for size in sizes() {
        let mut world = world(size);
        world.auto();
        let expected = world.expected();
        let device = SnapshotDevice::new(Arc::new(world.image().snapshot(None).unwrap()));
        for index in 0..60_usize {
            let at = (index * 48_271_981) % (SIZE - 200_000);
            let mut bytes = vec![0; 1 + index * 3301 % 200_000];
            device.read_exact_at(&mut bytes, at as u64).unwrap();
            assert!(bytes == expected[at..at + bytes.len()], "{size}, {at}");
        }
    }
}

#[test]
fn snapshots_of_any_sizes_are_compared() {
    for (first, second) in [(1 << 16, 1 << 16), (1 << 16, 1 << 24), (1 << 24, 1 << 20)] {
        let device = |size, flip: bool| {
            let mut world = world(size);
            if flip {
                world.content[3 * MIB + 5000] ^= 1;
            }
            world.auto();
            SnapshotDevice::new(Arc::new(world.image().snapshot(None).unwrap()))
        };
        let (a, b) = (device(first, false), device(second, true));
        let within = a.snapshot().manifest().wanted();
        let unit = first.max(second);
        let found = compare(
            Sides {
                first: &a,
                second: &b,
            },
            &within,
            ChunkSize::new(unit.into()).unwrap(),
            Runner {
                name: "x",
                threads: THREADS,
                observer: &Silent,
            },
        )
        .unwrap();
        let block = Extent::new(3 * MIB as u64 + 4096, 4096).unwrap();
        assert_eq!(found.differences, ExtentMap::from(block));
        assert_eq!(found.first_bytes, Some(3 * MIB as u64 + 5000));
        let same = compare(
            Sides {
                first: &a,
                second: &a,
            },
            &within,
            ChunkSize::new(unit.into()).unwrap(),
            Runner {
                name: "x",
                threads: THREADS,
                observer: &Silent,
            },
        )
        .unwrap();
        assert!(same.differences.is_empty());
    }
}

struct Pieces(Vec<u64>);

impl Sink for Pieces {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        assert_eq!(piece.content.len() as u64, piece.chunk.len_bytes());
        self.0.push(piece.chunk.len_bytes());
        Ok(())
    }
}

#[test]
fn an_export_loses_no_more_than_a_damaged_chunk() {
    for (size, lost) in [(1 << 16, 1 << 16), (1 << 20, 1 << 20), (1 << 22, 1 << 22)] {
        let mut world = world(size);
        world.auto();
        let number = MIB as u64 / u64::from(size);
        let reference = world.image().snapshot(None).unwrap().reference(number);
        let at = reference.unwrap().unwrap().position as usize + 1000;
        world.file[at] ^= 1;
        let snapshot = Arc::new(world.image().snapshot(None).unwrap());
        let device = SalvageDevice::new(Arc::clone(&snapshot), Unreadable::Damage);
        let manifest = snapshot.manifest();
        let job = ExportJob {
            name: "x",
            format: "x",
            device: &device,
            chunk_size: ChunkSize::new(size.into()).unwrap(),
            data: manifest.data.clone(),
            wanted: manifest.wanted(),
            threads: THREADS,
        };
        let mut pieces = Pieces(Vec::new());
        export(&job, &mut pieces, &Silent).unwrap();
        assert_eq!(device.damage().extents.total_bytes(), lost, "{size}");
        let max = *pieces.0.iter().max().unwrap();
        assert_eq!(max, u64::from(size).min(MIB as u64));
    }
}

#[test]
fn other_sizes_are_none() {
    let header = Header::new(1);
    for wrong in [
        0,
        1,
        4096,
        32768,
        65537,
        3 << 16,
        1 << 25,
        1 << 32,
        u64::MAX,
    ] {
        assert!(header.with_chunks(wrong).is_none(), "{wrong}");
    }
    for size in sizes() {
        let header = header.with_chunks(size.into()).unwrap();
        let bytes = header.to_bytes().try_into().unwrap();
        assert_eq!(Header::parse(&bytes).unwrap(), header);
    }
}
