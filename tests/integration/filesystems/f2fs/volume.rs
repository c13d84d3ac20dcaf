//! F2FS volumes in files: made by mkfs.f2fs, filled by sload.f2fs, judged by other tools.

use super::super::image_file::ImageFile;
use crate::support::{MIB, oracle, run};
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, File};
use std::path::PathBuf;
use tempfile::TempDir;

/// Options of `mkfs.f2fs`, and of `sload.f2fs`.
pub(in super::super) struct Variant {
    pub(super) name: &'static str,
    size_mib: u64,
    make: &'static [&'static str],
    load: &'static [&'static str],
}

const fn variant(
    name: &'static str,
    size_mib: u64,
    make: &'static [&'static str],
    load: &'static [&'static str],
) -> Variant {
    Variant {
        name,
        size_mib,
        make,
        load,
    }
}

const FEATURES: &str = "extra_attr,inode_checksum,sb_checksum,inode_crtime,\
    quota,project_quota,lost_found,verity,encrypt";

pub(super) const VARIANTS: &[Variant] = &[
    variant("default", 128, &["-l", "Gr\u{f6}\u{df}e"], &[]),
    variant("features", 131, &["-l", "klon", "-O", FEATURES], &[]),
    variant("sections", 260, &["-s", "2", "-z", "2"], &[]),
    variant("large NAT bitmap", 160, &["-i", "-w", "4096"], &[]),
    variant("compression", 128, &["-O", "extra_attr,compression"], &[]),
    variant("read-only", 120, &["-O", "extra_attr,compression,ro"], &[]),
    variant("casefold", 128, &["-C", "utf8", "-O", "casefold"], &[]),
    variant("small", 96, &["-l", "small"], &[]),
];

/// A volume in a file.
pub(in super::super) struct Volume {
    pub(in super::super) directory: TempDir,
    pub(in super::super) image: PathBuf,
    load: &'static [&'static str],
}

/// The fields that `dump.f2fs -d 1` prints.
pub(in super::super) struct Layout(String);

impl Layout {
    /// A number of superblock or checkpoint.
    pub(in super::super) fn number(&self, name: &str) -> u64 {
        let line = self
            .0
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", self.0));
        let (_, value) = line.rsplit_once(':').unwrap();
        value.trim().trim_end_matches(']').parse().unwrap()
    }

    /// A block's first byte.
    pub(in super::super) fn byte(&self, name: &str) -> u64 {
        self.number(name) << self.number("log_blocksize")
    }
}

impl Volume {
    pub(in super::super) fn empty(size_mib: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        File::create(&image)
            .unwrap()
            .set_len(size_mib * MIB)
            .unwrap();
        Self {
            directory,
            image,
            load: &[],
        }
    }

    pub(in super::super) fn make(variant: &Variant) -> Self {
        let volume = Self::format(variant.size_mib, variant.make);
        Self {
            load: variant.load,
            ..volume
        }
    }

    /// An empty filesystem.
    pub(in super::super) fn format(size_mib: u64, options: &[&str]) -> Self {
        let volume = Self::empty(size_mib);
        run(
            "mkfs.f2fs",
            &[&["-q", "-f"], options, &[volume.text()]].concat(),
        );
        volume
    }

    /// What is not contents of files.
    pub(in super::super) fn metadata(&self) -> ExtentMap {
        let device = ImageFile::open(&self.image);
        let filesystem = probe(&device).unwrap().unwrap();
        filesystem.metadata(&device).unwrap().unwrap()
    }

