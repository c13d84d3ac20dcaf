//! Images that someone made to do harm: refused, without much memory.

use super::super::catalog::pages::Root;
use super::super::frame::{Encoding, FrameHeader, FrameType, decode};
use super::super::manifest::SnapshotManifest;
use super::super::page::Page;
use super::super::reference::Reference;
use super::super::{Header, Image};
use super::check::check_all;
use super::{World, header, open};
use crate::chunk::Digest;
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, ExtentMap};
use proptest::prelude::{any, proptest};
use std::sync::Arc;
use uuid::Uuid;

const FRAME: FrameHeader = FrameHeader {
    frame_type: FrameType::Data,
    encoding: Encoding::Zstd,
    stored_bytes: 100,
    plain_bytes: 100,
    digest: Digest([0; Digest::LEN]),
    last_footer: 0,
    payload_crc: 0,
};

#[test]
fn a_frame_says_no_more_than_its_type_may_have() {
    let uuid = Uuid::from_u128(1);
    for (frame_type, max) in [
        (FrameType::Data, 16 << 20),
        (FrameType::Page, 1 << 16),
        (FrameType::Manifest, 64 << 20),
        (FrameType::Catalog, 16 << 20),
        (FrameType::Footer, 64),
        (FrameType::Other(77), 64 << 20),
    ] {
        let with = |stored_bytes, plain_bytes| {
            let frame = FrameHeader {
                frame_type,
                stored_bytes,
                plain_bytes,
                ..FRAME
            };
            FrameHeader::parse(&frame.to_bytes(uuid, 4096), uuid, 4096)
        };
        assert!(with(max, max).is_ok());
        assert!(with(max + 1, 1).is_err() && with(1, max + 1).is_err());
        assert!(with(u32::MAX, u32::MAX).is_err());
    }
}

#[test]
fn a_zstd_frame_is_never_decoded_further_than_it_says() {
    // 1 GiB of zeroes in 32 KiB or so.
    let bomb =
        zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).unwrap();
    assert!(bomb.len() < 1 << 18);
    let frame = FrameHeader {
        stored_bytes: bomb.len() as u32,
        plain_bytes: 4096,
        digest: Digest::of(&[0; 4096]),
        payload_crc: crc32c::crc32c(&bomb),
        ..FRAME
    };
    assert!(decode(&frame, 4096, &bomb, &mut [0; 4096]).is_err());
    let (short, long) = (zstd::bulk::compress(&[1; 10], 1).unwrap(), [1; 4096]);
    let frame = FrameHeader {
        payload_crc: crc32c::crc32c(&short),
        digest: Digest::of(&long),
        ..frame
    };
    assert!(decode(&frame, 4096, &short, &mut [0; 4096]).is_err());
}

#[test]
fn references_to_anywhere_are_refused() {
    let mut world = World::small();
    world.auto();
    let image = world.image();
    let good = image.snapshot(None).unwrap().reference(0).unwrap().unwrap();
    assert!(image.read(&good, FrameType::Data).is_ok());
    let end = image.size_bytes();
    for position in [
        4096 + 1,
        64,
        end - 64,
        end,
        end + 4096,
        u64::MAX - 10,
        u64::MAX,
    ] {
        let bad = Reference { position, ..good };
        assert!(image.read(&bad, FrameType::Data).is_err(), "{position}");
    }
    for (stored_bytes, plain_bytes) in [(u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
        let bad = Reference {
            stored_bytes,
            plain_bytes,
            ..good
        };
        assert!(image.read(&bad, FrameType::Data).is_err());
    }
    // Of another type than the one that is asked for.
    assert!(image.read(&good, FrameType::Page).is_err());
}

#[test]
fn a_manifest_that_says_too_much_is_damage_and_no_more() {
    let mut world = World::small();
    world.auto();
    let image = world.image();
    let snapshot = image.snapshot(None).unwrap();
    let mut manifest = snapshot.manifest().clone();
    // Far more data than there are chunks for, in a volume that is far larger.
    manifest.meta.source_bytes = u64::MAX - 1;
    manifest.data = ExtentMap::whole(u64::MAX - 1);
    let page = manifest.tree[0].1;
    manifest.tree = (0..100_000).map(|number| (number * 7, page)).collect();
    let mut catalog = image.catalog().clone();
    let adopted = super::Adopted::find(image.device(), image.header(), image.tail()).unwrap();
    let mut file = world.file.clone();
    file.resize(usize::try_from(adopted.end).unwrap(), 0);
    let mut writer = super::ImageWriter::resume(file, &image, &adopted).unwrap();
    let reference = writer.put_manifest(manifest.to_bytes().unwrap()).unwrap();
    catalog.snapshots[0].manifest = reference.into();
    writer.commit(catalog).unwrap();
    let found = check_all(&open(&writer.into_output()));
    // Each of the chunks of that page is sound, wherever it is said to be, but the last ones.
    assert_eq!(found.damage.len(), 1, "{found:?}");
    let first_gap = Extent::new(1 << 20, 4096).unwrap();
    assert!(found.damage[0].extents.overlaps(first_gap));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = FrameHeader::parse(&bytes, Uuid::from_u128(7), 4096);
        let _ = SnapshotManifest::parse(&bytes, 4096);
        let _ = Page::parse(&bytes, 4096);
        let _ = Root::parse(&bytes, 4096);
        let mut file = header(1 << 20).to_bytes();
        file.extend(&bytes);
        let image = Image::open(Arc::new(MemoryDevice::new(file.clone(), 512))).unwrap();
        assert!(image.catalog().snapshots.is_empty());
        let at = bytes.len() * 10;
        file[at] ^= 1;
        let fixed: [u8; 4096] = file[..4096].try_into().unwrap();
        assert!(Header::parse(&fixed).is_err());
    }
}
