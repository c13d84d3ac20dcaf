//! Each part of the rule for extents is needed: without it, a change is missed that the rule notices.

use super::{Case, change, prepare};
use crate::delta::forged::{exchange_chunks, write};
use crate::delta::state::{Bytes, State, now};
use crate::delta::volumes::{Made, named};
use crate::support::lacks_root;
use klon_imaging::change::proven::{Guard, Horizon, Rule};
use klon_partition::filesystem::extents::{DataExtent, ExtentVisitor, Sectors};
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap};
use std::ops::ControlFlow;
use std::path::Path;

fn case(before: Vec<u8>, after: Vec<u8>) -> Case {
    Case {
        before,
        after,
        horizon: Horizon::at(now()),
        unread: ExtentMap::new(),
    }
}

fn read(made: &Made) -> Vec<u8> {
    std::fs::read(made.image()).unwrap()
}

/// A volume that took two ways from one state: as if an earlier state was brought back.
fn two_ways(made: &Made, one: &str, other: &str) -> Case {
    let base = read(made);
    change(made, one);
    let before = read(made);
    std::fs::write(made.image(), base).unwrap();
    change(made, other);
    case(before, read(made))
}

#[test]
fn sectors_without_checksums_may_be_written_in_place() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("btrfs"));
    prepare(&made, "plain plain; noise other 48K; noise lost 48K");
    let before = read(&made);
    change(&made, "put plain 8K 4K; put other 8K 4K");
    let mut case = case(before, read(&made));
    case.unread = places(&case.before, "/lost");
    case.assert_kills(&[
        (Rule::without(Guard::Summed), &["/plain"]),
        (Rule::without(Guard::Described), &["/lost"]),
    ]);
}

/// Only the checksums tell what was written after a state was brought back.
#[test]
fn another_past_is_told_by_checksums_alone() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("btrfs"));
    prepare(&made, "noise still 48K");
    let write = |digit: u8| format!("head -c 48K /dev/zero | tr '\\0' {digit} >file; sync .");
    let case = two_ways(&made, &write(1), &write(2));
    case.assert_kills(&[(Rule::without(Guard::Checksums), &["/file"])]);
}

/// Bytes with the CRC-32C of others: it is linear, and 0 of its polynomial.
#[test]
fn contents_of_the_same_checksum_are_told_by_the_transaction() {
    if lacks_root() {
        return;
    }
    let mut contents = vec![7_u8; 48 << 10];
    let polynomial = (1_u64 | 0x82f6_3b78 << 1).to_le_bytes();
    let made = Made::new(named("btrfs"));
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    std::fs::write(&one, &contents).unwrap();
    for sector in contents.chunks_exact_mut(4096) {
        let sum = crc32c::crc32c(sector);
        let pairs = sector[100..].iter_mut().zip(&polynomial[..5]);
        pairs.for_each(|(byte, bits)| *byte ^= bits);
        assert_eq!(crc32c::crc32c(sector), sum);
    }
    std::fs::write(&other, &contents).unwrap();
    prepare(&made, "noise still 48K");
    let copy = |from: &Path| format!("cp {} file", from.display());
    let later = format!(
        ": >first; btrfs filesystem sync .; rm first; btrfs filesystem sync .; {}",
        copy(&other)
    );
    let case = two_ways(&made, &copy(&one), &later);
    case.assert_kills(&[(Rule::without(Guard::Generation), &["/file"])]);
}

/// A chunk that lies elsewhere and keeps its address, as a tool may move one.
#[test]
fn extents_elsewhere_are_told_by_their_places() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("btrfs"));
    prepare(&made, "noise file 150M");
    let before = read(&made);
    let mut after = before.clone();
    exchange_chunks(&mut after);
    case(before, after).assert_kills(&[(Rule::without(Guard::Places), &["/file"])]);
}

/// Where extents with checksums lie twice.
#[derive(Default)]
struct Twice(Vec<[Extent; 2]>);

impl ExtentVisitor for Twice {
    fn extent(&mut self, _: &DataExtent) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, _: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        let summed = sectors.checksums.and(sectors.copies.second);
        self.0
            .extend(summed.map(|second| [sectors.copies.first, second]));
        ControlFlow::Continue(())
    }
}

/// A repair puts a bad copy right in place and leaves no trace elsewhere.
#[test]
fn a_scrub_of_a_damaged_copy_is_told_by_the_damage() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("btrfs-twice"));
    prepare(&made, "noise file 480K");
    let bytes = read(&made);
    let mut twice = Twice::default();
    let device = Bytes(&bytes);
    let filesystem = probe(&device).unwrap().unwrap();
    filesystem
        .data_extents(&device, &mut twice)
        .unwrap()
        .unwrap();
    let sectors = twice.0[0].map(|copy| copy.split(4096).nth(2).unwrap());
    for (sector, at) in sectors.iter().zip([0, 4096]) {
        // Of another sector of each copy.
        let at = usize::try_from(sector.offset_bytes()).unwrap() + at + 5;
        write(&made.image(), at, &[!bytes[at]]);
    }
    let before = read(&made);
    let rule = Rule::default();
    let state = State::of_bytes(before.clone(), None, &rule, Horizon::NEVER);
    assert_eq!(state.damaged.total_bytes(), 8192);
    assert_eq!(state.owners(&state.damaged), ["/file"]);
    change(&made, "btrfs scrub start -B . >&2");
    let after = read(&made);
    let mended = State::of_bytes(after.clone(), Some(&state), &rule, Horizon::NEVER);
    assert!(mended.damaged.is_empty(), "what was damaged is read again");
    let whole = State::of_bytes(after.clone(), Some(&mended), &rule, Horizon::NEVER);
    let gained = whole.found.proven.difference(&mended.found.proven);
    assert_eq!(gained, state.damaged, "and proven after that");
    case(before, after).assert_kills(&[(Rule::without(Guard::Intact), &["/file"])]);
}

/// What is in use by that file alone.
fn places(bytes: &[u8], path: &str) -> ExtentMap {
    let device = Bytes(bytes);
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    let data = used.difference(&metadata);
    let sectors = data.iter().flat_map(|extent| extent.split(4096));
    let is_of_file = |sector: &Extent| {
        let sector = [*sector].into_iter().collect();
        let owners = filesystem.owners(&device, &sector, 10);
        owners.files.iter().any(|owner| owner.path == path)
    };
    sectors.filter(is_of_file).collect()
}
