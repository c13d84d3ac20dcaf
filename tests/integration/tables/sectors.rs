//! Sectors of 4096 bytes, and single bytes of what is written.

use super::oracle::{
    FileDisk, GIB, Image, MIB, assert_accepted, assert_like_sfdisk, extent, logical_mbr,
    sparse_gpt, table_of, tool,
};
use crate::support::{LoopDevice, lacks_root};
use klon_partition::device::ReadAt;
use klon_partition::table::{Scheme, raw_extents, write};
use klon_partition::{Extent, ExtentMap};

#[test]
fn tables_in_4096_byte_sectors_are_accepted_and_read() {
    let image = Image::new(6 * GIB);
    if lacks_root() {
        return;
    }
    let device = LoopDevice::new(&image.path, 4096);
    let disk = FileDisk::open(device.path(), 4096);
    for table in [
        sparse_gpt(disk.geometry()),
        logical_mbr(disk.geometry(), 5 * GIB),
        sparse_gpt(disk.geometry()),
    ] {
        write(&disk, &table).unwrap();
        assert_accepted(&table, device.path());
        assert_eq!(table_of(&disk), (table.clone(), vec![]));
        if table.scheme == Scheme::Gpt {
            // The same as a plain file, which says it has sectors of 512 bytes.
            assert_eq!(table_of(&image.disk()), (table, vec![]));
        }
    }
    tool(
        "sgdisk",
        &["-o", "-n", "4:0:+1M", "-n", "9:0:+1G", "-c", "9:neun"],
        device.path(),
        "",
    );
    assert_like_sfdisk(&table_of(&disk).0, device.path());
    let script = "label: dos\nstart=256, size=256\nstart=1024, size=1000000, type=5\n\
        start=900000, size=5000\nstart=2000, size=3000\n";
    tool(
        "sfdisk",
        &["-q", "--wipe=always", "--no-reread", "--no-tell-kernel"],
        device.path(),
        script,
    );
    assert_like_sfdisk(&table_of(&disk).0, device.path());
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