    pub(in super::super) fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    pub(in super::super) fn open(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.image)
            .unwrap()
    }

    pub(in super::super) fn size_bytes(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }

    /// Adds files of many sizes below `at`.
    pub(in super::super) fn load(&self, round: u64, at: &str) {
        let source = self.directory.path().join(format!("source{round}"));
        crate::support::tree::fill(&source, round, 2);
        fs::write(
            source.join(format!("text{round}")),
            "compressible ".repeat(9000),
        )
        .unwrap();
        std::os::unix::fs::symlink("text", source.join("link")).unwrap();
        let at = if at == "/" {
            at.to_owned()
        } else {
            format!("{at}{round}")
        };
        let source = source.to_str().unwrap();
        let options = ["-P", "-T", "0", "-t", &at, "-f", source];
        run(
            "sload.f2fs",
            &[&options[..], self.load, &[self.text()]].concat(),
        );
    }

    /// The contents of the first files by number, as `dump.f2fs` reads them.
    pub(in super::super) fn contents(&self) -> Vec<Vec<u8>> {
        let script = "
            mkdir -p \"$0/files\" && cd \"$0/files\"
            for number in $(seq 4 30); do
                rm -rf lost_found
                echo Y | dump.f2fs -i $number \"$1\" > log || continue
                for file in lost_found/*; do
                    [ ! -f \"$file\" ] || mv \"$file\" $number
                done
            done";
        let directory = self.directory.path();
        run(
            "sh",
            &["-ec", script, directory.to_str().unwrap(), self.text()],
        );
        (4..=30)
            .filter_map(|number| fs::read(directory.join(format!("files/{number}"))).ok())
            .collect()
    }

    pub(in super::super) fn layout(&self) -> Layout {
        Layout(run("dump.f2fs", &["-d", "1", self.text()]))
    }

    /// What is in use by the SIT as `dump.f2fs` prints it, and all before the main area.
    pub(in super::super) fn dump_used(&self) -> ExtentMap {
        let script = "cd \"$0\" && dump.f2fs -s 0~-1 \"$1\" > /dev/null && cat dump_sit";
        let directory = self.directory.path().to_str().unwrap();
        let text = run("sh", &["-ec", script, directory, self.text()]);
        let layout = self.layout();
        let main_block = layout.number("main_blkaddr");
        let block_bytes = 1 << layout.number("log_blocksize");
        let mut used = vec![Extent::new(0, main_block * block_bytes).unwrap()];
        let mut block = main_block;
        for line in text.lines() {
            if let Some(segment) = line.strip_prefix("segno:") {
                let segment: u64 = segment.split_whitespace().next().unwrap().parse().unwrap();
                block = main_block + segment * 512;
            } else if line.starts_with("  ") {
                for byte in line.split_whitespace() {
                    let byte = u8::from_str_radix(byte, 16).unwrap();
                    for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                        let at = (block + bit) * block_bytes;
                        used.push(Extent::new(at, block_bytes).unwrap());
                    }
                    block += 8;
                }
            }
        }
        used.into_iter().collect()
    }

    /// What partclone would copy, from its ddrescue domain file, up to the end of the main area:
    /// beyond that it takes for bits what follows its table in memory. Its library refuses
    /// volumes of less than 100 MiB, and doesn't know the checksum of large NAT bitmaps.
    pub(in super::super) fn partclone_used(&self) -> Option<ExtentMap> {
        let layout = self.layout();
        let has_large_bitmap = layout.number("ckpt_flags") & 0x400 != 0;
        if self.size_bytes() < 100 * MIB || has_large_bitmap {
            return None;
        }
        let used = oracle::partclone_used("f2fs", &self.image);
        let blocks = layout.number("segment_count_main") * 512;
        let end_bytes = layout.byte("main_blkaddr") + (blocks << layout.number("log_blocksize"));
        Some(used.intersection(&ExtentMap::whole(end_bytes)))
    }

    pub(in super::super) fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// Fails unless `fsck.f2fs` finds nothing.
    pub(in super::super) fn fsck(&self, name: &str) {
        let text = run("fsck.f2fs", &["--dry-run", "-f", self.text()]);
        let lines = || text.lines().filter(|line| line.starts_with("[FSCK]"));
        assert!(
            lines().filter(|line| line.contains("[Ok..]")).count() > 8,
            "{name}: {text}"
        );
        assert!(
            !text.contains("[Fail]") && !text.contains("[ASSERT]"),
            "{name}: {text}"
        );
    }

    /// A copy of nothing but `used`, onto noise.
    pub(in super::super) fn copy_of(&self, used: &ExtentMap) -> Self {
        let copy = Self::empty(0);
        oracle::copy_onto_noise(&self.image, &copy.image, used);
        copy
    }
}
