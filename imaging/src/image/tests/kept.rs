//! Sources that keep digests, as snapshots do: what the image has is not read, and what is read is not
//! digested again.

use super::{Adopted, MIB, World, content, open};
use crate::change::RungChoice;
use crate::chunk::Digest;
use crate::error::Result;
use crate::image::{CaptureSummary, ImageWriter};
use crate::progress::Silent;
use crate::rung::Rung;
use klon_partition::device::{Geometry, MemoryDevice};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source that keeps the digests of its chunks, or others.
struct Keeping {
    device: MemoryDevice,
    used: ExtentMap,
    /// What it says of one chunk, whatever is there.
    claim: Option<(Extent, [u8; 32])>,
    read_bytes: AtomicU64,
}

impl ReadAt for Keeping {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        let len_bytes = buffer.len() as u64;
        self.read_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        Ok(self.used.within(within).collect())
    }

    fn sha256(&self, extent: Extent) -> klon_partition::Result<Option<[u8; 32]>> {
        if let Some((_, claimed)) = self.claim.filter(|(chunk, _)| *chunk == extent) {
            return Ok(Some(claimed));
        }
        let mut bytes = vec![0; usize::try_from(extent.len_bytes()).unwrap()];
        for part in self.used.within(extent) {
            let at = usize::try_from(part.offset_bytes() - extent.offset_bytes()).unwrap();
            let len = usize::try_from(part.len_bytes()).unwrap();
            let part_bytes = &mut bytes[at..at + len];
            self.device.read_exact_at(part_bytes, part.offset_bytes())?;
        }
        Ok(Some(Digest::of(&bytes).0))
    }
}

fn keeping(world: &World) -> Keeping {
    Keeping {
        device: MemoryDevice::new(world.content.clone(), 512),
        used: world.usage.extents.clone(),
        claim: None,
        read_bytes: AtomicU64::new(0),
    }
}

/// Adds a snapshot of the source to an image of the world, which has one of it.
fn add(
    world: &World,
    source: &Keeping,
    (is_checked, rung): (bool, RungChoice),
) -> Result<(CaptureSummary, Vec<u8>)> {
    let image = world.image();
    let previous = image.snapshot(None).unwrap();
    let adopted = Adopted::find(image.device(), image.header(), image.tail()).unwrap();
    let mut file = world.file().to_vec();
    file.resize(usize::try_from(adopted.end).unwrap(), 0);
    let mut writer = ImageWriter::resume(file, &image, &adopted)?;
    let from = (source as &dyn ReadAt, is_checked);
    let done = world.capture_of(from, &mut writer, Some(&previous), (rung, &Silent))?;
    Ok((done, writer.into_output()))
}

#[test]
fn what_the_image_has_is_not_read() {
    let mut world = World::new();
    world.auto();
    let auto = (true, RungChoice::Auto);
    let source = keeping(&world);
    let (done, file) = add(&world, &source, auto).unwrap();
    assert_eq!((done.read_source_bytes, done.changed_bytes), (0, 0));
    assert_eq!(source.read_bytes.into_inner(), 0);
    assert!(content(&open(&file), 2).unwrap() == world.expected());
    // What another place of the image has is not read either, nor are zeroes.
    world.content.copy_within(5 * MIB..6 * MIB, 2 * MIB);
    world.content[3 * MIB..4 * MIB].fill(0);
    world.content[MIB + 7] ^= 1;
    let source = keeping(&world);
    let (done, file) = add(&world, &source, auto).unwrap();
    assert_eq!(done.changed_bytes, 3 * MIB as u64);
    assert_eq!(done.read_source_bytes, MIB as u64);
    assert_eq!(source.read_bytes.into_inner(), MIB as u64);
    assert!(content(&open(&file), 2).unwrap() == world.expected());
    // A run that compares looks at everything, and one that stores everything reads it.
    for rung in [Rung::Compare, Rung::Full] {
        let asked = (true, RungChoice::Only(rung));
        let (done, file) = add(&world, &keeping(&world), asked).unwrap();
        // What such a run has stored itself, it need not read once more.
        assert!(done.read_source_bytes > 4 * MIB as u64, "{done:?}");
        assert!(content(&open(&file), 2).unwrap() == world.expected());
    }
}

#[test]
fn a_digest_is_taken_from_a_source_that_checks_it_and_from_no_other() {
    let mut world = World::new();
    world.auto();
    world.content[MIB + 7] ^= 1;
    let chunk = Extent::new(MIB as u64, MIB as u64).unwrap();
    for (is_checked, is_taken) in [(true, true), (false, false)] {
        let source = Keeping {
            claim: Some((chunk, [9; 32])),
            ..keeping(&world)
        };
        let auto = (is_checked, RungChoice::Auto);
        let (_, file) = add(&world, &source, auto).unwrap();
        let found = open(&file).snapshot(None).unwrap().digest(1).unwrap();
        // Digesting it again would have shown another one.
        assert_eq!(found == Some(Digest([9; 32])), is_taken);
    }
}

#[test]
fn a_digest_of_more_than_is_imaged_is_of_no_use() {
    let mut world = World::new();
    world.auto();
    let mut source = keeping(&world);
    // Bytes that are not in use, and that the source has data at.
    source.used = ExtentMap::whole(world.content.len() as u64);
    let (done, file) = add(&world, &source, (true, RungChoice::Auto)).unwrap();
    assert_eq!(done.changed_bytes, 0);
    // Two chunks are in use in part.
    assert!(done.read_source_bytes > 0 && done.read_source_bytes <= 2 * MIB as u64);
    assert!(content(&open(&file), 2).unwrap() == world.expected());
}
