//! `klon mount`, as other programs see its files. The kernel's FUSE needs root, or fusermount3.

use super::made::{restore, take};
use super::running::Running;
use crate::support::image::{allocated_bytes, boot_disk, ext4, flip, put, sparse};
use crate::support::{Klon, MIB, Mount, lacks_root, run, tool, tree};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Mounts `image` on a new directory.
fn mount(klon: &Klon, image: &str) -> (Running, PathBuf) {
    let directory = klon.path("view");
    fs::create_dir_all(&directory).unwrap();
    let running = Running::start(klon, &["mount", image, directory.to_str().unwrap()]);
    assert_eq!(running.said["event"], "mounted");
    (running, directory)
}

fn is_mounted(directory: &Path) -> bool {
    let directory = directory.to_str().unwrap();
    let status = Command::new("mountpoint").args(["-q", directory]).status();
    status.unwrap().success()
}

fn soon(is_so: impl Fn() -> bool) -> bool {
    (0..1000).any(|_| {
        is_so() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }
    })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn same(one: &Path, other: &Path) {
    run("cmp", &[one.to_str().unwrap(), other.to_str().unwrap()]);
}

#[test]
fn snapshots_are_sparse_files_with_all_that_was_in_use() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (disk, image) = (klon.path("disk.img"), klon.path("disk.klon"));
    boot_disk(&disk, 512);
    take(&klon, &disk, &image);
    // Another state of its second volume.
    let root = klon.path("root");
    ext4(&root, 160, 10);
    put(&root, &disk, 36 * MIB);
    take(&klon, &disk, &image);
    let (running, view) = mount(&klon, image.to_str().unwrap());
    assert_eq!(names(&view), ["1", "2", "latest"]);
    assert_eq!(fs::read_link(view.join("latest")).unwrap(), Path::new("2"));
    let files = ["disk.img", "partition-1.img", "partition-3.img"];
    for (number, directory) in [(1, "1"), (2, "latest")] {
        assert_eq!(names(&view.join(directory)), files);
        let file = view.join(directory).join("disk.img");
        let expected = klon.path("expected");
        restore(&image, number, &expected);
        same(&file, &expected);
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(
            (metadata.len(), metadata.mode() & 0o777),
            (200 * MIB, 0o444)
        );
        let age = metadata.modified().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
        // What copies files finds the holes.
        let copied = klon.path("copied");
        let texts = [&file, &copied].map(|path| path.to_str().unwrap().to_owned());
        run("cp", &["--sparse=auto", &texts[0], &texts[1]]);
        same(&copied, &expected);
        let (given, used) = (metadata.blocks() * 512, allocated_bytes(&copied));
        assert!(given < 150 * MIB && used <= given + MIB, "{given}, {used}");
    }
    // Partitions are parts of the disk, and the kernel mounts what is in them.
    let part = view.join("latest/partition-3.img");
    let inside = Mount::new(&part, &klon.path("inside"), "loop,ro,noload");
    let outside = Mount::new(&root, &klon.path("outside"), "loop,ro,noload");
    let paths = [outside.path(), inside.path()].map(|path| path.to_str().unwrap());
    run("diff", &["-r", "--no-dereference", paths[0], paths[1]]);
    let first = view.join("1/partition-1.img");
    run("fsck.fat", &["-n", first.to_str().unwrap()]);
    assert!(File::create(view.join("new")).is_err());
    assert!(OpenOptions::new().write(true).open(&part).is_err());
    assert!(fs::read(view.join("3")).is_err());
    drop((inside, outside));
    // The loop devices are let go of a moment after they were unmounted.
    let umount = || tool::output("umount", &[view.to_str().unwrap()]);
    assert!(soon(|| umount().status.success()));
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn a_filesystem_of_any_kind_is_mounted_out_of_a_snapshot() {
    if lacks_root() {
        return;
    }
    for (kind, make) in [("xfs", ["mkfs.xfs", "-q"]), ("btrfs", ["mkfs.btrfs", "-q"])] {
        let klon = Klon::new();
        let (source, image) = (klon.path("source"), klon.path("source.klon"));
        sparse(&source, 320 * MIB);
        run(make[0], &[make[1], source.to_str().unwrap()]);
        let filled = Mount::new(&source, &klon.path("filled"), "loop");
        fs::write(filled.path().join("file"), tree::noise(3, 3_000_000)).unwrap();
        drop(filled);
        take(&klon, &source, &image);
        let (running, view) = mount(&klon, &format!("{}@1", image.display()));
        let file = view.join("latest/volume.img");
        let options = match kind {
            "xfs" => "loop,ro,norecovery",
            _ => "loop,ro",
        };
        let inside = Mount::new(&file, &klon.path("inside"), options);
        let found = fs::read(inside.path().join("file")).unwrap();
        assert!(found == tree::noise(3, 3_000_000), "{kind}");
        // Asked to end, klon stays for those who still read.
        running.signal("TERM");
        assert!(soon(|| !is_mounted(&view)), "{kind}");
        run("sh", &["-c", "echo 3 > /proc/sys/vm/drop_caches"]);
        let found = fs::read(inside.path().join("file")).unwrap();
        assert!(found == tree::noise(3, 3_000_000), "{kind}");
        drop(inside);
        assert_eq!(running.wait(), Some(0));
    }
}

