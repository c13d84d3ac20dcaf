//! Of chunks that are proven in part only the rest is read from the source.

use super::super::known::{Knowledge, Recorded};
use super::super::task::{PartlyProven, Task};
use super::super::work::{Manner, Outcome, Seen, Worker};
use super::{Ends, Job, Rewrite, identities, noise, usage};
use crate::change::Unchanged;
use crate::chunk::{CHUNK_BYTES, CHUNK_LEN, Digested, Pieces, touched};
use crate::record::digest_of;
use klon_partition::device::{Fault, FaultAt, MemoryDevice};
use klon_partition::{Extent, ExtentMap, ReadAt, WriteAt};
use proptest::prelude::{Strategy, prop_assert_eq, proptest};

/// The chunk that is worked on.
const CHUNK: Extent = match Extent::new(CHUNK_BYTES, CHUNK_BYTES) {
    Some(chunk) => chunk,
    None => panic!("it has bytes"),
};
const SIZE: usize = 2 * CHUNK_LEN;

/// By KiB from the start of the chunk.
fn map(ranges: &[(u64, u64)]) -> ExtentMap {
    let extents = ranges
        .iter()
        .filter_map(|&(at, len)| Extent::new(CHUNK_BYTES + (at << 10), len << 10));
    extents.collect()
}

fn list(map: &ExtentMap) -> Vec<Extent> {
    map.iter().collect()
}

/// What a record knows of the digest of a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recording {
    Whole,
    /// It is of pieces, which are not known.
    Unknown,
    /// It is of pieces.
    Pieces,
}

impl Recording {
    const ALL: [Self; 3] = [Self::Whole, Self::Unknown, Self::Pieces];

    const fn digested(self) -> Digested {
        match self {
            Self::Whole => Digested::Whole,
            Self::Unknown | Self::Pieces => Digested::InPieces,
        }
    }
}

/// A target, the record of it, and a source that was written to since.
struct Sides {
    recording: Recording,
    source: Vec<u8>,
    target: Vec<u8>,
    /// What the record describes, and what of that is its metadata.
    described: ExtentMap,
    described_metadata: ExtentMap,
    /// What is proven to be as described.
    proven: ExtentMap,
    /// What is in use now, and what of that is read, and is metadata.
    wanted: ExtentMap,
    copy: ExtentMap,
    metadata: ExtentMap,
}

impl Sides {
    /// All of the chunk is in use, and the same on both sides.
    fn equal(recording: Recording) -> Self {
        let all = map(&[(0, 1024)]);
        Self {
            recording,
            source: noise(1, SIZE),
            target: noise(1, SIZE),
            described: all.clone(),
            described_metadata: ExtentMap::new(),
            proven: all.clone(),
            wanted: all.clone(),
            copy: all,
            metadata: ExtentMap::new(),
        }
    }

    /// What the chunk is with all but some of it taken as zero.
    fn masked(bytes: &[u8], map: &ExtentMap) -> Vec<u8> {
        let mut plain = vec![0; SIZE];
        for extent in map.iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            plain[range.clone()].copy_from_slice(&bytes[range]);
        }
        plain[CHUNK_LEN..].to_vec()
    }

    /// The task of the chunk, as the record was made when the target was what it is now.
    fn task(&self) -> Task {
        let unchanged = Unchanged::new(self.proven.clone(), self.described.clone());
        let (copy, wanted) = (list(&self.copy), list(&self.wanted));
        let plain = Self::masked(&self.target, &self.described);
        let recorded = self.recording.digested().of(&plain);
        let pieces = (self.recording == Recording::Pieces).then(|| Box::new(Pieces::of(&plain)));
        let metadata = list(&self.metadata);
        let is_there = self.metadata == self.described_metadata && !metadata.is_empty();
        let part = unchanged.in_part(CHUNK, &copy, &wanted);
        Task {
            chunk: CHUNK,
            known: match wanted.iter().all(|&it| self.described.contains(it)) {
                true => Knowledge::Digest(recorded),
                false if pieces.is_some() => Knowledge::InPieces,
                false => Knowledge::Unknown,
            },
            described: Some(self.described.clone()),
            is_proven: false,
            part: part.and_then(|extents| {
                let content = &self.target[CHUNK_LEN..];
                let recorded = Recorded {
                    digest: Some(recorded),
                    metadata: is_there.then(|| digest_of(CHUNK, &metadata, content, None)),
                    ..Recorded::default()
                };
                PartlyProven::of(extents, &metadata, &recorded)
            }),
            pieces,
            copy,
            wanted,
            metadata,
        }
    }
}

