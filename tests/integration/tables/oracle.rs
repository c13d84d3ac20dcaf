//! Disks in files, and what the tools say of their tables.

use crate::support::run;
use crate::support::tool::run_with_input;
use klon_partition::Extent;
use klon_partition::device::{Geometry, ReadAt, WriteAt, check_range};
use klon_partition::error::{Error, Operation, Result};
use klon_partition::table::types::{EFI_SYSTEM, LINUX_FILESYSTEM, LINUX_SWAP};
use klon_partition::table::{Finding, Found, Partition, PartitionType, Scheme, Table, read};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// A file or block device as a disk, through the page cache.
pub(super) struct FileDisk {
    pub(super) file: File,
    pub(super) geometry: Geometry,
}

impl FileDisk {
    pub(super) fn open(path: &Path, sector_bytes: u32) -> Self {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let size_bytes = file.seek(SeekFrom::End(0)).unwrap();
        Self {
            file,
            geometry: Geometry::new(size_bytes, sector_bytes),
        }
    }
}

impl ReadAt for FileDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        let len_bytes = u64::try_from(buffer.len()).unwrap();
        self.file
            .read_exact_at(buffer, offset_bytes)
            .map_err(|source| Error::io(Operation::Read, offset_bytes, len_bytes, source))
    }
}

impl WriteAt for FileDisk {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Write, offset_bytes, data.len())?;
        let sector = usize::try_from(self.geometry.logical_sector_bytes).unwrap();
        assert!(data.len().is_multiple_of(sector), "not whole sectors");
        let len_bytes = u64::try_from(data.len()).unwrap();
        self.file
            .write_all_at(data, offset_bytes)
            .map_err(|source| Error::io(Operation::Write, offset_bytes, len_bytes, source))
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap();
        self.write_all_at(&vec![0; len], extent.offset_bytes())
    }

    fn discard(&self, _extent: Extent) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|source| Error::io(Operation::Sync, 0, 0, source))
    }
}

/// A sparse file that is removed at the end.
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) _folder: tempfile::TempDir,
}

impl Image {
    pub(super) fn new(size_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        Self {
            path,
            _folder: folder,
        }
    }

    pub(super) fn disk(&self) -> FileDisk {
        FileDisk::open(&self.path, 512)
    }

    pub(super) fn resize(&self, size_bytes: u64) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(size_bytes).unwrap();
    }

    pub(super) fn sgdisk(&self, arguments: &[&str]) -> String {
        tool("sgdisk", arguments, &self.path, "")
    }

    pub(super) fn sfdisk(&self, arguments: &[&str], script: &str) -> String {
        tool("sfdisk", arguments, &self.path, script)
    }

    pub(super) fn parted(&self, arguments: &[&str]) {
        let path = self.path.to_str().unwrap();
        let all = [&["-s", "-a", "none", path][..], arguments].concat();
        run("parted", &all);
    }
}

pub(super) fn tool(name: &str, arguments: &[&str], path: &Path, input: &str) -> String {
    let path = path.to_str().unwrap();
    run_with_input(name, &[arguments, &[path]].concat(), input)
}

pub(super) fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
    Extent::new(offset_bytes, len_bytes).unwrap()
}

pub(super) fn table_of(disk: &dyn ReadAt) -> (Table, Vec<Finding>) {
    match read(disk).unwrap() {
        Found::Table(table, findings) => (table, findings),
        other => panic!("{other:?}"),
    }
}

/// `sfdisk`'s attribute words as bits.
pub(super) fn attributes(words: &str) -> u64 {
    words
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(|word| match word.strip_prefix("GUID:").unwrap_or(word) {
            "RequiredPartition" => 0,
            "NoBlockIOProtocol" => 1,
            "LegacyBIOSBootable" => 2,
            bit => bit.parse().unwrap(),
        })
        .fold(0, |bits, bit: u32| bits | 1 << bit)
}

/// One partition as `sfdisk --json` prints it, in sectors of `sector` bytes.
pub(super) fn partition_of(json: &Value, path: &str, sector: u64) -> Partition {
    let text = |key: &str| json[key].as_str();
    let number = text("node").unwrap().strip_prefix(path).unwrap();
    let (start, size) = (
        json["start"].as_u64().unwrap(),
        json["size"].as_u64().unwrap(),
    );
    let kind = text("type").unwrap();
    Partition {
        number: number.trim_start_matches('p').parse().unwrap(),
        extent: extent(start * sector, size * sector),
        partition_type: kind.parse().map_or_else(
            |_| PartitionType::Mbr(u8::from_str_radix(kind, 16).unwrap()),
            PartitionType::Gpt,
        ),
        guid: text("uuid").map(|guid| guid.parse().unwrap()),
        name: text("name").unwrap_or_default().to_owned(),
        attributes: attributes(text("attrs").unwrap_or_default()),
        is_bootable: json["bootable"].as_bool().unwrap_or(false),
    }
}

