//! FAT volumes made by mkfs.fat and filled by mtools, against partclone, fsck.fat, blkid and a
//! plain decode of the FAT.

mod naive;

use crate::support::oracle;
use crate::support::tool::{command, run_command as run};
use crate::support::tree::noise;
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{self, Basis, Hazard, Kind, Usage};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A volume to make: its size and mkfs.fat's options.
struct Variant {
    kind: Kind,
    size_bytes: u64,
    options: &'static [&'static str],
}

macro_rules! variants {
    ($($name:ident: $kind:ident, $size_bytes:expr, $options:expr;)*) => {
        $(#[test]
        fn $name() {
            check(&Variant { kind: Kind::$kind, size_bytes: $size_bytes, options: &$options });
        })*
    };
}

const MEBIBYTE: u64 = 1 << 20;

variants! {
    floppy: Fat12, 1440 * 1024, ["-F", "12"];
    fat12_with_4096_byte_sectors_and_one_fat: Fat12, 6 * MEBIBYTE, ["-F", "12", "-S", "4096", "-f", "1"];
    fat12_with_64k_clusters: Fat12, 20 * MEBIBYTE, ["-F", "12", "-s", "128"];
    fat16_with_512_byte_clusters: Fat16, 6 * MEBIBYTE, ["-F", "16", "-s", "1"];
    fat16_with_4096_byte_sectors: Fat16, 20 * MEBIBYTE, ["-F", "16", "-S", "4096", "-s", "1"];
    fat16_unaligned_with_reserved_sectors: Fat16, 16 * MEBIBYTE, ["-F", "16", "-a", "-R", "7", "-s", "4"];
    fat16_with_four_fats: Fat16, 10 * MEBIBYTE, ["-F", "16", "-f", "4", "-n", "FOUR FATS"];
    fat32: Fat32, 40 * MEBIBYTE, ["-F", "32", "-n", "ESP"];
    fat32_unaligned_with_one_fat: Fat32, 40 * MEBIBYTE, ["-F", "32", "-a", "-f", "1", "-R", "64"];
    fat32_with_a_table_in_its_boot_sector: Fat32, 40 * MEBIBYTE, ["-F", "32", "--mbr=y"];
}

fn check(variant: &Variant) {
    let volume = Volume::make(variant);
    volume.fill();
    let bytes = volume.bytes();
    let usage = usage(&bytes);
    let summary = usage.summary.as_ref().expect("recognised");
    assert_eq!(summary.kind, variant.kind);
    assert_eq!(usage.basis, Basis::Map, "{:?}", summary.hazards);
    let naive = naive::used(&bytes);
    assert_eq!(usage.used(), naive.used, "differs from the plain decode");
    let free_bytes = summary.size_bytes - summary.used_bytes.expect("counted");
    assert_eq!(free_bytes, naive.free_bytes);
    // Partclone 0.3.23 misreads the FAT of FAT12 and loses files; fsck.fat knows better.
    if variant.kind != Kind::Fat12 {
        assert_eq!(
            usage.used(),
            volume.partclone_used(),
            "differs from partclone"
        );
    }
    assert_eq!(summary.uuid.as_deref(), volume.blkid("UUID").as_deref());
    assert_eq!(summary.label.as_deref(), volume.blkid("LABEL").as_deref());
    volume.check_copy_of(&usage.used(), &bytes);
    let contents = volume.contents(&bytes);
    assert!(contents.total_bytes() > 200_000);
    assert_eq!(metadata(&bytes), usage.used().difference(&contents));
    let cluster_bytes = u64::from(summary.block_size_bytes);
    if let Some((used, count)) = volume.fsck_clusters() {
        assert_eq!(free_bytes, (count - used) * cluster_bytes);
    }
}

/// mtools takes these for FAT12, so their file is written by hand.
#[test]
fn fat32_with_few_clusters() {
    for (megabytes, options) in [
        (20, &["-F", "32", "-S", "4096", "-s", "1"][..]),
        (30, &["-F", "32", "-s", "128"]),
        (5, &["-F", "32", "-s", "1", "-f", "1"]),
    ] {
        let volume = Volume::make(&Variant {
            kind: Kind::Fat32,
            size_bytes: megabytes * MEBIBYTE,
            options,
        });
        let mut bytes = volume.bytes();
        let file = naive::add_file(&mut bytes, &[5, 6, 30, 9]);
        fs::write(&volume.image, &bytes).expect("write image");
        let usage = usage(&bytes);
        assert_eq!(usage.basis, Basis::Map);
        assert_eq!(usage.used(), naive::used(&bytes).used);
        assert_eq!(usage.used(), volume.partclone_used());
        assert!(file.iter().all(|extent| usage.used().contains(extent)));
        volume.check_copy_of(&usage.used(), &bytes);
    }
}

fn usage(bytes: &[u8]) -> Usage {
    filesystem::usage(&MemoryDevice::new(bytes.to_vec(), 512)).expect("memory reads")
}

fn metadata(bytes: &[u8]) -> ExtentMap {
    let device = MemoryDevice::new(bytes.to_vec(), 512);
    let filesystem = filesystem::probe(&device).unwrap().expect("recognised");
    filesystem.metadata(&device).unwrap().expect("told apart")
}

