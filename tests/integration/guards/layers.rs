//! Device-mapper, LVM, encryption, RAID and swap, on a real kernel that has them.

use crate::support::{Klon, MIB, image, lacks_root, run};
use std::fs;
use std::path::Path;

/// Each attempt has full consent; its output follows a line `-- name`.
const SCRIPT: &str = r#"
export DM_DISABLE_UDEV=1 KLON_RECORDS=/tmp/records
mkdir -p /run/lock /run/lvm /run/cryptsetup /etc/lvm /mnt/m
mount -t tmpfs tmpfs /tmp
none='activation { udev_sync=0 udev_rules=0 } global { use_lvmpolld=0 }'
lvm() { /bin/lvm "$@" --config "$none" >/dev/null 2>&1; }
try() {
    echo "-- $1"
    klon clone "$2" "$3" --yes --confirm "$3" 2>&1 </dev/null && echo "code 0" || echo "code $?"
}
# Disks without serial numbers, in the slots that udev names: after the first clone both have the
# same content, which tells nothing of them any more.
mkdir -p /dev/disk/by-path
for disk in vda vdb; do
    slot=$(readlink -f /sys/block/$disk)
    slot=${slot%/virtio*}
    ln -s ../../$disk /dev/disk/by-path/pci-${slot##*/}
done
slot() { echo /dev/disk/by-path/pci-$(readlink -f /sys/block/$1 | sed 's:/virtio.*::; s:.*/::'); }
try_slot() {
    echo "-- $1"
    klon clone "$2" "$3" $4 2>&1 </dev/null && echo "code 0" || echo "code $?"
}
try_slot "a disk without a serial number" /dev/vda /dev/vdb
try_slot "a disk without a serial number again" /dev/vda /dev/vdb
try_slot "a disk without a serial number, the wrong way" /dev/vdb /dev/vda "--yes --confirm $(slot vda)"
rm -r /dev/disk/by-path $KLON_RECORDS
dd if=/dev/zero of=/dev/vdb bs=1M count=50 2>/dev/null
# Two volumes over the same bytes, and one beside them.
dmsetup create flat --table "0 131072 linear /dev/vdb 2048"
dmsetup create twin --table "0 131072 linear /dev/vdb 2048"
try "a disk under a device-mapper volume" /dev/vda /dev/vdb
try "a volume over its own disk" /dev/mapper/flat /dev/vdb
try "the disk of a volume to it" /dev/vdb /dev/mapper/flat
try "two volumes on the same bytes" /dev/mapper/flat /dev/mapper/twin
dmsetup remove twin
dmsetup remove flat

printf secret | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 \
    --pbkdf-force-iterations 1000 /dev/vdb -
printf secret | cryptsetup open /dev/vdb crypt -
try "an open LUKS container" /dev/vda /dev/vdb
lvm pvcreate -ff -y /dev/mapper/crypt
lvm vgcreate vg /dev/mapper/crypt
try "a volume group that is not active" /dev/vdb /dev/mapper/crypt
lvm lvcreate -y -an -Zn -Wn -L 48M -n one vg
lvm lvcreate -y -an -Zn -Wn -L 48M -n two vg
lvm vgchange -ay vg
lvm vgmknodes
try "a LUKS container with active volumes" /dev/vda /dev/vdb
try "a physical volume" /dev/vda /dev/mapper/crypt
try "a volume to its neighbor" /dev/vda /dev/mapper/vg-two
/bin/mke2fs -F /dev/mapper/vg-one >/dev/null
mount -t ext4 /dev/mapper/vg-one /mnt/m
try "a filesystem on LVM on LUKS, its disk" /dev/vda /dev/vdb
try "a filesystem on LVM on LUKS, its container" /dev/vda /dev/mapper/crypt
try "a filesystem on LVM, its volume" /dev/vda /dev/mapper/vg-one
try "a mounted volume as source" /dev/mapper/vg-one /dev/vdc
try "the volume beside a mounted one" /dev/vda /dev/mapper/vg-two

mdadm --create /dev/md0 --run --metadata=1.2 --level=1 --raid-devices=2 /dev/vdc missing \
    </dev/null >/dev/null 2>&1
try "a member of an array" /dev/vda /dev/vdc
try "an array from its member" /dev/vdc /dev/md0
mkswap /dev/md0 >/dev/null
swapon /dev/md0
try "swap on an array" /dev/vda /dev/md0
try "the disk under swap on an array" /dev/vda /dev/vdc

mkswap /dev/vdd >/dev/null
swapon /dev/vdd
try "a swap disk" /dev/vda /dev/vdd
swapoff /dev/vdd
/bin/mke2fs -F /dev/vdd >/dev/null
mkdir -p /mnt/s
mount -t ext4 /dev/vdd /mnt/s
dd if=/dev/zero of=/mnt/s/file bs=1M count=20 2>/dev/null
mkswap /mnt/s/file >/dev/null
swapon /mnt/s/file
try "a swap file" /dev/vda /mnt/s/file
try "the disk of a swap file" /dev/vda /dev/vdd
"#;

/// What each attempt must say and exit with.
const EXPECTED: &[(&str, &str, u8)] = &[
    ("a disk without a serial number", "first clone", 0),
    (
        "a disk without a serial number again",
        "compared with the record of the last clone",
        0,
    ),
    (
        "a disk without a serial number, the wrong way",
        "is the source of the clone",
        3,
    ),
    (
        "a disk under a device-mapper volume",
        "device-mapper volume flat",
        3,
    ),
    ("a volume over its own disk", "device-mapper volume", 3),
    ("the disk of a volume to it", "lies inside the source", 3),
    ("two volumes on the same bytes", "flat", 3),
    ("an open LUKS container", "device-mapper volume crypt", 3),
    (
        "a volume group that is not active",
        "lies inside the source",
        3,
    ),
    (
        "a LUKS container with active volumes",
        "device-mapper volume vg-one",
        3,
    ),
    ("a physical volume", "device-mapper volume vg-two", 3),
    ("a volume to its neighbor", "", 0),
    (
        "a filesystem on LVM on LUKS, its disk",
        "mounted at /mnt/m",
        3,
    ),
    (
        "a filesystem on LVM on LUKS, its container",
        "mounted at /mnt/m",
        3,
    ),
    ("a filesystem on LVM, its volume", "mounted at /mnt/m", 3),
    (
        "a mounted volume as source",
        "can't be copied while it is mounted",
        3,
    ),
    ("the volume beside a mounted one", "", 0),
    ("a member of an array", "RAID array md0", 3),
    ("an array from its member", "lies inside the source", 3),
    ("swap on an array", "in use as swap", 3),
    ("the disk under swap on an array", "in use as swap", 3),
    ("a swap disk", "in use as swap", 3),
    ("a swap file", "in use as swap", 3),
    ("the disk of a swap file", "/mnt/s", 3),
];

#[test]
fn what_is_in_use_is_found_through_every_layer() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::ext4(&klon.path("source"), 40, 2);
    for name in ["b", "c", "d"] {
        image::sparse(&klon.path(name), 160 * MIB);
    }
    fs::write(klon.path("script"), SCRIPT).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let modules = "dm-mod dm-crypt raid1 md-mod loop ext4 xts aes_generic sha256_generic \
                   algif_skcipher";
    let mut arguments = vec!["--modules", modules, "--with", env!("CARGO_BIN_EXE_klon")];
    for tool in ["dmsetup", "cryptsetup", "lvm", "mdadm"] {
        arguments.extend(["--with", tool]);
    }
    let files = ["script", "source", "b", "c", "d"].map(|name| klon.text(name));
    arguments.extend(files.iter().map(String::as_str));
    let said = run(program.to_str().unwrap(), &arguments);
    for (name, reason, code) in EXPECTED {
        let attempt = said
            .split("-- ")
            .find(|text| text.lines().next() == Some(name));
        let attempt = attempt.unwrap_or_else(|| panic!("{name:?} is not in\n{said}"));
        let is_told = attempt.contains(reason) && attempt.contains(&format!("code {code}\n"));
        assert!(is_told, "{attempt}\nin\n{said}");
    }
}