/// Works on a task.
fn process(
    recording: Recording,
    task: &Task,
    source: &dyn ReadAt,
    target: &dyn WriteAt,
) -> crate::Result<Outcome> {
    let usage = usage(ExtentMap::whole(512));
    let [from, to] = identities();
    let job = Job::new(
        "x",
        Ends {
            source,
            usage: &usage,
            source_identity: &from,
            target,
            target_identity: &to,
        },
    );
    let digested = recording.digested();
    let manner = Manner {
        digested,
        rewrite: Rewrite::Blocks,
        is_searched: true,
    };
    Worker::new(&job, manner, None).process(task)
}

/// The pieces that came to have another digest, all where none are known: of the others the target may be left
/// unread.
fn differing_pieces(task: &Task, outcome: &Outcome) -> ExtentMap {
    match (&task.pieces, &outcome.pieces) {
        (Some(old), Some(new)) => old.differing(CHUNK, new),
        _ => ExtentMap::from(CHUNK),
    }
}

/// The pieces of which the source is not read whole, or of which the record says nothing: what they hold, if anything of
/// them may have changed, the target alone tells.
fn not_from_source(task: &Task) -> ExtentMap {
    let map = |extents: &[Extent]| extents.iter().copied().collect::<ExtentMap>();
    let proven = task.part.as_ref().map(|part| map(&part.extents.proven));
    let described = task.described.clone().unwrap_or_default();
    let new = map(&task.wanted).difference(&described);
    touched(CHUNK, &proven.unwrap_or_default().union(&new))
}

/// A source that can't be read in part.
fn without(bytes: &[u8], bad: Extent) -> FaultAt<MemoryDevice> {
    let device = MemoryDevice::new(bytes.to_vec(), 512);
    FaultAt::new(device, Some(Fault::Unreadable(bad)))
}

