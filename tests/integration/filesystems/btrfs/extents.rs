//! Data extents and the checksums of their sectors: against btrfs-progs' dump of both trees, and
//! against the bytes.

mod changes;
mod many;

use super::tool::{self, DataExtent, chunks};
use super::variant::Variant;
use super::{AGE, filesystem, script};
use crate::filesystems::image_file::ImageFile;
use crate::support::{lacks_root, run};
use klon_partition::filesystem::extents::{self, Checksum, ExtentVisitor, Sectors};
use klon_partition::{Extent, ReadAt};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// A sector by klon.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sector {
    /// Of its extent.
    extent: DataExtent,
    /// Where its copies start.
    copies: Vec<u64>,
    len_bytes: u64,
    checksum: Option<(Checksum, Vec<u8>)>,
}

impl Sector {
    /// As btrfs-progs print it.
    fn printed(&self) -> Option<String> {
        let (_, bytes) = self.checksum.as_ref()?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("0x{digits}"))
    }
}

/// All sectors by address.
#[derive(Default)]
struct Walk {
    extents: Vec<DataExtent>,
    sectors: BTreeMap<u64, Sector>,
}

impl ExtentVisitor for Walk {
    fn extent(&mut self, extent: &extents::DataExtent) -> ControlFlow<()> {
        self.extents.push(DataExtent {
            logical_bytes: extent.logical_bytes,
            len_bytes: extent.len_bytes,
            generation: extent.generation,
        });
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, extent: &extents::DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        let len_bytes = u64::from(sectors.sector_bytes);
        let count = sectors.copies.first.len_bytes() / len_bytes;
        let mut checksums = sectors.checksums.map(|checksums| checksums.iter());
        for at in (0..count).map(|index| index * len_bytes) {
            let sector = Sector {
                extent: *self.extents.last().unwrap(),
                copies: sectors
                    .copies
                    .iter()
                    .map(|copy| copy.offset_bytes() + at)
                    .collect(),
                len_bytes,
                checksum: sectors
                    .checksums
                    .zip(checksums.as_mut())
                    .map(|(all, each)| (all.kind(), each.next().unwrap().to_vec())),
            };
            let address = extent.logical_bytes + sectors.offset_bytes + at;
            let before = self.sectors.insert(address, sector);
            assert_eq!(before, None, "told twice");
        }
        ControlFlow::Continue(())
    }
}

fn walk(file: &Path) -> Walk {
    let device = ImageFile::open(file);
    let mut walk = Walk::default();
    let walked = filesystem(&device).data_extents(&device, &mut walk);
    walked.unwrap().unwrap();
    walk
}

/// The bytes of the sector in `file` that starts there.
fn read(device: &ImageFile, start: u64, len_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len_bytes).unwrap()];
    device.read_exact_at(&mut bytes, start).unwrap();
    bytes
}

/// Extents, addresses of sectors, their places and their checksums are those of btrfs-progs, and
/// the bytes have these checksums.
fn assert_agrees(file: &Path, name: &str) -> Walk {
    let walk = walk(file);
    assert_eq!(walk.extents, tool::data_extents(file), "{name}");
    let mut expected = tool::checksums(file);
    let chunks = chunks(file);
    for (address, sector) in &walk.sectors {
        assert_eq!(
            sector.printed(),
            expected.remove(address),
            "{name} {address}"
        );
        let range = Extent::new(*address, sector.len_bytes).unwrap();
        let chunk = chunks.iter().find(|chunk| chunk.logical.contains(range));
        let chunk = chunk.unwrap();
        let place = |copy: &u64| copy + address - chunk.logical.offset_bytes();
        let places: Vec<u64> = chunk.copies.iter().map(place).collect();
        assert_eq!(sector.copies, places, "{name} {address}");
    }
    assert!(expected.is_empty(), "{name}: checksums of no extent");
    let lens = walk.extents.iter().map(|extent| extent.len_bytes);
    let total_bytes: u64 = walk.sectors.values().map(|sector| sector.len_bytes).sum();
    assert_eq!(lens.sum::<u64>(), total_bytes, "{name}: every sector");
    assert_bytes(file, &walk, name);
    walk
}

