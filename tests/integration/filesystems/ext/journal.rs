//! The log of an empty journal against the map of its blocks that debugfs gives.

use super::tool::run;
use super::variant::VARIANTS;
use super::{ImageFile, filesystem};
use klon_partition::filesystem::usage;
use klon_partition::{Extent, ExtentMap};
use std::fmt::Write as _;
use std::path::Path;

/// All blocks of the journal but the first, by debugfs.
fn log_by_debugfs(image: &Path, directory: &Path, block_bytes: u64) -> ExtentMap {
    let whole = directory.join("journal");
    let image = image.to_str().unwrap();
    run(
        "debugfs",
        &[
            "-R",
            &format!("dump <8> {}", whole.to_str().unwrap()),
            image,
        ],
    );
    let blocks = std::fs::metadata(&whole).unwrap().len() / block_bytes;
    let mut commands = String::new();
    for block in 1..blocks {
        writeln!(commands, "bmap <8> {block}").unwrap();
    }
    let script = directory.join("commands");
    std::fs::write(&script, commands).unwrap();
    let text = run("debugfs", &["-f", script.to_str().unwrap(), image]);
    let blocks = text.lines().filter_map(|line| line.parse::<u64>().ok());
    let blocks = blocks.filter(|&block| block != 0);
    blocks
        .map(|block| Extent::new(block * block_bytes, block_bytes).unwrap())
        .collect()
}

#[test]
fn the_log_is_the_journal_without_its_superblock() {
    let mut journals = 0;
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&device);
        let block_bytes = u64::from(filesystem.summary().block_size_bytes);
        let log = filesystem.empty_log(&device);
        let name = variant.name;
        let features = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
        let is_internal = features.contains("Journal inode:            8");
        if !is_internal {
            assert!(log.is_empty(), "{name}");
            continue;
        }
        journals += 1;
        let expected = log_by_debugfs(&image, directory.path(), block_bytes);
        assert!(!expected.is_empty(), "{name}");
        super::assert_same(&log, &expected, name);
        let usage = usage(&device).unwrap();
        assert!(log.difference(&usage.used()).is_empty(), "{name}");
        assert!(log.difference(&usage.blank(&device)).is_empty(), "{name}");
    }
    assert!(journals >= 5, "{journals}");
}
