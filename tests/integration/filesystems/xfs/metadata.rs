//! Metadata against the kernel's maps of files.

use super::variant::Variant;
use super::{ImageFile, filesystem, lacks_root, run};
use crate::support::Mount;
use klon_partition::{Extent, ExtentMap};
use std::path::Path;

/// Where all regular files are, by `FIEMAP`.
fn contents(image: &Path, directory: &Path) -> ExtentMap {
    let mount = Mount::new(image, &directory.join("mnt"), "loop,ro");
    let point = mount.path().to_str().unwrap();
    let arguments = [
        point, "-type", "f", "-exec", "filefrag", "-b512", "-v", "{}", "+",
    ];
    let text = run("find", &arguments);
    let found = text.lines().filter_map(|line| {
        let mut fields = line.split(':').map(str::trim);
        let (_, _, physical) = (
            fields.next()?.parse::<u64>().ok()?,
            fields.next()?,
            fields.next()?,
        );
        let (first, last) = physical.split_once("..")?;
        let first: u64 = first.trim().parse().unwrap();
        let last: u64 = last.trim().parse().unwrap();
        Extent::between(first * 512, (last + 1) * 512)
    });
    found.collect()
}

#[test]
fn metadata_is_what_no_regular_file_has() {
    if lacks_root() {
        return;
    }
    for name in ["default", "many-groups", "64k-blocks", "plain"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        variant.age(&image, directory.path());
        let contents = contents(&image, directory.path());
        let least_bytes = if name == "64k-blocks" { 10 } else { 8 } << 20;
        assert!(contents.total_bytes() > least_bytes, "{name}: {contents:?}");
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&image);
        let used = filesystem.used(&device).unwrap().unwrap();
        let metadata = filesystem.metadata(&device).unwrap().unwrap();
        assert_eq!(contents.difference(&used), ExtentMap::new(), "{name}");
        assert_eq!(metadata, used.difference(&contents), "{name}");
    }
}

/// Where no kernel helps: the files of the prototype, which are all alike.
#[test]
fn metadata_of_version_4_leaves_out_the_files() {
    for name in ["v4", "v4-512", "v4-4k-sectors"] {
        let directory = tempfile::tempdir().unwrap();
        let image = Variant::named(name).make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&image);
        let used = filesystem.used(&device).unwrap().unwrap();
        let metadata = filesystem.metadata(&device).unwrap().unwrap();
        let block_bytes = u64::from(filesystem.summary().block_size_bytes);
        let contents = used.difference(&metadata);
        let expected = 20 * 50_000_u64.next_multiple_of(block_bytes);
        assert_eq!(contents.total_bytes(), expected, "{name}");
        let file = std::fs::read(&image).unwrap();
        for extent in contents.iter() {
            let start = usize::try_from(extent.offset_bytes()).unwrap();
            assert_eq!(file[start..start + 512], [0x5a; 512], "{name} {extent}");
        }
    }
}
