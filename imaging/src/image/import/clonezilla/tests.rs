//! Dumps of tables, swap headers, and directories that are not what they should be.

use super::directory::Directory;
use super::{ClonezillaDisk, sfdisk, swap};
use klon_partition::Error;
use klon_partition::Geometry;
use klon_partition::error::Remedy;
use klon_partition::table::{PartitionType, Scheme};
use std::fs;

const GPT: &str = r#"label: gpt
label-id: 11111111-2222-4333-8444-555555555555
device: /dev/sda
unit: sectors
first-lba: 34
last-lba: 409566
sector-size: 512

/dev/sda1 : start=        2048, size=       67584, type=C12A7328-F81F-11D2-BA4B-00C04FC93EC9, uuid=AAAAAAAA-0001-4000-8000-000000000001, name="EFI, system"
/dev/sda3 : start=       73728, size=      327680, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=AAAAAAAA-0002-4000-8000-000000000002, name="a\x22b", attrs="LegacyBIOSBootable GUID:59"
"#;

const OLD: &str = "# partition table of /dev/sda
unit: sectors

/dev/sda1 : start=       63, size=   200000, Id=83, bootable
/dev/sda2 : start=   200100, size=   400000, Id= 5
/dev/sda3 : start=        0, size=        0, Id= 0
/dev/sda4 : start=        0, size=        0, Id= 0
/dev/sda5 : start=   200163, size=   100000, Id=82
";

#[test]
fn dumps_of_new_and_old_versions_are_read() {
    let geometry = Geometry::new(200 << 20, 512);
    let table = sfdisk::parse(GPT, geometry).unwrap();
    assert_eq!(table.scheme, Scheme::Gpt);
    let [esp, root] = &table.partitions[..] else {
        panic!("{table:?}");
    };
    assert_eq!((esp.number, esp.name.as_str()), (1, "EFI, system"));
    assert_eq!((root.number, root.name.as_str()), (3, "a\"b"));
    assert_eq!(root.attributes, 1 << 59 | 4);
    let geometry = Geometry::new(400 << 20, 512);
    let table = sfdisk::parse(OLD, geometry).unwrap();
    let numbers: Vec<u32> = table.partitions.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [1, 2, 5]);
    assert!(table.partitions[0].is_bootable);
    assert_eq!(table.partitions[1].partition_type, PartitionType::Mbr(5));
}

#[test]
fn nonsense_is_refused() {
    let geometry = Geometry::new(200 << 20, 512);
    for text in [
        "label: gpt\n",
        "label: dos\n/dev/sda1\n",
        "label: dos\n/dev/sda1 : start=1, size=99999999999999999999, type=83\n",
        "label: dos\nsector-size: 3\n",
        "label: sun\n",
    ] {
        assert!(sfdisk::parse(text, geometry).is_err(), "{text}");
    }
    assert!(swap::header("UUID=\"x\"\n", 1 << 20).is_err());
    assert!(swap::header("", 4096).is_err());
    let directory = tempfile::tempdir().unwrap();
    let error = |disk| ClonezillaDisk::open(directory.path(), disk).err().unwrap();
    assert!(error(None).to_string().contains("no file `disk`"));
    fs::write(directory.path().join("disk"), "sda sdb\n").unwrap();
    assert!(error(None).to_string().contains("sda, sdb"));
    let remedy = Remedy::NameDisk;
    assert!(matches!(error(Some("sdc")), Error::RefusedUnless { remedy: it, .. } if it == remedy));
    assert!(error(Some("sdb")).to_string().contains("sdb-pt.parted"));
}

#[test]
fn an_image_whose_first_part_is_missing_is_not_taken_for_an_empty_partition() {
    let directory = tempfile::tempdir().unwrap();
    let image = |node| Directory::open(directory.path()).unwrap().image(node);
    for name in ["sda2.dd-img.gz.ab", "sda2.dd-img.gz.ac", "sda1.info"] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let error = image("sda2").unwrap_err().to_string();
    assert!(error.contains("sda2.dd-img.gz.aa, is missing"), "{error}");
    assert_eq!(image("sda1").unwrap(), None);
    fs::write(directory.path().join("sda3.ntfs-img.aa"), "x").unwrap();
    let error = image("sda3").unwrap_err().to_string();
    assert!(error.contains("no image that klon reads"), "{error}");
}
