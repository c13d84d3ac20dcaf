//! Tables that the tools write.

use super::oracle::{
    GIB, Image, MIB, assert_accepted, assert_like_sfdisk, sparse_gpt, table_of, tool,
};
use crate::support::run;
use klon_partition::device::{ReadAt, WriteAt};
use klon_partition::error::Error;
use klon_partition::table::{Finding, Found, Table, raw_extents, read, relocated, write};
use uuid::Uuid;

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
    );
    check();
    image.sfdisk(&["-q", "--append"], "start=300000, size=2000\n");
    check();
    run(
        "sfdisk",
        &["-q", "--delete", image.path.to_str().unwrap(), "5"],
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
