//! Changes of contents in place.

use super::{Change, FILE, TWO, change};

/// Changes of contents in place.
pub(super) const IN_PLACE: &[Change] = &[
    change("first-block", FILE, "put f 0 4K"),
    change("middle", FILE, "lie f 20000 5000"),
    change("one-byte", FILE, "put f 49151 1"),
    change("all-of-it", FILE, "lie f 0 48K"),
    change(
        "the-same-bytes",
        FILE,
        "cp f ../copy; dd if=../copy of=f conv=notrunc status=none; rm ../copy",
    ),
    change(
        "direct",
        FILE,
        "dd if=/dev/urandom of=f bs=4K count=2 seek=3 oflag=direct conv=notrunc status=none; long f",
    ),
    change(
        "synchronous",
        FILE,
        "dd if=/dev/urandom of=f bs=4K count=2 seek=3 oflag=sync conv=notrunc status=none; long f",
    ),
    change("fdatasync", FILE, "io f 'pwrite -S 7 8k 4k' fdatasync"),
    change(
        "sync-range",
        FILE,
        "io f 'pwrite -S 7 8k 4k' 'sync_range -w 8k 4k'",
    ),
    change(
        "mapped",
        FILE,
        "io f 'mmap -rw 0 48k' 'mwrite -S 7 9000 5000' 'msync -s'",
    ),
    change(
        "mapped-without-msync",
        FILE,
        "io f 'mmap -rw 0 48k' 'mwrite -S 7 9000 5000' munmap",
    ),
    change(
        "mapped-behind-the-end",
        "noise f 10000",
        "io f 'mmap -rw 0 12k' 'mwrite -S 7 9990 200' munmap",
    ),
    change("vectored", FILE, "io f 'pwrite -S 9 -V 4 -b 1k 4k 16k'"),
    change(
        "append-to-tail",
        "noise f 5000",
        "head -c 100 /dev/urandom >>f; long f",
    ),
    change("append", FILE, "head -c 40K /dev/urandom >>f; long f"),
    change(
        "append-and-cut",
        FILE,
        "head -c 40K /dev/urandom >>f; truncate -s 48K f; long f",
    ),
    change("written-twice", FILE, "put f 0 4K; sync f; lie f 0 4K"),
    change("loop-device", "noise f 64K", LOOP),
    change("loop-device-direct", "noise f 64K", LOOP_DIRECT),
    change(
        "filesystem-in-it",
        "truncate -s 1M f; mke2fs -q -F f",
        "debugfs -w -R 'mkdir new' f; long f",
    ),
    change("by-its-other-name", "noise f 48K; ln f g", "put g 8K 4K"),
    change(
        "in-many-pieces",
        "pieces f 90",
        "put f 163840 3000; put f 1310720 3000",
    ),
    change("hole-among-pieces", "pieces f 90", "put f 167936 4K"),
    change(
        "read-only-in-between",
        FILE,
        "chmod 400 f; put f 4K 4K; chmod 644 f; long f",
    ),
    change(
        "immutable-in-between",
        FILE,
        "chattr +i f; chattr -i f; put f 4K 4K",
    ),
    change(
        "through-splice",
        FILE,
        "head -c 16K /dev/urandom >g; io f 'sendfile -i g 0 16k'",
    ),
    change(
        "copied-range",
        TWO,
        "io f 'copy_range -s 4k -d 16k -l 12k g'",
    ),
    change("after-a-remount", FILE, REMOUNTED),
    change(
        "copied-with-holes",
        FILE,
        "cp --sparse=always f g; cat g >f",
    ),
    change(
        "exchanged-contents",
        TWO,
        "cp g h; cat f >g; cat h >f; rm h; long f; long g",
    ),
];

const LOOP: &str = r#"
device=$(losetup --find --show f); head -c 8K /dev/urandom | dd of="$device" bs=4K seek=3 conv=fsync status=none
losetup --detach "$device"; long f"#;
const LOOP_DIRECT: &str = r#"
device=$(losetup --find --show --direct-io=on f) || device=$(losetup --find --show f)
dd if=/dev/urandom of="$device" bs=4K count=2 seek=3 oflag=direct status=none; losetup --detach "$device"; long f"#;
/// Older kernels forget by that to count versions.
const REMOUNTED: &str =
    r#"sync f; mount -o remount,ro "$1"; mount -o remount,rw "$1"; lie f 8K 4K"#;
