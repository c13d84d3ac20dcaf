//! The walk over many extents: few large reads, and memory that doesn't grow with them.

use crate::filesystems::btrfs::script;
use crate::filesystems::image_file::ImageFile;
use crate::support::{Counted, Mount, image, lacks_root, run};
use klon_partition::filesystem::extents::{DataExtent, ExtentVisitor, Sectors};
use klon_partition::filesystem::probe;
use std::ops::ControlFlow;
use std::path::Path;

/// Names the volume for the process that walks over it.
const VOLUME: &str = "KLON_TEST_VOLUME_OF_MANY_EXTENTS";

/// Files of one sector and of three.
const FILL: &str = "
import os, sys
for folder in range(100):
    path = f'{sys.argv[1]}/{folder}'
    os.mkdir(path)
    for number in range(int(sys.argv[2]) // 100):
        file = os.open(f'{path}/{number}', os.O_CREAT | os.O_WRONLY)
        os.write(file, b'%06d' % number * (600 if number % 2 else 2000))
        os.close(file)
";

#[derive(Default)]
struct Count {
    extents: u64,
    checked: u64,
}

impl ExtentVisitor for Count {
    fn extent(&mut self, _: &DataExtent) -> ControlFlow<()> {
        self.extents += 1;
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, _: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        let checksums = sectors
            .checksums
            .map_or(0, |checksums| checksums.iter().len());
        self.checked += checksums as u64;
        ControlFlow::Continue(())
    }
}

/// A volume with that many files, each an extent.
fn make(directory: &Path, files: u64) -> std::path::PathBuf {
    let file = directory.join(format!("{files}.img"));
    image::sparse(&file, 16 << 30);
    let path = file.to_str().unwrap();
    run("mkfs.btrfs", &["-q", "--csum", "sha256", path]);
    let options = "loop,max_inline=0,noatime";
    let mount = Mount::new(&file, &file.with_extension("mount"), options);
    let at = mount.path().to_str().unwrap();
    run("python3", &["-c", FILL, at, &files.to_string()]);
    script(&mount, "sync -f \"$0\"");
    file
}

/// What a walk took, in a process of its own.
struct Cost {
    extents: u64,
    checked: u64,
    reads: u64,
    read_bytes: u64,
    peak_kib: u64,
}

fn cost(file: &Path) -> Cost {
    let name = "filesystems::btrfs::extents::many::a_walk_whose_cost_is_measured";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(VOLUME, file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let (_, line) = text.split_once("cost:").unwrap();
    let words = line.lines().next().unwrap().split_whitespace();
    let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
    let [extents, checked, reads, read_bytes, peak_kib] = numbers[..] else {
        panic!("{line}");
    };
    Cost {
        extents,
        checked,
        reads,
        read_bytes,
        peak_kib,
    }
}

/// Does nothing unless another test names a volume for it.
#[test]
fn a_walk_whose_cost_is_measured() {
    let Some(file) = std::env::var_os(VOLUME) else {
        return;
    };
    let device = Counted::new(ImageFile::open(Path::new(&file)));
    let mut count = Count::default();
    let walked = probe(&device)
        .unwrap()
        .unwrap()
        .data_extents(&device, &mut count);
    walked.unwrap().unwrap();
    let (reads, bytes) = device.take();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let peak_kib = peak.unwrap().split_whitespace().nth(1).unwrap();
    let Count { extents, checked } = count;
    println!("cost: {extents} {checked} {reads} {bytes} {peak_kib}");
}

#[test]
fn many_extents_take_few_reads_and_no_more_memory() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [few, many] = [2_000, 60_000].map(|files| {
        let file = make(directory.path(), files);
        let cost = cost(&file);
        // The kernel may write a file in two pieces.
        let is_each_one = (files..files + files / 50).contains(&cost.extents);
        assert!(is_each_one, "{} extents", cost.extents);
        assert_eq!(cost.checked, 2 * files);
        cost
    });
    assert!(
        many.peak_kib < few.peak_kib + (8 << 10),
        "{} KiB, with few files {} KiB",
        many.peak_kib,
        few.peak_kib
    );
    // An extent item and its checksums take 53 + 25 and 2 x 32 bytes.
    assert!(many.read_bytes < 60_000 * 600, "{} bytes", many.read_bytes);
    let mean_bytes = many.read_bytes / many.reads;
    assert!(mean_bytes > 64 << 10, "{} reads", many.reads);
}
