//! Tables against sgdisk, sfdisk and parted, on plain files and 4096-byte loop devices.

use klon_partition::device::{Geometry, ReadAt, WriteAt, check_range};
use klon_partition::error::{Error, Operation, Result};
use klon_partition::table::types::{EFI_SYSTEM, LINUX_FILESYSTEM, LINUX_SWAP};
use klon_partition::table::{
    Finding, Found, Partition, PartitionType, Scheme, Table, raw_extents, read, relocated, write,
};
use klon_partition::{Extent, ExtentMap};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A file or block device as a disk, through the page cache.
struct FileDisk {
    file: File,
    geometry: Geometry,
}

impl FileDisk {
    fn open(path: &Path, sector_bytes: u32) -> Self {
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
struct Image {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Image {
    fn new(size_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        Self {
            path,
            _folder: folder,
        }
    }

    fn disk(&self) -> FileDisk {
        FileDisk::open(&self.path, 512)
    }

    fn resize(&self, size_bytes: u64) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(size_bytes).unwrap();
    }

    fn sgdisk(&self, arguments: &[&str]) -> String {
        tool("sgdisk", arguments, &self.path, "")
    }

    fn sfdisk(&self, arguments: &[&str], script: &str) -> String {
        tool("sfdisk", arguments, &self.path, script)
    }

    fn parted(&self, arguments: &[&str]) {
        let path = self.path.to_str().unwrap();
        let all = [&["-s", "-a", "none", path][..], arguments].concat();
        run("parted", &all, "");
    }
}

fn tool(name: &str, arguments: &[&str], path: &Path, input: &str) -> String {
    run(
        name,
        &[arguments, &[path.to_str().unwrap()]].concat(),
        input,
    )
}

/// The output of a tool, which must be installed and succeed.
fn run(name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(name)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} is needed for this test (scripts/setup): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {text}{errors}"
    );
    text
}

fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
    Extent::new(offset_bytes, len_bytes).unwrap()
}

fn table_of(disk: &dyn ReadAt) -> (Table, Vec<Finding>) {
    match read(disk).unwrap() {
        Found::Table(table, findings) => (table, findings),
        other => panic!("{other:?}"),
    }
}

