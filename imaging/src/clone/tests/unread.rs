//! Chunks that are proven to be as the record says are read on neither side.

use super::super::known::Knowledge;
use super::super::task::Task;
use super::super::work::{Manner, Outcome, Seen, Worker};
use super::{Ends, Job, Rewrite, identities, usage};
use crate::chunk::{CHUNK_BYTES, Digest, Digested};
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, ExtentMap};

const KNOWN: Digest = Digest([5; 32]);

fn task() -> Task {
    let chunk = Extent::new(CHUNK_BYTES, CHUNK_BYTES).unwrap();
    let part = Extent::new(CHUNK_BYTES + 4096, 8192).unwrap();
    Task {
        chunk,
        copy: vec![part],
        wanted: vec![part],
        metadata: Vec::new(),
        known: Knowledge::Digest(KNOWN),
        is_proven: true,
        part: None,
        pieces: None,
        described: None,
    }
}

/// Works on a task whose chunk lies where neither side can be read.
fn process(task: &Task) -> crate::Result<Outcome> {
    let (source, target) = (MemoryDevice::zeroed(512), MemoryDevice::zeroed(512));
    let usage = usage(ExtentMap::whole(512));
    let [source_identity, target_identity] = identities();
    let job = Job::new(
        "x",
        Ends {
            source: &source,
            usage: &usage,
            source_identity: &source_identity,
            target: &target,
            target_identity: &target_identity,
        },
    );
    let manner = Manner {
        digested: Digested::Whole,
        rewrite: Rewrite::Blocks,
        is_searched: true,
    };
    Worker::new(&job, manner, None).process(task)
}

#[test]
fn a_proven_chunk_has_the_digest_of_the_record() {
    let outcome = process(&task()).unwrap();
    assert_eq!(outcome.digest, KNOWN);
    assert!(outcome.changed.is_empty() && outcome.metadata.is_none());
    assert_eq!(
        (outcome.read_source_bytes, outcome.read_target_bytes),
        (0, 0)
    );
    assert!(matches!(outcome.seen, Seen::Proven(8192)));
}

#[test]
fn any_other_chunk_is_read() {
    let start = Extent::new(0, CHUNK_BYTES).unwrap();
    let part = Extent::new(4096, 8192).unwrap();
    let others = [
        Task {
            is_proven: false,
            ..task()
        },
        Task {
            known: Knowledge::Unknown,
            ..task()
        },
        Task {
            metadata: task().wanted,
            ..task()
        },
        // The first one is held back, so its content is needed.
        Task {
            chunk: start,
            copy: vec![part],
            wanted: vec![part],
            ..task()
        },
    ];
    for other in others {
        assert!(process(&other).is_err());
    }
}
