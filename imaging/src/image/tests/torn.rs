//! Appends that were torn: at every boundary of a frame, and anywhere.

use super::super::FrameHeader;
use super::check::check_all;
use super::{MIB, World, content, noise, open};
use std::collections::BTreeSet;

/// Where frames and their payloads begin and end.
fn boundaries(world: &World) -> Vec<usize> {
    let (file, uuid) = (&world.file, world.image().header().uuid);
    let mut at = 4096;
    let mut found = Vec::new();
    while at + 64 <= file.len() {
        match FrameHeader::parse(&file[at..], uuid, at as u64) {
            Ok(frame) => {
                let end = at + 64 + frame.stored_bytes as usize;
                found.extend([at, at + 64, end]);
                at = end.next_multiple_of(64);
            }
            Err(_) => at += 64,
        }
    }
    found
}

#[test]
fn torn_at_any_frame_or_byte_the_rest_is_whole_and_gone_on_with() {
    let mut world = World::small();
    let (mut contents, mut ends) = (Vec::new(), Vec::new());
    for index in 0..3 {
        world.content[MIB + index] ^= 1;
        world.auto();
        contents.push(world.expected());
        ends.push(world.file.len());
    }
    let near = |at: usize| [at - 1, at, at + 1];
    let boundaries: BTreeSet<usize> = boundaries(&world).into_iter().flat_map(near).collect();
    // Each of three commits has frames of a chunk, a page, a manifest, a catalog, and a footer.
    assert!(boundaries.len() > 3 * 5 * 6, "{}", boundaries.len());
    let random = noise(21, 8 * 300);
    let random = random.chunks(8).map(|bytes| {
        let number = u64::from_le_bytes(bytes.try_into().unwrap()) as usize;
        4096 + number % (world.file.len() - 4096)
    });
    let cuts = boundaries.iter().copied().chain(random);
    for (round, cut) in cuts
        .filter(|&cut| (4096..=world.file.len()).contains(&cut))
        .enumerate()
    {
        let image = open(&world.file[..cut]);
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(image.catalog().snapshots.len(), whole, "cut at {cut}");
        assert_eq!(image.tail().damage, None, "cut at {cut}");
        if round % 8 != 0 {
            continue;
        }
        let mut torn = World::small();
        torn.content.clone_from(&world.content);
        torn.file = world.file[..cut].to_vec();
        torn.auto();
        let image = torn.image();
        let found = check_all(&image);
        assert!(
            found.is_whole && found.torn_bytes == 0,
            "cut at {cut}: {found:?}"
        );
        for (number, expected) in (1..).zip(&contents[..whole]) {
            assert!(
                &content(&image, number).unwrap() == expected,
                "cut at {cut}"
            );
        }
        let last = image.catalog().snapshots.last().unwrap().number;
        assert!(
            content(&image, last).unwrap() == world.expected(),
            "cut at {cut}"
        );
    }
}
