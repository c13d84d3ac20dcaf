//! Rebuilds a damaged header of an image from the frames.
//!
//! Frames contain nothing of the UUID but its CRC, which a frame's own CRC gives back. The last
//! footer, whose content has a digest, yields a UUID that stands for the lost one. The catalog that
//! the footer names, and everything else, must agree with it. Pages show how long chunks are.

use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameType, MAGIC, header_crc};
use super::header::{HEADER_LEN, Header};
use super::reader::Image;
use super::snapshot::Snapshot;
use super::tail::{FOOTER_BYTES, Tail, read_footer};
use crate::chunk::{ChunkSize, Digest};
use klon_partition::bytes::le32;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Error, ReadAt, Result};
use std::sync::Arc;
use uuid::Uuid;

/// The rebuilt header and the last commit of an image that ends with a footer. `None` when it does
/// not.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn rebuild(device: &Arc<dyn ReadAt>) -> Result<Option<(Header, Tail)>> {
    let Some((mut header, tail)) = find(&**device)? else {
        return Ok(None);
    };
    let fitting = |chunk_size: ChunkSize| {
        let header = Header {
            chunk_size,
            ..header
        };
        let image = Image::known(device.clone(), header, tail.clone());
        let numbers = tail.catalog.snapshots.iter().map(|entry| entry.number);
        let snapshots = numbers.filter_map(|number| image.snapshot(Some(number)).ok());
        snapshots.filter(fits).count()
    };
    // The usual size where nothing says otherwise.
    let usual = header.chunk_size;
    let mut best = fitting(usual);
    for chunk_size in ChunkSize::all().filter(|&size| size != usual) {
        let count = fitting(chunk_size);
        if count > best {
            (best, header.chunk_size) = (count, chunk_size);
        }
    }
    Ok(Some((header, tail)))
}

/// Whether a device with an unknown first block is an image all the same.
pub(super) fn is_image(device: &dyn ReadAt) -> Result<bool> {
    Ok(find(device)?.is_some())
}

/// A header whose chunk size is not known yet, and the last commit.
fn find(device: &dyn ReadAt) -> Result<Option<(Header, Tail)>> {
    let size_bytes = device.geometry().size_bytes;
    let last = size_bytes.saturating_sub(FOOTER_BYTES);
    if last < HEADER_LEN as u64 || !size_bytes.is_multiple_of(FRAME_ALIGN) {
        return Ok(None);
    }
    let mut footer = [0; FOOTER_BYTES as usize];
    device.read_exact_at(&mut footer, last)?;
    if !is_footer(&footer) {
        return Ok(None);
    }
    let header = Header {
        uuid: stand_in(&footer, last),
        ..Header::new(0)
    };
    match read_footer(device, &header, last) {
        Ok(tail) => Ok(Some((header, tail))),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether these bytes are a footer frame, whatever file they belong to.
fn is_footer(frame: &[u8; FOOTER_BYTES as usize]) -> bool {
    let (header, payload) = frame.split_at(FRAME_HEADER_LEN);
    let is_raw = header[4] == FrameType::Footer.number() && header[5] == 0;
    let len = FOOTER_BYTES as u32 - FRAME_HEADER_LEN as u32;
    header.starts_with(MAGIC)
        && is_raw
        && (le32(header, 8), le32(header, 12)) == (len, len)
        && Digest::of(payload).0 == header[16..48]
}

/// A UUID with which the CRC of the frame header at `position` is right. The CRC is linear in the
/// UUID, and 4 of its bytes are as many bits as the CRC has. So exactly one such UUID begins with
/// zeroes.
fn stand_in(frame: &[u8], position: u64) -> Uuid {
    let uuid = |last: u32| Uuid::from_u128(last.into());
    let crc = |last: u32| header_crc(frame, uuid(last), position);
    let zero = crc(0);
    // Pairs of a number and the change that it makes to the CRC, each with a highest bit of its own.
    let mut basis: [Option<(u32, u32)>; 32] = [None; 32];
    let reduced = |basis: &[Option<(u32, u32)>; 32], mut pair: (u32, u32)| {
        for bit in (0..32).rev() {
            if let (true, Some(known)) = (pair.0 >> bit & 1 == 1, basis[bit]) {
                pair = (pair.0 ^ known.0, pair.1 ^ known.1);
            }
        }
        pair
    };
    for bit in 0..32 {
        let pair = reduced(&basis, (crc(1 << bit) ^ zero, 1 << bit));
        if let Some(highest) = pair.0.checked_ilog2() {
            basis[highest as usize] = Some(pair);
        }
    }
    let (_, last) = reduced(&basis, (zero ^ le32(frame, FRAME_HEADER_LEN - 4), 0));
    uuid(last)
}

/// Whether a snapshot's references fit chunks of this size. A snapshot without data fits any size.
fn fits(snapshot: &Snapshot) -> bool {
    let mut covered = ExtentMapBuilder::new();
    for item in snapshot.references() {
        match item.map(|(number, _)| snapshot.chunk(number)) {
            Ok(Some(chunk)) => covered.push(chunk),
            _ => return false,
        }
    }
    let data = &snapshot.manifest().data;
    data.difference(&covered.finish()).is_empty()
}

#[cfg(test)]
mod tests {
    use super::{fits, stand_in};
    use crate::chunk::{ChunkSize, Digest};
    use crate::image::frame::{Encoding, FrameType};
    use crate::image::{FrameHeader, Header, Image};
    use klon_partition::device::MemoryDevice;
    use uuid::Uuid;

    #[test]
    fn chunks_of_another_size_do_not_fit() {
        let mut world = crate::image::tests::World::new();
        world.auto();
        let image = world.image();
        let sizes = ChunkSize::all().filter(|&chunk_size| {
            let header = Header {
                chunk_size,
                ..*image.header()
            };
            let device = std::sync::Arc::new(MemoryDevice::new(world.file().to_vec(), 512));
            let image = Image::known(device, header, image.tail().clone());
            fits(&image.snapshot(None).unwrap())
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [ChunkSize::USUAL]);
    }

    #[test]
    fn one_frame_tells_enough_of_the_uuid_for_all_others() {
        let frame = |seed: u32| FrameHeader {
            frame_type: FrameType::Data,
            encoding: Encoding::Raw,
            stored_bytes: seed % 1000,
            plain_bytes: seed % 1000,
            digest: Digest::of(&seed.to_le_bytes()),
            last_footer: 77,
            payload_crc: seed,
        };
        for seed in 0..50 {
            let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_u128.pow(2) ^ u128::from(seed) << 90);
            let bytes = frame(seed).to_bytes(uuid, 4096);
            let found = stand_in(&bytes, 4096);
            for other in 0..20_u32 {
                let position = u64::from(other) * 640;
                let bytes = frame(other * 31).to_bytes(uuid, position);
                let parsed = FrameHeader::parse(&bytes, found, position).unwrap();
                assert_eq!(parsed, frame(other * 31));
            }
            let other = frame(seed).to_bytes(Uuid::from_u128(5), 4096);
            assert!(FrameHeader::parse(&other, found, 4096).is_err());
        }
    }
}
