//! Whose the bytes of an ext volume are.

use super::super::image_file::ImageFile;
use super::tool::{Mount, is_root, run};
use super::variant::{VARIANTS, Variant};
use super::{age, filesystem};
use klon_partition::device::{Fault, FaultAt};
use klon_partition::filesystem::Owner;
use klon_partition::{Extent, ExtentMap, ReadAt};

#[test]
fn owners_are_those_of_debugfs() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&device);
        let block_bytes = u64::from(filesystem.summary().block_size_bytes);
        let files = [
            ("/a/file-39", 38_883),
            ("/a/file-7", 6_979),
            ("/a/b/large", 3_000_000),
        ];
        for (path, len_bytes) in files {
            let last = (len_bytes - 1) / block_bytes;
            for file_block in [0, last / 3, last] {
                let command = format!("bmap {path} {file_block}");
                let block = run("debugfs", &["-R", &command, image.to_str().unwrap()]);
                let block: u64 = block.trim().parse().unwrap();
                // The last bytes of the block alone.
                let extent = Extent::new((block + 1) * block_bytes - 7, 7).unwrap();
                let owners = filesystem.owners(&device, &extent.into(), 10);
                assert_eq!(owners.gaps, [""; 0], "{}", variant.name);
                let expected = Owner {
                    path: path.to_owned(),
                    file_offset_bytes: (file_block + 1) * block_bytes - 7,
                    extent,
                    inline_sha256: None,
                };
                assert_eq!(owners.files, [expected], "{}", variant.name);
            }
        }
    }
}

/// Files in pieces, deep directories and hash trees, as the kernel makes them.
#[test]
fn owners_of_a_whole_volume_are_its_files() {
    if !is_root() {
        return;
    }
    for name in ["1k", "ext3", "bigalloc"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        age(variant, &image, directory.path());
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let script = "
            mkdir -p \"$0\"/x/y/z/many && cd \"$0\"/x/y/z/many
            for i in $(seq 1500); do echo $i > a-file-with-a-long-name-$i; done
            for i in $(seq 0 2 200); do
                dd if=/dev/zero of=../holes bs=1k count=1 seek=$((i * 17)) conv=notrunc status=none
            done";
        run("sh", &["-e", "-c", script, mount.path()]);
        let find = "cd \"$0\" && find . -size +0 \\( -type f -o -type d \\) | sed 's/^.//'";
        let mut expected: Vec<String> = run("sh", &["-c", find, mount.path()])
            .lines()
            .map(str::to_owned)
            .collect();
        expected[0] = "/".to_owned();
        drop(mount);
        let device = ImageFile::open(&image);
        let all = ExtentMap::whole(device.geometry().size_bytes);
        let owners = filesystem(&device).owners(&device, &all, usize::MAX);
        assert_eq!(owners.gaps, [""; 0], "{name}");
        let mut paths: Vec<String> = owners.files.into_iter().map(|owner| owner.path).collect();
        paths.sort();
        expected.sort();
        let only = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter()
                .filter(|path| b.binary_search(path).is_err())
                .cloned()
                .collect()
        };
        assert_eq!(only(&paths, &expected), [] as [&str; 0], "{name}");
        assert_eq!(only(&expected, &paths), [] as [&str; 0], "{name}");
    }
}

/// Each block that holds an inode, a directory or a map is bad once: files elsewhere are found.
#[test]
fn owners_are_found_around_bad_sectors() {
    let variant = &VARIANTS[0];
    let directory = tempfile::tempdir().unwrap();
    let image = variant.make(directory.path());
    let device = ImageFile::open(&image);
    let filesystem = filesystem(&device);
    let all = ExtentMap::whole(device.geometry().size_bytes);
    let paths = |device: &dyn ReadAt| {
        let found = filesystem.owners(device, &all, usize::MAX);
        let paths = found.files.into_iter().map(|file| file.path);
        (paths.collect::<Vec<_>>(), found.gaps)
    };
    let (sound, gaps) = paths(&device);
    assert_eq!(gaps, [""; 0]);
    assert!(sound.len() > 40);
    let block_bytes = u64::from(filesystem.summary().block_size_bytes);
    let used = filesystem.used(&device).unwrap().unwrap();
    let mut bad_blocks = 0;
    let is_read = |extent: &Extent| {
        let counted = FaultAt::new(&device, Some(Fault::Unreadable(*extent)));
        let _ = paths(&counted);
        counted.has_tripped()
    };
    let large = used.iter().flat_map(|extent| extent.split(1 << 18));
    let read = large.filter(is_read);
    for block in read.flat_map(|extent| extent.split(block_bytes)) {
        let faulty = FaultAt::new(&device, Some(Fault::Unreadable(block)));
        let (found, gaps) = paths(&faulty);
        assert_eq!(gaps.is_empty(), !faulty.has_tripped(), "{block}");
        bad_blocks += usize::from(faulty.has_tripped());
        // As many files as inodes fit in a block, and no other.
        let inodes = usize::try_from(block_bytes / 128).unwrap();
        let has_descriptors = block.offset_bytes() == block_bytes;
        assert!(
            has_descriptors || found.len() + inodes >= sound.len(),
            "{block}: {}",
            found.len()
        );
    }
    assert!(bad_blocks > 5, "{bad_blocks}");
}