/// A volume in a file.
struct Volume {
    directory: TempDir,
    image: PathBuf,
}

impl Volume {
    fn make(variant: &Variant) -> Self {
        let directory = TempDir::new().expect("temporary directory");
        let image = directory.path().join("volume.img");
        let file = fs::File::create(&image).expect("create image");
        file.set_len(variant.size_bytes).expect("size image");
        run(command("mkfs.fat").args(variant.options).arg(&image));
        Self { directory, image }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.image).expect("read image")
    }

    fn mtools(&self, program: &str, arguments: &[&str]) {
        mtools(program, &self.image, arguments);
    }

    fn host_file(&self, name: &str, len: usize) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, noise(len as u64 + 1, len)).expect("write file");
        path.display().to_string()
    }

    /// Files and directories, some deleted, so that what comes last is in pieces.
    fn fill(&self) {
        let lens = [1, 700, 5000, 20_000, 66_000];
        let files = lens.map(|len| self.host_file(&format!("file{len}"), len));
        self.mtools("mmd", &["::/first", "::/first/second"]);
        for (index, file) in (0..40).zip(files.iter().cycle()) {
            let directory = ["", "/first", "/first/second"][index % 3];
            let target = format!("::{directory}/A rather long name, number {index}.data");
            self.mtools("mcopy", &[file, &target]);
            if index % 4 == 3 {
                let earlier = index - 3;
                let directory = ["", "/first", "/first/second"][earlier % 3];
                let path = format!("::{directory}/A rather long name, number {earlier}.data");
                self.mtools("mdel", &[&path]);
            }
        }
        let large = self.host_file("large", 150_000);
        self.mtools("mcopy", &[&large, "::/first/LARGE.BIN"]);
    }

    /// The clusters of all files, by mtools.
    fn contents(&self, bytes: &[u8]) -> ExtentMap {
        let script = "mdir -b -/ -i \"$0\" ::/ | grep -v '/$' | tr '\\n' '\\0' |
            xargs -0 mshowfat -i \"$0\"";
        let image = self.image.to_str().unwrap();
        let text = crate::support::run("sh", &["-ec", script, image]);
        let ranges = text.split('<').skip(1);
        ranges
            .map(|range| {
                let range = range.split_once('>').unwrap().0;
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                naive::clusters(bytes, first.parse().unwrap(), last.parse().unwrap())
            })
            .collect()
    }

    fn partclone_used(&self) -> ExtentMap {
        oracle::partclone_used("fat", &self.image)
    }

    /// Used and all clusters as fsck.fat counts them.
    fn fsck_clusters(&self) -> Option<(u64, u64)> {
        let text = fsck(&self.image)?;
        let words = text.split_once(" files, ").expect("fsck.fat's last line").1;
        let (used, rest) = words.split_once('/').expect("used/all");
        let count = rest.split_whitespace().next().expect("all");
        Some((used.parse().ok()?, count.parse().ok()?))
    }

    fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// A copy of nothing but `used`, onto noise, must be a sound volume with the same files.
    fn check_copy_of(&self, used: &ExtentMap, bytes: &[u8]) {
        let mut copy = noise(7, bytes.len());
        for extent in used.iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            copy[range.clone()].copy_from_slice(&bytes[range]);
        }
        let image = self.directory.path().join("copy.img");
        fs::write(&image, copy).expect("write copy");
        fsck(&image);
        if naive::has_few_clusters(bytes) {
            return;
        }
        let trees = [&self.image, &image].map(|image| {
            let tree = TempDir::new().expect("temporary directory");
            let target = tree.path().display().to_string();
            mtools("mcopy", image, &["-s", "-m", "::", &target]);
            tree
        });
        run(command("diff")
            .arg("-r")
            .args(trees.iter().map(TempDir::path)));
    }
}

/// What fsck.fat prints of a sound volume; `None` when it has more FATs than fsck.fat handles.
fn fsck(image: &Path) -> Option<String> {
    let output = command("fsck.fat").arg("-n").arg(image).output();
    let output = output.expect("fsck.fat is needed (dosfstools)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if text.contains("only 1 or 2 FATs are supported") {
        return None;
    }
    assert!(output.status.success(), "{text}");
    Some(text)
}

fn mtools(program: &str, image: &Path, arguments: &[&str]) {
    run(command(program).arg("-i").arg(image).args(arguments));
}

const FAT16: Variant = Variant {
    kind: Kind::Fat16,
    size_bytes: 16 * MEBIBYTE,
    options: &["-F", "16", "-n", "SMALL"],
};
const FAT32: Variant = Variant {
    kind: Kind::Fat32,
    size_bytes: 40 * MEBIBYTE,
    options: &["-F", "32"],
};

fn hazards(bytes: &[u8]) -> Vec<Hazard> {
    let usage = usage(bytes);
    assert_eq!(usage.used(), ExtentMap::whole(bytes.len() as u64));
    assert!(matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    ));
    usage.summary.expect("recognised").hazards
}

