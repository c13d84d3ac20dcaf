//! Volumes formatted twice, without wiping what was there before: every ordered pair of the tools
//! that format. The older filesystem's map must never be believed.

use super::image_file::ImageFile;
use crate::support::image::sparse;
use crate::support::tool::{command, output};
use klon_partition::filesystem::{Basis, usage};
use std::path::Path;
use std::process::Stdio;

const SIZE_BYTES: u64 = 320 << 20;

/// The kind that blkid and klon call it, and what makes it in `$0`, with wiping and discarding
/// switched off where the tool has an option for it. `$1` is a directory for files.
const TOOLS: &[(&str, &str)] = &[
    ("ext4", "mke2fs -q -F -t ext4 -E nodiscard \"$0\""),
    ("ext2", "mke2fs -q -F -t ext2 -b 1024 -E nodiscard \"$0\""),
    ("xfs", "mkfs.xfs -q -f -K \"$0\""),
    ("btrfs", "mkfs.btrfs -q -f -K \"$0\""),
    ("ntfs", "mkntfs -q -F -f \"$0\""),
    ("fat32", "mkfs.fat -F 32 \"$0\""),
    ("fat16", "mkfs.fat -F 16 \"$0\""),
    ("exfat", "mkfs.exfat \"$0\""),
    ("f2fs", "mkfs.f2fs -q -f -t 0 \"$0\""),
    ("apfs", "mkapfs \"$0\""),
    ("swap", "mkswap -q -f \"$0\""),
    ("nilfs2", "mkfs.nilfs2 -q -f -K \"$0\""),
    ("reiserfs", "mkfs.reiserfs -q -f \"$0\""),
    ("jfs", "mkfs.jfs -q \"$0\""),
    ("udf", "mkudffs \"$0\""),
    (
        "ufs",
        "makefs -t ffs -s 16m \"$1\"/new \"$1\"/tree; dd if=\"$1\"/new of=\"$0\" bs=1M conv=notrunc",
    ),
    (
        "squashfs",
        "rm -f \"$1\"/new; mksquashfs \"$1\"/tree \"$1\"/new; dd if=\"$1\"/new of=\"$0\" bs=4k conv=notrunc",
    ),
    (
        "erofs",
        "mkfs.erofs \"$1\"/new \"$1\"/tree; dd if=\"$1\"/new of=\"$0\" bs=4k conv=notrunc",
    ),
    (
        "iso9660",
        "xorriso -as mkisofs -o \"$1\"/new \"$1\"/tree; dd if=\"$1\"/new of=\"$0\" bs=4k conv=notrunc",
    ),
    (
        "luks",
        "cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
         --key-file /proc/version \"$0\"",
    ),
];

fn format(script: &str, image: &Path, directory: &Path) -> bool {
    let status = command("sh")
        .args(["-ec", script])
        .args([image, directory])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

/// What blkid says: a type, or that it can't tell (exit code 8).
fn blkid(image: &Path) -> String {
    let output = output(
        "blkid",
        &["-p", "-s", "TYPE", "-o", "value", image.to_str().unwrap()],
    );
    match output.status.code() {
        Some(8) => "ambivalent".to_owned(),
        _ => String::from_utf8(output.stdout).unwrap().trim().to_owned(),
    }
}

/// What became of the pairs.
#[derive(Default)]
struct Tally {
    mapped: u32,
    ambiguous: u32,
    /// Where blkid can't tell and klon has a map: the older one's checks don't hold any more.
    bold: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    /// Formats with every other tool over `older`.
    fn of(older: &str, first: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), "content").unwrap();
        let (base, image) = (
            directory.path().join("base"),
            directory.path().join("image"),
        );
        sparse(&base, SIZE_BYTES);
        assert!(format(first, &base, directory.path()), "{first}");
        let mut tally = Self::default();
        for (newer, second) in TOOLS.iter().filter(|(newer, _)| *newer != older) {
            let [from, to] = [&base, &image].map(|path| path.to_str().unwrap());
            crate::support::run("cp", &["--sparse=always", from, to]);
            assert!(
                format(second, &image, directory.path()),
                "{second} over {older}"
            );
            tally.add(older, newer, &image);
        }
        tally
    }

    fn add(&mut self, older: &str, newer: &str, image: &Path) {
        let usage = usage(&ImageFile::open(image)).unwrap();
        let kind = usage.summary.map(|summary| summary.kind.to_string());
        let kind = kind.unwrap_or_default();
        let blkid = blkid(image);
        if usage.basis == Basis::Map && blkid == "ambivalent" {
            self.bold.push(format!("{newer} over {older}"));
        }
        match usage.basis {
            Basis::Map if kind == newer => self.mapped += 1,
            Basis::Map => self
                .wrong
                .push(format!("{newer} over {older}: {kind} ({blkid})")),
            Basis::Whole { reason, .. } | Basis::Contained { reason } => {
                let is_ambiguous = reason.contains("signatures are on it");
                self.ambiguous += u32::from(is_ambiguous);
                assert_eq!(
                    usage.extents.total_bytes(),
                    SIZE_BYTES,
                    "{newer} over {older}"
                );
                if !is_ambiguous && kind != newer {
                    self.wrong
                        .push(format!("{newer} over {older}: {reason} ({blkid})"));
                }
            }
        }
    }
}

#[test]
fn the_older_of_two_filesystems_is_never_believed() {
    let tools = std::sync::Mutex::new(TOOLS.iter());
    let work = || {
        let mut tallies = Vec::new();
        loop {
            let next = tools.lock().unwrap().next();
            let Some((older, first)) = next else {
                return tallies;
            };
            tallies.push(Tally::of(older, first));
        }
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let wrong: Vec<&str> = tallies
        .iter()
        .flat_map(|it| &it.wrong)
        .map(String::as_str)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let sum = |of: fn(&Tally) -> u32| tallies.iter().map(of).sum::<u32>();
    let (mapped, ambiguous) = (sum(|it| it.mapped), sum(|it| it.ambiguous));
    let bold: Vec<&str> = tallies
        .iter()
        .flat_map(|it| &it.bold)
        .map(String::as_str)
        .collect();
    println!(
        "{mapped} by the map of the newer, {ambiguous} ambiguous; blkid can't tell: {}",
        bold.join(", ")
    );
    assert!(
        mapped >= 120 && ambiguous >= 10,
        "{mapped} mapped, {ambiguous} ambiguous"
    );
}