#[test]
fn a_damaged_chunk_is_an_error_where_it_is() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (source, image) = (klon.path("source"), klon.path("source.klon"));
    let content = tree::noise(1, 4 << 20);
    fs::write(&source, &content).unwrap();
    take(&klon, &source, &image);
    flip(&image, MIB + 500_000);
    let (running, view) = mount(&klon, image.to_str().unwrap());
    let file = File::open(view.join("1/volume.img")).unwrap();
    let mut bytes = vec![0; 1 << 20];
    for (index, chunk) in content.chunks(1 << 20).enumerate() {
        let read = file.read_exact_at(&mut bytes, index as u64 * MIB);
        match index {
            1 => assert_eq!(read.unwrap_err().raw_os_error(), Some(5)),
            _ => assert!(bytes == chunk && read.is_ok(), "{index}"),
        }
    }
    drop(file);
    assert_eq!(running.end("INT").0, Some(0));
    assert!(!is_mounted(&view));
}

#[test]
fn only_an_empty_directory_is_mounted_on() {
    let klon = Klon::new();
    let (source, image) = (klon.path("source"), klon.text("source.klon"));
    fs::write(&source, tree::noise(1, 1 << 20)).unwrap();
    take(&klon, &source, Path::new(&image));
    let full = klon.text("full");
    fs::create_dir_all(klon.path("full/of")).unwrap();
    klon.refused(&["mount", &image, &full], &["is not empty", "would hide"]);
    klon.refused(&["mount", &image, "/proc"], &["is mounted on /proc"]);
    klon.run(&["mount", &image, &klon.text("none")]).expect(2);
    klon.run(&["mount", &image, source.to_str().unwrap()])
        .expect(2);
    klon.run(&["mount", &format!("{image}@7"), &full]).expect(2);
    // What keeps it from mounting is said by the one that was asked.
    let background = ["mount", "--background", &image, &full];
    klon.refused(&background, &["is not empty"]);
}

#[test]
fn in_the_background_it_is_mounted_when_the_command_returns() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let (source, image) = (klon.path("source"), klon.text("source.klon"));
    fs::write(&source, tree::noise(1, 1 << 20)).unwrap();
    take(&klon, &source, Path::new(&image));
    let view = klon.path("view");
    fs::create_dir(&view).unwrap();
    let said = klon.json(&["mount", "--background", &image, view.to_str().unwrap()]);
    assert_eq!(said["snapshots"], serde_json::json!([1]));
    same(&view.join("latest/volume.img"), &source);
    run("umount", &[view.to_str().unwrap()]);
    let process = format!("/proc/{}", said["pid"]);
    let gone = || {
        let status = fs::read_to_string(format!("{process}/status"));
        // Nobody may be there who collects it.
        status.map_or(true, |status| status.contains("\nState:\tZ"))
    };
    assert!(soon(gone), "{process}");
    let killed = tool::output("mountpoint", &["-q", view.to_str().unwrap()]);
    assert!(!killed.status.success());
}