/// By klon for every kind of checksum, and for most kinds by others too.
fn assert_bytes(file: &Path, walk: &Walk, name: &str) {
    let device = ImageFile::open(file);
    for sector in walk.sectors.values() {
        let Some((kind, checksum)) = &sector.checksum else {
            continue;
        };
        for &copy in &sector.copies {
            let bytes = read(&device, copy, sector.len_bytes);
            assert!(kind.matches(&bytes, checksum), "{name} {copy}");
            if *kind == Checksum::Crc32c {
                let expected = crc32c::crc32c(&bytes).to_le_bytes();
                assert_eq!(checksum.as_slice(), expected, "{name} {copy}");
            }
        }
    }
    let sectors = walk.sectors.values();
    let of_python = sectors.filter(|sector| {
        let kind = sector.checksum.as_ref().map(|checksum| checksum.0);
        matches!(kind, Some(Checksum::Sha256 | Checksum::Blake2b))
    });
    let of_python: Vec<&Sector> = of_python.collect();
    let starts = of_python
        .iter()
        .map(|sector| format!("{}\n", sector.copies[0]));
    let list = file.with_extension("sectors");
    std::fs::write(&list, starts.collect::<String>()).unwrap();
    let kind = of_python
        .first()
        .and_then(|sector| sector.checksum.as_ref());
    let is_sha256 = kind.is_some_and(|checksum| checksum.0 == Checksum::Sha256);
    let digest = if is_sha256 { "sha256" } else { "blake2b" };
    let paths = [file, &list].map(|path| path.to_str().unwrap());
    let printed = run("python3", &["-c", DIGESTS, digest, paths[0], paths[1]]);
    let printed: Vec<String> = printed.lines().map(|line| format!("0x{line}")).collect();
    let expected: Vec<String> = of_python
        .iter()
        .filter_map(|sector| sector.printed())
        .collect();
    assert_eq!(printed, expected, "{name}");
}

const DIGESTS: &str = "
import hashlib, sys
digest = hashlib.sha256 if sys.argv[1] == 'sha256' else lambda data: hashlib.blake2b(data, digest_size=32)
volume = open(sys.argv[2], 'rb')
for line in open(sys.argv[3]):
    volume.seek(int(line))
    print(digest(volume.read(4096)).hexdigest())
";

/// What is mounted how, and whether sectors with a checksum are to be expected.
const MOUNTS: [(&str, &str, bool); 10] = [
    ("default", "defaults", true),
    ("mixed", "compress-force=lzo", true),
    ("single", "compress-force=zstd", true),
    ("old", "space_cache=v1", true),
    ("v1-cache", "space_cache=v1", true),
    ("xxhash", "defaults", true),
    ("xxhash", "nodatasum", false),
    ("sha256", "compress=zlib", true),
    ("sha256", "nodatacow", false),
    ("blake2", "autodefrag", true),
];

#[test]
fn data_extents_are_those_of_btrfs_progs() {
    if lacks_root() {
        return;
    }
    for (name, options, has_checksums) in MOUNTS {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let file = variant.make(directory.path());
        let what = format!("{name} {options}");
        assert_agrees(&file, &what);
        let mount = variant.mount_with(&file, options);
        script(&mount, AGE);
        drop(mount);
        let walk = assert_agrees(&file, &what);
        let sectors = walk.sectors.values();
        let (with, without): (Vec<_>, Vec<_>) =
            sectors.partition(|sector| sector.checksum.is_some());
        assert!(without.len() > 1000, "{what}: {}", without.len());
        let least = if has_checksums { 1000 } else { 0 };
        assert!(with.len() >= least, "{what}: {}", with.len());
        assert!(has_checksums || with.is_empty(), "{what}: {}", with.len());
    }
}
