//! Identities, and folds over walks of golden volumes.

use super::{Contents, File, FileKind, FileRun, FileVisitor, FirstHits, Next, RunKind, Stamp};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::golden::image;
use crate::filesystem::owners::Wanted;
use crate::filesystem::probe;

fn file(inode: &[u8]) -> File<'_> {
    File {
        number: 12,
        kind: FileKind::Regular,
        is_internal: false,
        is_immutable: false,
        is_unstamped: false,
        size_bytes: 5000,
        contents_end_bytes: 8192,
        cluster_bytes: 4096,
        changed: Stamp {
            seconds: 0,
            nanoseconds: 0,
        },
        made_seconds: None,
        changes: None,
        inode,
        volatile: &[8..12, 14..16, 40..99],
    }
}

#[test]
fn volatile_fields_alone_leave_the_identity() {
    let inode = [7; 32];
    for at in 0..inode.len() {
        let mut other = inode;
        other[at] = 9;
        let is_same = file(&inode).identity() == file(&other).identity();
        let is_volatile = (8..12).contains(&at) || (14..16).contains(&at);
        assert_eq!(is_same, is_volatile, "{at}");
    }
}

#[test]
fn a_weaker_identity_misses_what_it_leaves_out() {
    let (inode, mut other) = ([7; 32], [7; 32]);
    other[20] = 9;
    let weak = |inode: &[u8; 32]| file(inode).identity_without(std::slice::from_ref(&(20..21)));
    assert_eq!(weak(&inode), weak(&other));
    assert_ne!(weak(&inode), file(&inode).identity());
}

fn run(kind: RunKind, file_offset_bytes: u64, start: u64, len: u64) -> FileRun {
    FileRun {
        kind,
        file_offset_bytes,
        extent: Extent::new(start, len).unwrap(),
        is_written: true,
    }
}

#[test]
fn contents_end_where_the_file_does() {
    let file = file(&[]);
    let mut contents = Contents::new();
    for run in [
        run(RunKind::Contents, 0, 100_000, 4096),
        run(RunKind::Map, 0, 200_000, 4096),
        run(RunKind::Attributes, 0, 300_000, 4096),
        run(RunKind::Contents, 4096, 400_000, 8192),
        run(RunKind::Contents, 12_288, 500_000, 4096),
    ] {
        assert_eq!(contents.run(&file, &run), Next::Continue);
    }
    let expected: ExtentMap = [(100_000, 4096), (400_000, 4096)]
        .into_iter()
        .filter_map(|(start, len)| Extent::new(start, len))
        .collect();
    assert_eq!(contents.finish(), Some(expected));
    let internal = File {
        is_internal: true,
        ..file
    };
    assert_eq!(Contents::new().file(&internal), Next::SkipFile);
}

#[test]
fn the_first_byte_in_question_counts() {
    let wanted: ExtentMap = Extent::new(401_000, 10).into_iter().collect();
    let mut hits = FirstHits::new(&Wanted::new(&wanted, 1));
    let file = file(&[]);
    assert_eq!(hits.file(&file), Next::Continue);
    assert_eq!(
        hits.run(&file, &run(RunKind::Map, 0, 401_000, 5)),
        Next::Continue
    );
    let next = hits.run(&file, &run(RunKind::Contents, 4096, 400_000, 8192));
    assert_eq!(next, Next::SkipFile);
    assert_eq!(hits.file(&file), Next::Stop);
    let hit = hits.finish()[0];
    assert_eq!((hit.file, hit.file_offset_bytes), (12, 5096));
    assert_eq!(hit.extent, Extent::new(401_000, 10).unwrap());
}

/// Stops after some files.
struct Counter {
    seen: usize,
    stop_after: usize,
}

impl FileVisitor for Counter {
    fn file(&mut self, _file: &File<'_>) -> Next {
        self.seen += 1;
        if self.seen == self.stop_after {
            return Next::Stop;
        }
        Next::SkipFile
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        panic!("{file:?} was to be skipped, not {run:?}");
    }
}

#[test]
fn a_walk_stops_when_told() {
    for name in ["ext4-odd", "ext3", "xfs", "xfs-v4", "ntfs"] {
        let device = image(name);
        let filesystem = probe(&device).unwrap().unwrap();
        for (stop_after, expected) in [(1, 1), (3, 3)] {
            let mut counter = Counter {
                seen: 0,
                stop_after,
            };
            let gaps = filesystem.files(&device, &mut counter);
            assert_eq!((gaps, counter.seen), (Some(Vec::new()), expected), "{name}");
        }
    }
}
