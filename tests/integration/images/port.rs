//! Images given to other programs and taken from them: raw, qcow2, bmap, partclone, Clonezilla.

mod clonezilla;
mod described;
mod export;
mod extract;
mod fields;
mod foreign;
mod packed;
mod partclone;
mod qcow2;
mod saved;
mod split;

use crate::support::image::{fat, sparse};
use crate::support::{Klon, MIB, run, tree};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::Path;

/// What of the last snapshot of an image is data.
pub(super) fn data(klon: &Klon, image: &str) -> ExtentMap {
    let info = klon.json(&["info", image]);
    serde_json::from_value(info["data"].clone()).unwrap()
}

/// Fails unless two files are the same in these extents.
pub(super) fn assert_same_in(one: &Path, other: &Path, extents: &ExtentMap) {
    use std::os::unix::fs::FileExt;
    let files = [one, other].map(|path| fs::File::open(path).unwrap());
    for part in extents.iter().flat_map(|extent: Extent| extent.split(MIB)) {
        let read = |file: &fs::File| {
            let mut bytes = vec![0; part.len_bytes() as usize];
            file.read_exact_at(&mut bytes, part.offset_bytes()).unwrap();
            bytes
        };
        assert!(read(&files[0]) == read(&files[1]), "{part} differs");
    }
}

fn cmp(klon: &Klon, one: &str, other: &str) {
    run("cmp", &[&klon.text(one), &klon.text(other)]);
}

/// A volume of a kind that partclone knows, with files in it.
fn volume(kind: &str, path: &Path) {
    let file = path.to_str().unwrap();
    let content = path.with_extension("content");
    fs::write(&content, tree::noise(3, 700_000)).unwrap();
    let content_text = content.to_str().unwrap();
    match kind {
        "extfs" => crate::support::image::ext4(path, 24, 4),
        "fat" => fat(path, 17, 512),
        "ntfs" => {
            sparse(path, 12 * MIB);
            run("mkfs.ntfs", &["-q", "-F", "-L", "Files", file]);
            run("ntfscp", &["-f", "-q", file, content_text, "/some file"]);
        }
        "xfs" => {
            sparse(path, 300 * MIB);
            let prototype = path.with_extension("prototype");
            let text = format!("boot 0 0\nd--755 0 0\nfile ---644 0 0 {content_text}\n$\n");
            fs::write(&prototype, text).unwrap();
            run("mkfs.xfs", &["-q", "-p", prototype.to_str().unwrap(), file]);
            fs::remove_file(prototype).unwrap();
        }
        other => panic!("{other}"),
    }
    fs::remove_file(content).unwrap();
}

/// Saves a volume with partclone.
fn save(kind: &str, klon: &Klon, volume: &str, image: &str, options: &[&str]) {
    let (source, output, log) = (klon.text(volume), klon.text(image), klon.text("log"));
    let mut arguments = vec!["-c", "-q", "-L", &log, "-s", &source, "-O", &output];
    arguments.extend(options);
    run(&format!("partclone.{kind}"), &arguments);
}

/// Restores an image with partclone over a file that is there.
fn restore(klon: &Klon, image: &str, target: &str) {
    let (source, output, log) = (klon.text(image), klon.text(target), klon.text("log"));
    let arguments = ["-q", "-C", "-L", &log, "-s", &source, "-O", &output];
    run("partclone.restore", &arguments);
}
