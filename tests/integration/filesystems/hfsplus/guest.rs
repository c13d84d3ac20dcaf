//! Volumes that the Linux kernel writes, in a guest.

use super::volume::Volume;
use super::{MIB, check};
use crate::support::{lacks_root, run};
use klon_partition::filesystem::Hazard;
use std::fs;

/// Fills and ages all four; leaves the third as it is when the power goes; makes the fourth
/// writable after it was mounted, changes a file in place, and makes it read-only again.
const FILL: &str = r#"
set -e
for disk in vda vdb vdc; do
    mount -t hfsplus -o force /dev/$disk /mnt
    mkdir -p /mnt/one/two
    for i in $(seq 60); do head -c $((i * 1500)) /dev/urandom > "/mnt/one/file $i"; done
    for i in $(seq 150); do echo $i > /mnt/one/two/$i; done
    rm /mnt/one/*[13579] /mnt/one/two/*[02468]
    head -c 1500000 /dev/urandom > /mnt/large
    head -c 200000 /dev/urandom > /mnt/shorter
    truncate -s 70000 /mnt/shorter
    ln /mnt/large /mnt/hard
    ln -s large /mnt/soft
    sync
    cd /mnt; echo sums $disk; find . -type f -exec md5sum {} +; cd /
    [ $disk = vdc ] || umount /mnt
done
mkdir -p /tmp/m
mount -t hfsplus -o ro /dev/vdd /tmp/m
before=$(dd if=/dev/vdd bs=512 skip=2 count=1 2>/dev/null | md5sum)
mount -o remount,rw /tmp/m
printf changed | dd of="/tmp/m/file 005" conv=notrunc 2>/dev/null
sync
mount -o remount,ro /tmp/m
umount /tmp/m
echo 3 > /proc/sys/vm/drop_caches
after=$(dd if=/dev/vdd bs=512 skip=2 count=1 2>/dev/null | md5sum)
[ "$before" != "$after" ] || echo header unchanged
"#;

const READ: &str = r#"
set -e
for disk in vda vdb vdc; do
    mount -t hfsplus -o ro /dev/$disk /mnt
    cd /mnt; echo sums $disk; find . -type f -exec md5sum {} +; cd /
    umount /mnt
done
mount -t hfsplus -o ro /dev/vdd /mnt
head -c 7 "/mnt/file 005"; echo
umount /mnt
"#;

fn boot(script: &str, volumes: &[&Volume; 4]) -> String {
    let path = volumes[0].directory.path().join("script");
    fs::write(&path, script).unwrap();
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/guest");
    let start = ["--modules", "hfsplus nls_utf8", path.to_str().unwrap()];
    let images = volumes.map(Volume::text);
    run(guest, &[&start[..], &images[..]].concat())
}

/// Each line that names a file, and the disk that it is on.
fn sums(text: &str) -> Vec<String> {
    let mut disk = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("sums ") {
            disk = name.trim().to_owned();
        } else if line.contains("  ./") {
            found.push(format!("{disk} {}", line.trim()));
        }
    }
    found.sort();
    found
}

#[test]
fn volumes_that_the_kernel_filled() {
    if lacks_root() {
        return;
    }
    let volumes = [
        Volume::make(12 * MIB, &[]),
        Volume::make(12 * MIB, &["--block", "1024", "--signature", "HX"]),
        Volume::make(12 * MIB, &[]),
        Volume::make(4 * MIB, &[]),
    ];
    let [aged, case_sensitive, dirty, changed] = &volumes;
    let before = changed.usage();
    let said = boot(FILL, &volumes.each_ref());
    let expected = sums(&said);
    assert!(expected.len() > 3 * 100, "{said}");
    check(aged, true);
    check(case_sensitive, true);
    let hazards = dirty.hazards();
    let is_dirty = matches!(hazards[0], Hazard::NotCleanlyUnmounted(_));
    assert!(is_dirty, "{hazards:?}");
    check(changed, false);
    // The reason for which there is no change token.
    assert!(said.contains("header unchanged"), "{said}");
    assert_eq!(before.token, None);
    let copies = [(); 4].map(|()| Volume::empty());
    for (volume, copy) in volumes.iter().zip(&copies) {
        volume.copy_to(&copy.image);
    }
    assert_eq!(copies[0].usage().used(), aged.usage().used());
    let said = boot(READ, &copies.each_ref());
    assert_eq!(sums(&said), expected, "{said}");
    assert!(said.contains("changed"), "{said}");
}