#[test]
fn a_volume_that_calls_itself_dirty_is_copied_whole() {
    // The state byte, and FAT[1] of both copies by the BPB's own figures.
    for (variant, state, entry, clean_byte) in [(FAT16, 0x25, 3, 0x80), (FAT32, 0x41, 7, 0x08)] {
        let clean = Volume::make(&variant).bytes();
        let by_state = with(&clean, &[state], |byte| byte | 1);
        assert!(matches!(
            hazards(&by_state)[..],
            [Hazard::NotCleanlyUnmounted(_)]
        ));
        let by_state = with(&clean, &[state], |byte| byte | 2);
        assert!(matches!(hazards(&by_state)[..], [Hazard::Errors(_)]));
        let fats = naive::fat_offsets(&clean);
        let entries: Vec<usize> = fats.iter().map(|fat| fat + entry).collect();
        let by_fat = with(&clean, &entries, |byte| byte & !clean_byte);
        assert!(matches!(
            hazards(&by_fat)[..],
            [Hazard::NotCleanlyUnmounted(_)]
        ));
        let by_fat = with(&clean, &entries, |byte| byte & !(clean_byte >> 1));
        assert!(matches!(hazards(&by_fat)[..], [Hazard::Errors(_)]));
    }
}

fn with(bytes: &[u8], offsets: &[usize], change: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for &offset in offsets {
        changed[offset] = change(changed[offset]);
    }
    changed
}

#[test]
fn differing_copies_of_the_fat_prove_nothing() {
    let bytes = Volume::make(&FAT16).bytes();
    let second = naive::fat_offsets(&bytes)[1];
    let differing = with(&bytes, &[second + 400], |_| 9);
    assert!(matches!(hazards(&differing)[..], [Hazard::Damaged(_)]));
}

#[test]
fn copies_that_are_not_mirrored_count_together() {
    let volume = Volume::make(&FAT32);
    volume.fill();
    let bytes = volume.bytes();
    let fats = naive::fat_offsets(&bytes);
    // BPB_ExtFlags: not mirrored, the second copy is active.
    let mut changed = with(&bytes, &[0x28], |_| 0x81);
    let last_entry = 4 * 70_000;
    changed[fats[1] + last_entry..][..4].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    let (before, after) = (usage(&bytes), usage(&changed));
    assert_eq!(after.basis, Basis::Map);
    assert_eq!(after.used().difference(&before.used()).total_bytes(), 512);
    assert!(before.used().difference(&after.used()).is_empty());
}

#[test]
fn neither_bad_clusters_nor_space_after_the_end_are_copied() {
    let directory = TempDir::new().expect("temporary directory");
    let list = directory.path().join("bad");
    fs::write(&list, "9000\n9001\n").expect("write list");
    let image = directory.path().join("volume.img");
    let file = fs::File::create(&image).expect("create image");
    file.set_len(16 * MEBIBYTE).expect("size image");
    run(command("mkfs.fat")
        .args(["-F", "16", "-l"])
        .arg(&list)
        .arg(&image)
        .arg("12000"));
    let bytes = fs::read(&image).expect("read image");
    let usage = usage(&bytes);
    assert_eq!(usage.basis, Basis::Map);
    let bad = Extent::new(9000 * 1024, 2048).unwrap();
    assert!(!usage.extents.overlaps(bad));
    let listed = filesystem::known_bad(&MemoryDevice::new(bytes, 512)).unwrap();
    // Clusters of 2 KiB, of which one or two are those blocks.
    assert!(
        listed.contains(bad) && listed.total_bytes() <= 8192,
        "{listed:?}"
    );
    assert!(usage.used().end_bytes() <= 12_000 * 1024);
}

#[test]
fn bytes_are_traced_to_their_files() {
    let volume = Volume::make(&FAT32);
    volume.fill();
    let marker = b"here is a very particular marker";
    let mut content = noise(3, 100_000);
    content[77_777..][..marker.len()].copy_from_slice(marker);
    let path = volume.directory.path().join("marked");
    fs::write(&path, content).expect("write file");
    volume.mtools(
        "mcopy",
        &[
            path.to_str().unwrap(),
            "::/first/second/Marked file \u{e9}.txt",
        ],
    );
    let bytes = volume.bytes();
    let at = bytes
        .windows(marker.len())
        .position(|window| window == marker)
        .expect("marker on the volume");
    let wanted = Extent::new(at as u64, 4).unwrap();
    let device = MemoryDevice::new(bytes, 512);
    let filesystem = filesystem::probe(&device).unwrap().expect("recognised");
    let owners = filesystem.owners(&device, &wanted.into(), 10).files;
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(owners[0].path, "/first/second/Marked file \u{e9}.txt");
    assert_eq!(
        (owners[0].file_offset_bytes, owners[0].extent),
        (77_777, wanted)
    );
    let everything = ExtentMap::whole(40 * MEBIBYTE);
    assert_eq!(filesystem.owners(&device, &everything, 5).files.len(), 5);
    // Root, two directories, 30 files left of 40, and two more.
    let all = filesystem.owners(&device, &everything, 1000).files;
    assert_eq!(all.len(), 35, "{all:?}");
}