fn ranges() -> impl Strategy<Value = ExtentMap> {
    proptest::collection::vec((0..2048_u64, 1..600_u64), 0..8).prop_map(|ranges| {
        let halves = ranges
            .iter()
            .filter_map(|&(at, len)| Extent::new(CHUNK_BYTES + at * 512, len * 512));
        halves.collect::<ExtentMap>().intersection(&CHUNK.into())
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    #[test]
    fn the_target_becomes_what_the_source_is(
        recording in proptest::sample::select(&Recording::ALL[..]),
        holes in ranges(),
        zeroes in ranges(),
        described_holes in ranges(),
        unproven in ranges(),
        alike in ranges(),
        metadata in ranges(),
        other_metadata in proptest::bool::ANY,
        rotten in proptest::option::of(0..CHUNK_LEN),
    ) {
        let all = ExtentMap::from(CHUNK);
        let wanted = all.difference(&holes);
        let copy = wanted.difference(&zeroes);
        let described = all.difference(&described_holes);
        let metadata = metadata.intersection(&wanted);
        let proven = wanted.intersection(&described).difference(&unproven);
        let mut sides = Sides {
            recording,
            source: noise(1, SIZE),
            target: noise(7, SIZE),
            described_metadata: match other_metadata {
                true => ExtentMap::new(),
                false => metadata.clone(),
            },
            described, proven, wanted, copy, metadata,
        };
        for extent in sides.wanted.difference(&sides.copy).iter() {
            sides.source[extent.offset_bytes() as usize..extent.end_bytes() as usize].fill(0);
        }
        for extent in sides.proven.union(&alike).iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            sides.target[range.clone()].copy_from_slice(&sides.source[range]);
        }
        let task = sides.task();
        let whole = Task { part: None, known: Knowledge::Unknown, ..sides.task() };
        if let Some(at) = rotten {
            sides.target[CHUNK_LEN + at] ^= 1;
        }
        let source = MemoryDevice::new(sides.source.clone(), 512);
        let target = MemoryDevice::new(sides.target.clone(), 512);
        let outcome = process(recording, &task, &source, &target).unwrap();
        let compared = process(recording, &whole, &source, &target).unwrap();
        prop_assert_eq!(outcome.digest, compared.digest);
        if recording == Recording::Pieces {
            prop_assert_eq!(&outcome.pieces, &compared.pieces);
        }
        prop_assert_eq!(outcome.metadata, compared.metadata);
        let is_seen = rotten.is_none_or(|at| {
            let rotten = Extent::new(CHUNK_BYTES + at as u64, 1).unwrap();
            match &outcome.seen {
                Seen::Read(_) => task.part.is_some() || differing_pieces(&task, &outcome).overlaps(rotten),
                Seen::InPart { untouched, .. } => {
                    let read = differing_pieces(&task, &outcome).union(&not_from_source(&task));
                    !untouched.overlaps(rotten) && read.overlaps(rotten)
                }
                _ => false,
            }
        });
        let is_trusted = matches!(task.known, Knowledge::Digest(it) if it == outcome.digest);
        // What nobody reads of a target that rots nobody mends.
        if rotten.is_none() || is_seen && !(is_trusted && task.part.is_none()) {
            prop_assert_eq!(outcome.changed, compared.changed);
        }
    }
}

#[test]
fn what_is_proven_is_read_from_the_target() {
    for recording in Recording::ALL {
        let mut sides = Sides::equal(recording);
        let changed = map(&[(100, 8), (900, 4)]);
        sides.proven = sides.proven.difference(&changed);
        sides.source[CHUNK_LEN + (102 << 10)] ^= 1;
        let source = without(&sides.source, map(&[(300, 400)]).extents()[0]);
        let target = MemoryDevice::new(sides.target.clone(), 512);
        let outcome = process(recording, &sides.task(), &source, &target).unwrap();
        let chunk = &sides.source[CHUNK_LEN..];
        assert_eq!(outcome.digest, recording.digested().of(chunk));
        assert_eq!(outcome.changed, list(&map(&[(100, 4)])));
        assert_eq!(outcome.read_source_bytes, 12 << 10);
        assert_eq!(outcome.seen.unread_bytes(), (1024 - 12) << 10);
        let read = match recording {
            // Two pieces of 128 KiB.
            Recording::Pieces => map(&[(0, 128), (896, 128)]),
            Recording::Whole | Recording::Unknown => map(&[(0, 1024)]),
        };
        assert_eq!(outcome.read_target_bytes, read.total_bytes());
        for extent in read.iter() {
            let range = crate::chunk::range_in(CHUNK, extent);
            assert!(
                outcome.content[range.clone()] == chunk[range],
                "{recording:?}"
            );
        }
        assert_eq!(touched(CHUNK, &changed), map(&[(0, 128), (896, 128)]));
    }
}

#[test]
fn pieces_that_the_source_shows_to_be_as_recorded_are_not_read_of_the_target() {
    let mut sides = Sides::equal(Recording::Pieces);
    // The first piece, and a block of the third.
    sides.proven = sides.proven.difference(&map(&[(0, 128), (300, 4)]));
    let source = MemoryDevice::new(sides.source.clone(), 512);
    let target = MemoryDevice::new(sides.target.clone(), 512);
    let outcome = process(Recording::Pieces, &sides.task(), &source, &target).unwrap();
    assert_eq!(
        outcome.digest,
        Digested::InPieces.of(&sides.source[CHUNK_LEN..])
    );
    assert_eq!(outcome.read_target_bytes, 128 << 10);
    assert!(outcome.changed.is_empty());
    // A block of zeroes that came into use leaves the digest as it was, and must come to the target.
    let new = map(&[(4, 4)]);
    sides.described = sides.described.difference(&new);
    for side in [&mut sides.source, &mut sides.target] {
        side[CHUNK_LEN + (4 << 10)..CHUNK_LEN + (8 << 10)].fill(0);
    }
    let task = sides.task();
    sides.target[CHUNK_LEN + (5 << 10)] = 1;
    let source = MemoryDevice::new(sides.source.clone(), 512);
    let target = MemoryDevice::new(sides.target.clone(), 512);
    let outcome = process(Recording::Pieces, &task, &source, &target).unwrap();
    assert_eq!(outcome.changed, list(&new));
}

#[test]
fn the_digest_of_proven_metadata_goes_into_the_record() {
    for recording in Recording::ALL {
        let mut sides = Sides::equal(recording);
        sides.metadata = map(&[(64, 16), (700, 4)]);
        sides.described_metadata = sides.metadata.clone();
        sides.proven = sides.proven.difference(&map(&[(300, 4)]));
        sides.source[CHUNK_LEN + (301 << 10)] ^= 1;
        let source = MemoryDevice::new(sides.source.clone(), 512);
        let target = MemoryDevice::new(sides.target.clone(), 512);
        let outcome = process(recording, &sides.task(), &source, &target).unwrap();
        let metadata = list(&sides.metadata);
        let expected = digest_of(CHUNK, &metadata, &sides.source[CHUNK_LEN..], None);
        assert_eq!(outcome.metadata, Some(expected), "{recording:?}");
    }
}

#[test]
fn of_a_chunk_that_is_read_whole_only_pieces_that_changed_are_read_of_the_target() {
    for recording in Recording::ALL {
        let mut sides = Sides::equal(recording);
        sides.proven = ExtentMap::new();
        sides.source[CHUNK_LEN + (102 << 10)] ^= 1;
        sides.source[CHUNK_LEN + (1023 << 10)] ^= 1;
        let source = MemoryDevice::new(sides.source.clone(), 512);
        let target = MemoryDevice::new(sides.target.clone(), 512);
        let outcome = process(recording, &sides.task(), &source, &target).unwrap();
        assert_eq!(outcome.changed, list(&map(&[(100, 4), (1020, 4)])));
        let read_kib = match recording {
            Recording::Pieces => 2 * 128,
            Recording::Whole | Recording::Unknown => 1024,
        };
        assert_eq!(outcome.read_target_bytes, read_kib << 10, "{recording:?}");
    }
}

#[test]
fn pieces_that_are_not_those_of_the_chunk_are_not_believed() {
    let mut sides = Sides::equal(Recording::Pieces);
    sides.proven = sides.proven.difference(&map(&[(100, 8)]));
    let mut task = sides.task();
    task.pieces = Some(Box::new(Pieces::of(&noise(9, CHUNK_LEN))));
    let source = MemoryDevice::new(sides.source.clone(), 512);
    let target = MemoryDevice::new(sides.target.clone(), 512);
    let outcome = process(Recording::Pieces, &task, &source, &target).unwrap();
    let expected = Pieces::of(&sides.source[CHUNK_LEN..]);
    assert_eq!(outcome.digest, expected.digest());
    assert_eq!(outcome.pieces.as_deref(), Some(&expected));
    assert_eq!(outcome.read_target_bytes, CHUNK_BYTES);
}

#[test]
fn a_target_that_is_not_as_recorded_is_not_taken_for_it() {
    for recording in Recording::ALL {
        let mut sides = Sides::equal(recording);
        sides.proven = sides.proven.difference(&map(&[(100, 8), (508, 4)]));
        let task = sides.task();
        // It rots where the source is proven, beside what is not; nothing of the source changed.
        sides.target[CHUNK_LEN + (500 << 10)] ^= 1;
        let target = MemoryDevice::new(sides.target.clone(), 512);
        let source = MemoryDevice::new(sides.source.clone(), 512);
        let outcome = process(recording, &task, &source, &target).unwrap();
        assert!(matches!(outcome.seen, Seen::Read(_)));
        let expected = recording.digested().of(&sides.source[CHUNK_LEN..]);
        assert_eq!(outcome.digest, expected);
        assert_eq!(outcome.changed, list(&map(&[(500, 4)])));
        // It is read whole then.
        let source = without(&sides.source, map(&[(300, 4)]).extents()[0]);
        assert!(process(recording, &task, &source, &target).is_err());
    }
}

#[test]
fn metadata_that_is_as_recorded_is_all_that_is_read() {
    for recording in Recording::ALL {
        let mut sides = Sides::equal(recording);
        sides.metadata = map(&[(64, 16)]);
        sides.described_metadata = sides.metadata.clone();
        sides.proven = sides.proven.difference(&sides.metadata);
        let source = without(&sides.source, map(&[(300, 400)]).extents()[0]);
        let unreadable = MemoryDevice::zeroed(512);
        let outcome = process(recording, &sides.task(), &source, &unreadable).unwrap();
        assert!(matches!(outcome.seen, Seen::Same(_)));
        let chunk = &sides.source[CHUNK_LEN..];
        assert_eq!(outcome.digest, recording.digested().of(chunk));
        let metadata = list(&sides.metadata);
        let expected = digest_of(CHUNK, &metadata, chunk, None);
        assert_eq!(outcome.metadata, Some(expected));
        assert_eq!(
            (outcome.read_source_bytes, outcome.read_target_bytes),
            (16 << 10, 0)
        );
        assert_eq!(outcome.seen.unread_bytes(), (1024 - 16) << 10);
        assert!(outcome.changed.is_empty());
        // Other metadata, or data beside it that is not proven.
        sides.source[CHUNK_LEN + (64 << 10)] ^= 1;
        let source = MemoryDevice::new(sides.source.clone(), 512);
        assert!(process(recording, &sides.task(), &source, &unreadable).is_err());
        sides.source[CHUNK_LEN + (64 << 10)] ^= 1;
        sides.proven = sides.proven.difference(&map(&[(512, 4)]));
        let source = MemoryDevice::new(sides.source.clone(), 512);
        assert!(process(recording, &sides.task(), &source, &unreadable).is_err());
    }
}
