//! How a walk over many files reads: inode tables in large pieces, not block by block.

use super::image_file::ImageFile;
use crate::support::{Mount, lacks_root, run};
use klon_partition::device::Geometry;
use klon_partition::filesystem::files::{File, FileRun, FileVisitor, Next};
use klon_partition::filesystem::probe;
use klon_partition::{ReadAt, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files of the volume, each with a block of its own.
const FILES: u64 = 20_000;

/// Counts the reads of an image.
struct Counted {
    device: ImageFile,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl ReadAt for Counted {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let len_bytes = buffer.len() as u64;
        self.bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.device.read_exact_at(buffer, offset_bytes)
    }
}

/// Counts the files, and asks for all of their runs.
#[derive(Default)]
struct Counter(u64);

impl FileVisitor for Counter {
    fn file(&mut self, _file: &File<'_>) -> Next {
        self.0 += 1;
        Next::Continue
    }

    fn run(&mut self, _file: &File<'_>, _run: &FileRun) -> Next {
        Next::Continue
    }
}

#[test]
fn a_walk_reads_inodes_in_large_pieces() {
    if lacks_root() {
        return;
    }
    let fill = format!(
        "import os, sys
os.chdir(sys.argv[1])
for at in range({FILES}):
    if at % 500 == 0: os.mkdir(str(at)); folder = str(at)
    with open(f'{{folder}}/{{at}}', 'w') as file: file.write('x')
"
    );
    for (tool, options) in [
        ("mkfs.ext4", ["-q", "-F"].as_slice()),
        ("mkfs.xfs", &["-q"]),
        ("mkfs.xfs", &["-q", "-b", "size=1024"]),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("volume");
        let path = image.to_str().unwrap();
        run("truncate", &["-s", "2G", path]);
        run(tool, &[options, &[path]].concat());
        let mount = Mount::new(&image, &scratch.path().join("mnt"), "loop");
        run("python3", &["-c", &fill, mount.path().to_str().unwrap()]);
        drop(mount);
        let device = Counted {
            device: ImageFile::open(&image),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        let filesystem = probe(&device).unwrap().unwrap();
        device.reads.store(0, Ordering::Relaxed);
        device.bytes.store(0, Ordering::Relaxed);
        let mut counter = Counter::default();
        let gaps = filesystem.files(&device, &mut counter);
        assert_eq!(gaps, Some(Vec::new()), "{tool}");
        let (reads, bytes) = (device.reads.into_inner(), device.bytes.into_inner());
        println!("{tool} {options:?}: {reads} reads, {bytes} bytes");
        assert!(counter.0 > FILES, "{tool}: {}", counter.0);
        // XFS has 64 inodes a chunk, and each chunk was once read by itself.
        assert!(reads < FILES / 200, "{tool} {options:?}: {reads} reads");
        // Inodes of at most 512 bytes, and trees and bitmaps that say where they are.
        assert!(bytes < FILES * 640, "{tool} {options:?}: {bytes} bytes");
    }
}
