//! Map files of rescues: a rescue of a small source goes on from one.

use super::{SCRATCH, target};
use klon_imaging::clone::{Ends, Job};
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::{RecordStore, RescueOptions, rescue};
use klon_partition::device::{Fault, FaultAt, MemoryDevice};
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity};
use std::num::NonZeroUsize;

/// Size of the source: a first chunk, and something behind it.
const SOURCE_BYTES: usize = (1 << 20) + (32 << 10);

/// What of a source of [`SOURCE_BYTES`] is in use.
pub(crate) fn used() -> ExtentMap {
    [(0, 16 << 10), (1 << 20, 32 << 10)]
        .into_iter()
        .filter_map(|(at, len)| Extent::new(at, len))
        .collect()
}

/// The source: sectors that differ.
pub(crate) fn source() -> Vec<u8> {
    let byte = |at: usize| (at / 512 * 7 + at % 13 + 1).to_le_bytes()[0];
    (0..SOURCE_BYTES).map(byte).collect()
}

/// Where the source can't be read.
pub(crate) fn bad() -> Extent {
    Extent::new((1 << 20) + 5 * 512, 1024).expect("a constant")
}

/// Goes on from the map `data`, on a target that bears the mark of the rescue it names.
pub fn check(data: &[u8]) {
    SCRATCH.with(|directory| {
        let path = directory.path().join("map");
        std::fs::write(&path, data).expect("a scratch file");
        for is_own_map in [false, true] {
            let bytes = target_for(data);
            let source = source();
            let image = MemoryDevice::new(bytes, 512);
            let result = {
                let source = MemoryDevice::new(source.clone(), 512);
                let source = FaultAt::new(source, Some(Fault::Unreadable(bad())));
                rescue_to(&source, &image, &path, is_own_map)
            };
            // What a map says to be there is looked at in a few places only.
            let claims = data.contains(&b'+');
            if let (Ok(lost), false) = (result, claims) {
                judge(&source, &image.to_vec(), &lost);
            }
        }
    });
}

/// Rescues; says what of it was bad.
pub(crate) fn rescue_to(
    source: &FaultAt<MemoryDevice>,
    image: &MemoryDevice,
    map: &std::path::Path,
    is_own_map: bool,
) -> klon_imaging::Result<ExtentMap> {
    let usage = Usage::mapped(used());
    let source_identity = Identity::Path("/source".to_owned());
    let target_identity = target();
    let job = Job::new(
        "Fuzzed",
        Ends {
            source,
            usage: &usage,
            source_identity: &source_identity,
            target: image,
            target_identity: &target_identity,
        },
    );
    let options = RescueOptions {
        map,
        is_own_map,
        metadata: &ExtentMap::new(),
        retries: 1,
        fill: None,
        threads: NonZeroUsize::MIN,
    };
    let records = RecordStore::new(map.parent().expect("a directory").to_owned());
    rescue(&job, &records, &options, &Silent).map(|summary| summary.bad)
}

/// A target with the mark of the run that the map names first.
fn target_for(map: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SOURCE_BYTES];
    let text = String::from_utf8_lossy(map);
    let run = text
        .split("\"run\":\"")
        .nth(1)
        .and_then(|rest| rest.get(..36));
    if let Some(run) = run.and_then(|run| run.parse().ok()) {
        let mark = Mark {
            run,
            ..Mark::new("path:/source")
        };
        bytes[..512].copy_from_slice(&mark.to_bytes());
    }
    bytes
}

/// Of what no map claimed to be there already, everything arrives but the bad sectors.
fn judge(source: &[u8], target: &[u8], lost: &ExtentMap) {
    for extent in used().difference(lost).iter() {
        let (start, end) = (extent.offset_bytes() as usize, extent.end_bytes() as usize);
        assert!(source[start..end] == target[start..end], "{extent}");
    }
}
