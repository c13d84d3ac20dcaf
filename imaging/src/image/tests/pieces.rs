//! Pieces of chunks: what is checked by what, and that all of it is content.

use super::super::frame::{FRAME_HEADER_LEN, FrameHeader};
use super::super::{Image, SnapshotDevice};
use super::{MIB, SIZE, World, noise, open, three};
use klon_partition::device::MemoryDevice;
use klon_partition::{ReadAt, Result};
use std::sync::Arc;

fn device(image: &Image, number: u64) -> SnapshotDevice {
    SnapshotDevice::for_pieces(Arc::new(image.snapshot(Some(number)).unwrap()))
}

fn piece(device: &SnapshotDevice, at: usize, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![1; len];
    device.read_exact_at(&mut bytes, at as u64)?;
    Ok(bytes)
}

#[test]
fn pieces_in_any_order_are_those_of_the_source() {
    for chunk_bytes in [1 << 16, 1 << 18, 1 << 20, 1 << 24] {
        let mut world = World {
            chunk_bytes,
            ..World::new()
        };
        world.auto();
        let expected = world.expected();
        let image = world.image();
        let same = |device: &SnapshotDevice, at: usize, len: usize| {
            let len = len.min(SIZE - at);
            let found = piece(device, at, len).unwrap();
            assert!(
                found == expected[at..at + len],
                "{chunk_bytes}: {at}, {len}"
            );
        };
        let random = device(&image, 1);
        for index in 0..150_usize {
            same(
                &random,
                (index * 48_271_981) % SIZE,
                1 + index * 7919 % 70_000,
            );
        }
        // One after the other, with what is read ahead; several at once.
        let (forwards, backwards) = (device(&open(&world.file), 1), device(&image, 1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..SIZE)
                    .step_by(50_000)
                    .for_each(|at| same(&forwards, at, 50_000))
            });
            scope.spawn(|| {
                (0..SIZE)
                    .step_by(70_001)
                    .for_each(|at| same(&forwards, at, 70_001))
            });
            let steps = (0..SIZE).step_by(30_000).rev();
            steps.for_each(|at| same(&backwards, at, 30_000));
        });
    }
}

#[test]
fn no_flipped_bit_is_taken_for_a_piece() {
    let (world, contents, _) = three();
    let mut noise = noise(19, 8000).into_iter();
    let mut next = || {
        let bytes: Vec<u8> = noise.by_ref().take(8).collect();
        u64::from_le_bytes(bytes.try_into().unwrap()) as usize
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..50 {
        let bit = next() % (world.file.len() * 8);
        let mut file = world.file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        let Ok(image) = Image::open(Arc::new(MemoryDevice::new(file, 512))) else {
            continue;
        };
        let Ok(snapshot) = image.snapshot(Some(1)) else {
            continue;
        };
        let device = SnapshotDevice::for_pieces(Arc::new(snapshot));
        for chunk in 0..10 {
            let at = chunk * MIB + next() % 1000;
            match piece(&device, at, 400) {
                Ok(found) => {
                    read += 1;
                    assert!(found == contents[0][at..at + 400], "bit {bit}, {at}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 100 && refused > 10, "{read}, {refused}");
}

/// Changes a byte of a stored chunk, and all checksums but its digest with it: what a fault in
/// memory would have left when the image was taken.
fn forge(world: &mut World, chunk: u64, byte: usize) {
    let image = world.image();
    let reference = image.snapshot(None).unwrap().reference(chunk).unwrap();
    let at = reference.unwrap().position;
    let uuid = image.header().uuid;
    let start = at as usize;
    let mut header = FrameHeader::parse(&world.file[start..], uuid, at).unwrap();
    let payload = start + FRAME_HEADER_LEN..start + FRAME_HEADER_LEN + header.stored_bytes as usize;
    world.file[payload.start + byte] ^= 1;
    header.payload_crc = crc32c::crc32c(&world.file[payload]);
    let bytes = header.to_bytes(uuid, at);
    world.file[start..start + FRAME_HEADER_LEN].copy_from_slice(&bytes);
}

#[test]
fn what_more_than_a_first_piece_is_read_of_is_checked_by_its_digest() {
    let mut world = World::new();
    world.auto();
    // Noise, which is stored as it is.
    forge(&mut world, 1, 900_000);
    let image = world.image();
    let lenient = device(&image, 1);
    let first = piece(&lenient, MIB + 5, 4096).unwrap();
    assert!(first == world.content[MIB + 5..MIB + 5 + 4096]);
    assert!(piece(&lenient, MIB + 500_000, 4096).is_err());
    assert!(piece(&lenient, MIB, MIB).is_err());
    // Others never get a piece of it.
    let strict = SnapshotDevice::new(Arc::new(image.snapshot(None).unwrap()));
    assert!(piece(&strict, MIB + 5, 4096).is_err());
    assert!(piece(&strict, 2 * MIB, 4096).is_ok());
}
