//! What unit tests of the program stand on: a job, a source and records made by hand.

use crate::jobs::VolumeJob;
use crate::named::Place;
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use klon_imaging::change::Rung;
use klon_imaging::clone::Filled;
use klon_imaging::record::manifest::{Manifest, RunEntry};
use klon_imaging::{CHUNK_BYTES, Consistency, Role, Tally};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::Usage;
use klon_partition::system::{Base, DeviceNumber, Location, System};
use klon_partition::{ExtentMap, Identity, Outside, Shown as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// An identity that nothing else has.
pub fn serial(text: &str) -> Identity {
    Identity::Serial(text.to_owned())
}

/// A file of those bytes.
pub fn file(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A place of plain bytes.
pub fn place(path: &Path) -> Place {
    Place {
        given: path.shown(),
        path: path.to_owned(),
        number: None,
        image: None,
        replay: None,
        shrink: None,
        sectors: None,
        skips: false,
        is_raw: true,
    }
}

/// A system without disks that swaps to those files. Its `/proc` and `/sys` are made in `root`.
pub fn system(root: &Path, swapped: &[&Path]) -> System {
    for directory in ["proc/self", "sys/class/block", "run/udev/data"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::write(root.join("proc/self/mountinfo"), "").unwrap();
    let mut swaps = "Filename Type Size Used Priority\n".to_owned();
    for path in swapped {
        swaps.push_str(&format!("{} file 1024 0 -2\n", path.shown()));
    }
    std::fs::write(root.join("proc/swaps"), swaps).unwrap();
    System::load(root).unwrap()
}

/// A job for a file that does not exist yet, without a source.
pub fn job(name: &str) -> VolumeJob {
    let place = place(Path::new(name));
    let target = TargetEnd {
        place,
        now: None,
        identity: serial(name),
        clone_name: None,
    };
    VolumeJob::new(name.to_owned(), None, target, serial(name))
}

/// A source of zeroes, all of it in use.
pub fn source(name: &str, size_bytes: usize) -> SourceEnd {
    SourceEnd {
        name: name.to_owned(),
        path: name.into(),
        device: Arc::new(MemoryDevice::new(vec![0; size_bytes], 512)),
        usage: Usage::mapped(ExtentMap::whole(size_bytes as u64)),
        start_bytes: 0,
        identity: serial(name),
        location: Location {
            base: Base::Device(DeviceNumber { major: 8, minor: 0 }),
            extent: None,
            slaves: Vec::new(),
        },
        table: None,
        moved: Vec::new(),
        metadata: ExtentMap::new(),
        journals: Vec::new(),
        warnings: Vec::new(),
        clone_name: None,
        watch: None,
        live: None,
        replaced: ExtentMap::new(),
        covered: ExtentMap::new(),
        salvaged: None,
        recorded: Vec::new(),
        lost_before: Filled::default(),
        written_by: Vec::new(),
        rested: None,
        snapshot: None,
        own_identity: None,
        cut: None,
        volumes: Vec::new(),
    }
}

/// What a record says of a clone from one to the other, whose only run ended then.
pub fn manifest(source: &str, target: &str, role: Role, ended_unix_seconds: u64) -> Manifest {
    Manifest {
        source: serial(source),
        target: serial(target),
        source_bytes: CHUNK_BYTES,
        target_bytes: CHUNK_BYTES,
        chunk_bytes: CHUNK_BYTES,
        filesystem: None,
        token: None,
        metadata_digest: None,
        run: None,
        role,
        outside: Outside::All,
        consistency: Consistency::Still,
        history: vec![RunEntry {
            ended_unix_seconds,
            rung: Rung::Full,
            reason: String::new(),
            is_replayed: false,
            shrunk_from_bytes: None,
            tally: Tally::default(),
            milliseconds: 0,
        }],
        skipped: Vec::new(),
        grown: Vec::new(),
        is_dormant: false,
    }
}
