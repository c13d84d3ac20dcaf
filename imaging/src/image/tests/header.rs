//! Damage of what an image is read by: its header, a manifest, a catalog.

use super::super::{HEADER_LEN, Image, ImageWriter, MAGIC, compact};
use super::check::check_all;
use super::{World, content, noise, open, three};
use crate::Error;
use crate::progress::{Runner, Silent};
use klon_partition::Error as PartitionError;
use klon_partition::device::MemoryDevice;
use klon_partition::error::Remedy;
use std::num::NonZeroUsize;
use std::sync::Arc;

fn try_open(file: &[u8]) -> klon_partition::Result<Image> {
    Image::open(Arc::new(MemoryDevice::new(file.to_vec(), 512)))
}

#[test]
fn without_its_header_an_image_reads_as_before_and_is_not_added_to() {
    let (world, contents, _) = three();
    let mut flipped = world.file.clone();
    flipped[60] ^= 4;
    let mut zeroed = world.file.clone();
    zeroed[..HEADER_LEN].fill(0);
    let mut noisy = world.file.clone();
    noisy[..HEADER_LEN].copy_from_slice(&noise(8, HEADER_LEN));
    for file in [flipped, zeroed, noisy] {
        let image = try_open(&file).unwrap();
        assert!(image.header_damage().is_some());
        assert_eq!(image.header().chunk_size, world.image().header().chunk_size);
        for (number, expected) in (1..).zip(&contents) {
            assert!(&content(&image, number).unwrap() == expected);
        }
        let found = check_all(&image);
        assert!(!found.is_whole && found.damage.is_empty() && found.commit_damage.is_none());
        assert!(found.header_damage.is_some());
        let refused = ImageWriter::<Vec<u8>>::check_appendable(&image).unwrap_err();
        let Error::Image(PartitionError::RefusedUnless { remedy, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(remedy, Remedy::CompactImage);
        let threads = NonZeroUsize::new(2).unwrap();
        let copy = compact(
            &image,
            &[],
            Vec::new(),
            Runner {
                name: "x",
                threads,
                observer: &Silent,
            },
        )
        .unwrap();
        let copy = open(&copy);
        assert!(copy.header_damage().is_none() && check_all(&copy).is_whole);
        assert_ne!(copy.header().uuid, image.header().uuid);
        assert!(content(&copy, 2).unwrap() == contents[1]);
    }
    assert!(world.image().header_damage().is_none());
}

#[test]
fn the_size_of_chunks_is_told_by_the_pages() {
    for chunk_bytes in [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24] {
        let mut world = World {
            chunk_bytes,
            ..World::new()
        };
        world.auto();
        let mut file = world.file.clone();
        file[..HEADER_LEN].fill(0);
        let image = try_open(&file).unwrap();
        assert_eq!(image.header().chunk_size.bytes(), u64::from(chunk_bytes));
        assert!(content(&image, 1).unwrap() == content(&world.image(), 1).unwrap());
    }
}

#[test]
fn what_is_no_whole_image_is_none_without_a_header() {
    let (world, ..) = three();
    let mut file = world.file.clone();
    file[..MAGIC.len()].fill(0);
    let is_image = |file: &[u8]| Image::is_image(&MemoryDevice::new(file.to_vec(), 512)).unwrap();
    assert!(is_image(&file));
    // Torn, with a footer at another place, with a catalog that is none.
    let torn = &file[..file.len() - 64];
    let moved = [&file[..4096], &file[4096 + 128..]].concat();
    let catalog = world.image().tail().catalog_frame.position as usize;
    let mut damaged = file.clone();
    damaged[catalog + 70] ^= 1;
    for file in [
        torn,
        &moved,
        &damaged,
        &noise(1, 1 << 20),
        &[0; 8192],
        &[0; 3],
    ] {
        assert!(!is_image(file));
        assert!(
            try_open(file)
                .err()
                .unwrap()
                .to_string()
                .contains("image header")
        );
    }
}

#[test]
fn a_damaged_manifest_costs_its_snapshot_alone_and_is_no_end() {
    let (world, contents, _) = three();
    let manifest = |number| {
        let image = world.image();
        let entry = image.catalog().find(Some(number)).unwrap();
        entry.manifest.position as usize
    };
    for lost in 1..=3 {
        let mut damaged = World::new();
        damaged.content.clone_from(&world.content);
        damaged.file = world.file.clone();
        damaged.file[manifest(lost) + 80] ^= 1;
        let image = damaged.image();
        for (number, expected) in (1..).zip(&contents) {
            match content(&image, number) {
                Ok(found) => assert!(&found == expected && number != lost),
                Err(error) => assert!(number == lost && error.to_string().contains("manifest")),
            }
        }
        // The next one is added, and stores again only what nobody knows any more.
        let added = damaged.auto();
        assert_eq!(added.snapshot, 4);
        assert!(content(&damaged.image(), 4).unwrap() == contents[2]);
        let found = check_all(&damaged.image());
        assert_eq!(found.damage.len(), 1);
        assert!(found.damage[0].is_lost && found.damage[0].snapshot == lost);
    }
}

#[test]
fn a_damaged_page_is_stored_again() {
    let (world, contents, _) = three();
    let page = world.image().snapshot(None).unwrap().manifest().tree[0].1;
    let mut damaged = World::new();
    damaged.content.clone_from(&world.content);
    damaged.file = world.file.clone();
    damaged.file[page.position as usize + 70] ^= 1;
    assert!(content(&damaged.image(), 3).is_err());
    damaged.auto();
    let image = damaged.image();
    assert!(content(&image, 4).unwrap() == contents[2]);
    assert!(content(&image, 2).unwrap() == contents[1]);
    assert_eq!(check_all(&image).damage.len(), 1);
}