/// `sfdisk`'s attribute words as bits.
fn attributes(words: &str) -> u64 {
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
fn partition_of(json: &Value, path: &str, sector: u64) -> Partition {
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
fn assert_like_sfdisk(table: &Table, path: &Path) {
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
fn assert_accepted(table: &Table, path: &Path) {
    assert_like_sfdisk(table, path);
    tool("sfdisk", &["--verify", "--quiet"], path, "");
    if table.scheme == Scheme::Gpt {
        let verdict = tool("sgdisk", &["-v"], path, "");
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

fn gpt_partition(number: u32, place: Extent, type_guid: Uuid, name: &str) -> Partition {
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

fn mbr_partition(number: u32, place: Extent, type_byte: u8) -> Partition {
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
fn sparse_gpt(geometry: Geometry) -> Table {
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

fn logical_mbr(geometry: Geometry, base: u64) -> Table {
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

#[test]
fn gpts_that_klon_writes_are_accepted_and_equal() {
    let image = Image::new(64 * MIB);
    let table = sparse_gpt(image.disk().geometry());
    write(&image.disk(), &table).unwrap();
    assert_accepted(&table, &image.path);
    let mut again = table;
    again.partitions.remove(1);
    write(&image.disk(), &again).unwrap();
    assert_accepted(&again, &image.path);
}

#[test]
fn gpts_with_other_slot_counts_are_accepted() {
    for slots_max in [16, 64, 129, 256, 1024] {
        let image = Image::new(64 * MIB);
        let mut table = sparse_gpt(image.disk().geometry());
        table.slots_max = slots_max;
        table.usable = extent(MIB, 62 * MIB);
        table.partitions.retain(|it| it.number <= slots_max);
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
        assert_eq!(table_of(&image.disk()).0, table);
    }
}

#[test]
fn a_gpt_moved_to_a_disk_of_another_size_is_accepted() {
    let image = Image::new(64 * MIB);
    let table = sparse_gpt(image.disk().geometry());
    for size_bytes in [24 * MIB, 200 * MIB, 5 * GIB, 3 << 40] {
        let target = Image::new(size_bytes);
        let moved = relocated(&table, size_bytes).unwrap();
        write(&target.disk(), &moved).unwrap();
        assert_accepted(&moved, &target.path);
    }
}

#[test]
fn mbrs_that_klon_writes_are_accepted_and_equal() {
    // In front of and behind 4 GiB, across it, and up to 2 TiB.
    for base in [4 * MIB, 4 * GIB - 8 * MIB, 5 * GIB, (2 << 40) - 40 * MIB] {
        let image = Image::new(base + 40 * MIB);
        let table = logical_mbr(image.disk().geometry(), base);
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
        assert_eq!(table_of(&image.disk()), (table, vec![]));
    }
}

#[test]
fn one_table_over_another_leaves_nothing_of_the_old_one() {
    let image = Image::new(64 * MIB);
    let geometry = image.disk().geometry();
    let (gpt, mbr) = (sparse_gpt(geometry), logical_mbr(geometry, 20 * MIB));
    let large = sparse_gpt(Geometry::new(64 * MIB, 4096));
    for table in [&gpt, &mbr, &large, &gpt, &large, &mbr, &gpt] {
        write(&image.disk(), table).unwrap();
        assert_eq!(table_of(&image.disk()), (table.clone(), vec![]));
        if table.logical_sector_bytes == 512 {
            assert_accepted(table, &image.path);
            let signatures = tool("wipefs", &["--noheadings", "-O", "TYPE"], &image.path, "");
            let expected = if table.scheme == Scheme::Gpt {
                "gpt"
            } else {
                "dos"
            };
            let others = signatures
                .lines()
                .filter(|line| ![expected, "PMBR"].contains(&line.trim()));
            assert_eq!(others.count(), 0, "{signatures}");
        }
    }
}

#[test]
fn tables_of_sgdisk_are_read() {
    let image = Image::new(64 * MIB);
    image.sgdisk(&[
        "-n",
        "1:2048:+2M",
        "-t",
        "1:ef00",
        "-c",
        "1:EFI Ω",
        "-A",
        "1:set:2",
    ]);
    image.sgdisk(&[
        "-n",
        "7:0:+3M",
        "-t",
        "7:8304",
        "-A",
        "7:set:63",
        "-n",
        "100:0:+1M",
    ]);
    let check = |findings: usize| {
        let (table, found) = table_of(&image.disk());
        assert_like_sfdisk(&table, &image.path);
        assert_eq!(found.len(), findings, "{found:?}");
        table
    };
    check(0);
    image.sgdisk(&["-d", "1", "-n", "2:2048:+1M"]);
    check(0);
    for slots in ["120", "128", "200", "400"] {
        image.sgdisk(&[&format!("--resize-table={slots}")]);
        let table = check(0);
        assert!(table.slots_max >= slots.parse().unwrap());
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
    }
    image.sgdisk(&["-j", "1000"]);
    check(0);
    image.sgdisk(&["-h", "2:7"]);
    let (_, findings) = table_of(&image.disk());
    assert!(
        matches!(&findings[..], [Finding::Hybrid(_)]),
        "{findings:?}"
    );
}

#[test]
fn damage_and_growth_are_reported_and_repaired_by_writing() {
    let image = Image::new(64 * MIB);
    let original = sparse_gpt(image.disk().geometry());
    let end = 64 * MIB;
    type Expected = fn(&[Finding]) -> bool;
    let cases: &[(u64, usize, Expected)] = &[
        (512, 512, |f| matches!(f, [Finding::PrimaryDamaged(_)])),
        (1024, 512, |f| matches!(f, [Finding::PrimaryDamaged(_)])),
        (end - 512, 512, |f| matches!(f, [Finding::BackupDamaged(_)])),
        (end - 33 * 512, 512, |f| {
            matches!(f, [Finding::BackupDamaged(_)])
        }),
        (0, 512, |f| matches!(f, [Finding::ProtectiveMbr(_)])),
        (0, 1 << 20, |f| {
            matches!(f, [Finding::PrimaryDamaged(_), Finding::ProtectiveMbr(_)])
        }),
    ];
    for (offset_bytes, len, is_expected) in cases {
        write(&image.disk(), &original).unwrap();
        image
            .disk()
            .write_all_at(&vec![0; *len], *offset_bytes)
            .unwrap();
        let (mut table, findings) = table_of(&image.disk());
        assert_eq!(table.partitions, original.partitions);
        assert!(is_expected(&findings), "{findings:?}");
        table.disk_signature = 0;
        write(&image.disk(), &table).unwrap();
        assert_accepted(&table, &image.path);
    }
    image.resize(100 * MIB);
    let (table, findings) = table_of(&image.disk());
    assert_like_sfdisk(&table, &image.path);
    assert!(
        matches!(&findings[..], [Finding::BackupMisplaced(_)]),
        "{findings:?}"
    );
    let table = relocated(&table, 100 * MIB).unwrap();
    write(&image.disk(), &table).unwrap();
    assert_accepted(&table, &image.path);
    image.resize(50 * MIB);
    let error = read(&image.disk()).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

#[test]
fn tables_of_sfdisk_are_read() {
    let image = Image::new(64 * MIB);
    let script = "label: gpt\ntable-length: 9\nfirst-lba: 100\n\
        start=4096, size=2048, type=U, name=\"a b\", attrs=\"RequiredPartition,GUID:60,63\"\n\
        7: start=200, size=17\n";
    image.sfdisk(&["-q"], script);
    let (table, findings) = table_of(&image.disk());
    assert_eq!((table.slots_max, findings), (9, vec![]));
    assert_like_sfdisk(&table, &image.path);
    image.sfdisk(&["-q", "--wipe=always"], "label: gpt\n");
    let (table, findings) = table_of(&image.disk());
    assert_eq!((table.partitions.len(), findings), (0, vec![]));
    image.sfdisk(&["-q", "--wipe=always"], "label: dos\n");
    assert_like_sfdisk(&table_of(&image.disk()).0, &image.path);
}

#[test]
fn logical_partitions_of_sfdisk_have_its_numbers() {
    let image = Image::new(6 * GIB);
    let check = || {
        let (table, _) = table_of(&image.disk());
        assert_like_sfdisk(&table, &image.path);
        table
    };
    // Out of order, on both sides of 4 GiB.
    let script = "label: dos\nstart=2048, size=4096, bootable\n\
        2: start=100000, size=12000000, type=f\n\
        5: start=9000000, size=4096\n6: start=200000, size=4096, type=82\n\
        7: start=11000000, size=100000\n8: start=5000000, size=2048\n";
    image.sfdisk(&["-q"], script);
    assert_eq!(check().partitions.len(), 6);
    run(
        "sfdisk",
        &["-q", "--delete", image.path.to_str().unwrap(), "6"],
        "",
    );
    check();
    image.sfdisk(&["-q", "--append"], "start=300000, size=2000\n");
    check();
    run(
        "sfdisk",
        &["-q", "--delete", image.path.to_str().unwrap(), "5"],
        "",
    );
    let table = check();
    assert_eq!(table.partitions.last().unwrap().number, 7);
    let raw = raw_extents(&image.disk(), &table).unwrap();
    assert!(raw.total_bytes() >= 4 * 512);
    // What klon writes in their place has the same numbers.
    write(&image.disk(), &table).unwrap();
    assert_accepted(&table, &image.path);
    image.sfdisk(&["-q", "--reorder"], "");
    check();
    for _ in 0..3 {
        run(
            "sfdisk",
            &["-q", "--delete", image.path.to_str().unwrap(), "5"],
            "",
        );
        check();
    }
}

#[test]
fn tables_of_parted_are_read() {
    let image = Image::new(64 * MIB);
    image.parted(&["mklabel", "gpt", "mkpart", "one", "ext4", "1MiB", "9MiB"]);
    image.parted(&[
        "mkpart", "zwei", "fat32", "20MiB", "30MiB", "set", "2", "esp", "on",
    ]);
    let (table, findings) = table_of(&image.disk());
    assert_like_sfdisk(&table, &image.path);
    assert_eq!(findings, []);
    image.parted(&["mklabel", "msdos", "mkpart", "primary", "1MiB", "2MiB"]);
    image.parted(&["mkpart", "extended", "4MiB", "60MiB"]);
    let check = || {
        let (table, findings) = table_of(&image.disk());
        assert_like_sfdisk(&table, &image.path);
        assert_eq!(findings, []);
    };
    check();
    image.parted(&["mkpart", "logical", "40MiB", "50MiB"]);
    image.parted(&["mkpart", "logical", "10MiB", "20MiB"]);
    image.parted(&[
        "mkpart", "logical", "25MiB", "26MiB", "set", "6", "boot", "on",
    ]);
    check();
    image.parted(&["rm", "5"]);
    check();
}

#[test]
fn filesystems_on_the_whole_disk_are_no_tables() {
    let filesystems: [(&str, &[&str]); 6] = [
        ("mkfs.fat", &["-F", "12"]),
        ("mkfs.fat", &["-F", "16"]),
        ("mkfs.fat", &["-F", "32"]),
        ("mkfs.fat", &["-F", "32", "-S", "4096"]),
        ("mkfs.ext4", &["-q", "-F"]),
        ("mkswap", &[]),
    ];
    for (name, arguments) in filesystems {
        let size_bytes = if arguments.contains(&"12") {
            8 * MIB
        } else {
            300 * MIB
        };
        let image = Image::new(size_bytes);
        // The backup of what was on the disk before is left at its end.
        let disk = image.disk();
        write(
            &disk,
            &Table::new_gpt(disk.geometry(), Uuid::new_v4()).unwrap(),
        )
        .unwrap();
        disk.write_all_at(&vec![0; 1 << 20], 0).unwrap();
        tool(name, arguments, &image.path, "");
        assert_eq!(read(&disk).unwrap(), Found::NoTable, "{name} {arguments:?}");
    }
}

/// A loop device with sectors of 4096 bytes, detached at the end.
struct Loop(PathBuf);

impl Loop {
    /// `None` where loop devices can't be had: not root, and not in CI.
    fn attach(image: &Image) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() && std::env::var_os("CI").is_none() {
            println!("needs root");
            return None;
        }
        let arguments = ["--show", "-f", "-b", "4096"];
        let path = tool("losetup", &arguments, &image.path, "");
        Some(Self(path.trim().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("-d").arg(&self.0).status();
        assert!(detached.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn tables_in_4096_byte_sectors_are_accepted_and_read() {
    let image = Image::new(6 * GIB);
    let Some(device) = Loop::attach(&image) else {
        return;
    };
    let disk = FileDisk::open(&device.0, 4096);
    for table in [
        sparse_gpt(disk.geometry()),
        logical_mbr(disk.geometry(), 5 * GIB),
        sparse_gpt(disk.geometry()),
    ] {
        write(&disk, &table).unwrap();
        assert_accepted(&table, &device.0);
        assert_eq!(table_of(&disk), (table.clone(), vec![]));
        if table.scheme == Scheme::Gpt {
            // The same as a plain file, which says it has sectors of 512 bytes.
            assert_eq!(table_of(&image.disk()), (table, vec![]));
        }
    }
    tool(
        "sgdisk",
        &["-o", "-n", "4:0:+1M", "-n", "9:0:+1G", "-c", "9:neun"],
        &device.0,
        "",
    );
    assert_like_sfdisk(&table_of(&disk).0, &device.0);
    let script = "label: dos\nstart=256, size=256\nstart=1024, size=1000000, type=5\n\
        start=900000, size=5000\nstart=2000, size=3000\n";
    tool(
        "sfdisk",
        &["-q", "--wipe=always", "--no-reread", "--no-tell-kernel"],
        &device.0,
        script,
    );
    assert_like_sfdisk(&table_of(&disk).0, &device.0);
}

#[test]
fn raw_extents_hold_everything_that_is_not_zero() {
    let image = Image::new(64 * MIB);
    image.sgdisk(&["-n", "1:8192:+2M", "-j", "4000"]);
    let disk = image.disk();
    let (table, _) = table_of(&disk);
    let raw = raw_extents(&disk, &table).unwrap();
    let mut bytes = vec![0; 64 << 20];
    disk.read_exact_at(&mut bytes, 0).unwrap();
    let written: ExtentMap = (0_u64..)
        .zip(bytes.chunks(512))
        .filter(|(_, sector)| sector.iter().any(|&byte| byte != 0))
        .filter_map(|(lba, _)| Extent::new(lba * 512, 512))
        .collect();
    assert!(written.difference(&raw).is_empty(), "{written:?} {raw:?}");
    assert!(raw.contains(extent(4000 * 512, 32 * 512)));
}

#[test]
fn primary_entries_have_the_bytes_that_sfdisk_writes() {
    let (ours, theirs) = (Image::new(20 * GIB), Image::new(20 * GIB));
    let script = "label: dos\nlabel-id: 0x11223344\n\
        start=2048, size=4096, bootable\n\
        start=1000000, size=9000000, type=f\n\
        start=14000000, size=20000000, type=82\n\
        start=63, size=100, type=7\n";
    theirs.sfdisk(&["-q"], script);
    let (table, _) = table_of(&theirs.disk());
    write(&ours.disk(), &table).unwrap();
    let record = |image: &Image| {
        let mut bytes = [0; 512];
        image.disk().read_exact_at(&mut bytes, 0).unwrap();
        bytes.to_vec()
    };
    assert_eq!(record(&ours), record(&theirs));
}
