//! Compacting: the same snapshots in a smaller file.

use super::super::{compact, compact_bytes};
use super::{World, content, open, three};
use crate::progress::{Runner, Silent};
use std::num::NonZeroUsize;

pub(super) fn compacted(world: &World, remove: &[u64]) -> crate::Result<Vec<u8>> {
    let threads = NonZeroUsize::new(2).unwrap();
    compact(
        &world.image(),
        remove,
        Vec::new(),
        Runner {
            name: "x",
            threads,
            observer: &Silent,
        },
    )
}

#[test]
fn a_compacted_image_holds_the_same_and_can_be_added_to() {
    let (world, contents, _) = three();
    let file = compacted(&world, &[1]).unwrap();
    assert!(file.len() < world.file.len());
    assert!(file.len() as u64 <= compact_bytes(&world.image(), &[1]).unwrap());
    let image = open(&file);
    assert!(super::check::check_all(&image).is_whole);
    assert_eq!(image.header(), world.image().header());
    assert_eq!(image.catalog().next_number, 4);
    assert!(image.snapshot(Some(1)).is_err());
    for number in [2, 3] {
        assert!(content(&image, number).unwrap() == contents[number as usize - 1]);
        let (old, new) = (world.image(), &image);
        let manifest = |image: &super::Image| {
            let mut manifest = image.snapshot(Some(number)).unwrap().manifest().clone();
            manifest.tree.clear();
            manifest
        };
        assert_eq!(manifest(&old), manifest(new));
    }
    let mut next = World::new();
    (next.content, next.file) = (world.content.clone(), file);
    let summary = next.auto();
    assert_eq!((summary.snapshot, summary.changed_bytes), (4, 0));
    assert!(content(&next.image(), 4).unwrap() == contents[2]);
}

#[test]
fn damage_is_not_copied() {
    let (mut world, ..) = three();
    let at = world.file.len() / 5;
    world.file[at] ^= 1;
    assert!(compacted(&world, &[]).is_err());
}

#[test]
fn an_image_that_lost_its_last_footer_is_read_and_made_sound() {
    let (mut world, contents, _) = three();
    let footer = world.image().tail().footer as usize;
    world.file[footer + 20] ^= 1;
    let image = world.image();
    assert!(image.tail().damage.as_ref().unwrap().contains("footer"));
    assert_eq!(image.catalog().snapshots.len(), 3);
    assert!(!super::check::check_all(&image).is_whole);
    let file = compacted(&world, &[]).unwrap();
    let image = open(&file);
    assert!(super::check::check_all(&image).is_whole);
    assert!((1..4).all(|n| content(&image, n).unwrap() == contents[n as usize - 1]));
}