/// Checks that `sfdisk --json` of `path` says what `table` says.
pub(super) fn assert_like_sfdisk(table: &Table, path: &Path) {
    let json: Value = serde_json::from_str(&tool("sfdisk", &["--json"], path, "")).unwrap();
    let json = &json["partitiontable"];
    let sector = json["sectorsize"].as_u64().unwrap();
    assert_eq!(u64::from(table.logical_sector_bytes), sector);
    let nothing = Vec::new();
    let partitions: Vec<Partition> = json["partitions"]
        .as_array()
        .unwrap_or(&nothing)
        .iter()
        .map(|json| partition_of(json, path.to_str().unwrap(), sector))
        .collect();
    assert_eq!(table.partitions, partitions);
    let id = json["id"].as_str().unwrap();
    if table.scheme == Scheme::Gpt {
        assert_eq!(json["label"], "gpt");
        assert_eq!(table.disk_guid, Some(id.parse().unwrap()));
        assert_eq!(
            table.usable.offset_bytes() / sector,
            json["firstlba"].as_u64().unwrap()
        );
        assert_eq!(
            table.usable.end_bytes() / sector - 1,
            json["lastlba"].as_u64().unwrap()
        );
    } else {
        assert_eq!(json["label"], "dos");
        assert_eq!(format!("0x{:08x}", table.disk_signature), id);
    }
}

/// Checks that no tool finds fault with the table that klon wrote to `path`.
pub(super) fn assert_accepted(table: &Table, path: &Path) {
    assert_like_sfdisk(table, path);
    tool("sfdisk", &["--verify", "--quiet"], path, "");
    if table.scheme == Scheme::Gpt {
        let verdict = tool("sgdisk", &["-v"], path, "");
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

pub(super) fn gpt_partition(number: u32, place: Extent, type_guid: Uuid, name: &str) -> Partition {
    Partition {
        number,
        extent: place,
        partition_type: PartitionType::Gpt(type_guid),
        guid: Some(Uuid::new_v4()),
        name: name.to_owned(),
        attributes: 0,
        is_bootable: false,
    }
}

pub(super) fn mbr_partition(number: u32, place: Extent, type_byte: u8) -> Partition {
    Partition {
        number,
        extent: place,
        partition_type: PartitionType::Mbr(type_byte),
        guid: None,
        name: String::new(),
        attributes: 0,
        is_bootable: false,
    }
}

/// Slots 1, 3, 15 and 128, a signature in the protective MBR, attributes and names of every kind.
pub(super) fn sparse_gpt(geometry: Geometry) -> Table {
    let mut table = Table::new_gpt(geometry, Uuid::new_v4()).unwrap();
    table.disk_signature = 0x1357_9bdf;
    table.partitions = vec![
        gpt_partition(1, extent(MIB, 2 * MIB), EFI_SYSTEM, "EFI system partition"),
        gpt_partition(
            3,
            extent(8 * MIB, 4 * MIB),
            LINUX_FILESYSTEM,
            "Wurzel äöü 😀",
        ),
        gpt_partition(15, extent(4 * MIB, 2 * MIB), LINUX_SWAP, ""),
        gpt_partition(128, extent(20 * MIB, MIB), Uuid::new_v4(), &"N".repeat(36)),
    ];
    table.partitions[0].attributes = 1 | 1 << 2;
    table.partitions[1].attributes = 1 << 60 | 1 << 63;
    table
}

pub(super) fn logical_mbr(geometry: Geometry, base: u64) -> Table {
    let mut table = Table::new_mbr(geometry, 0xcafe_0815).unwrap();
    table.partitions = vec![
        mbr_partition(1, extent(MIB, MIB), 0xef),
        mbr_partition(3, extent(base, 40 * MIB), 0x0f),
        mbr_partition(5, extent(base + 12 * MIB, 4 * MIB), 0x83),
        mbr_partition(6, extent(base + 2 * MIB, 4 * MIB), 0x82),
        mbr_partition(7, extent(base + 30 * MIB, 10 * MIB), 0x07),
    ];
    table.partitions[0].is_bootable = true;
    table
}
