//! ISO 9660, squashfs and EROFS against the tools that make and unpack them.

mod disc;
mod erofs;
mod squashfs;

use super::image_file::ImageFile;
use crate::support::oracle::copy_onto_noise;
use crate::support::tree::fill;
use crate::support::{Mount, run};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::{Extent, ExtentMap};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The size of the volumes: that of the image, and this.
const ROOM_BYTES: u64 = 20 << 20;

/// Files of all sizes, some of which compress.
fn tree(directory: &Path) {
    fill(directory, 3, 1);
    std::fs::write(directory.join("zeroes"), vec![0; 700_000]).unwrap();
    let lines: String = (0..40_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    std::fs::write(directory.join("lines"), lines).unwrap();
    std::os::unix::fs::symlink("lines", directory.join("link")).unwrap();
}

fn look(image: &Path) -> Usage {
    usage(&ImageFile::open(image)).unwrap()
}

fn mapped(image: &Path, name: &str) -> ExtentMap {
    let usage = look(image);
    assert_eq!(usage.basis, Basis::Map, "{name}");
    usage.used()
}

fn len_bytes(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

fn grow(image: &Path, more_bytes: u64) {
    let file = OpenOptions::new().write(true).open(image).unwrap();
    file.set_len(len_bytes(image) + more_bytes).unwrap();
}

fn write(image: &Path, bytes: &[u8], offset_bytes: u64) {
    let file = OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

fn assert_same_files(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| path.to_str().unwrap());
    run("diff", &["-r", "--no-dereference", one, other]);
}

/// Copies what is in use of a filesystem with room behind it, and has the kernel read both.
fn check_by_kernel(image: &Path, directory: &Path) {
    grow(image, ROOM_BYTES);
    let target = directory.join("copy");
    copy_onto_noise(image, &target, &mapped(image, "image"));
    let one = Mount::new(image, &directory.join("one"), "loop,ro");
    let other = Mount::new(&target, &directory.join("other"), "loop,ro");
    assert_same_files(one.path(), other.path());
}

/// Fails unless all of the volume is copied, what lies at `at` because no one proved it free.
fn assert_copied(image: &Path, at: u64, name: &str) {
    let usage = look(image);
    let place = Extent::new(at, 1).unwrap();
    assert!(usage.unproven.contains(place), "{name}: {at:#x}");
    assert_eq!(usage.basis, Basis::Map, "{name}");
    assert_eq!(usage.extents.total_bytes(), len_bytes(image), "{name}");
}

/// The number after `key` in what a tool printed.
fn number_after(text: &str, key: &str) -> u64 {
    let (_, rest) = text
        .split_once(key)
        .unwrap_or_else(|| panic!("no {key:?} in {text}"));
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
