//! Changes that only Btrfs can have: files without copy-on-write, compression, subvolumes.

use super::{Change, FILE, On, change, keeps, only};

const fn btrfs(name: &'static str, prepare: &'static str, make: &'static str) -> Change {
    only(On::Btrfs, change(name, prepare, make))
}

/// Changes that only Btrfs can have.
pub(super) const BTRFS: &[Change] = &[
    btrfs("in-place", PLAIN, "lie f 8K 8K"),
    btrfs(
        "in-place-direct",
        PLAIN,
        "dd if=/dev/urandom of=f bs=4K count=2 seek=3 oflag=direct conv=notrunc status=none; long f",
    ),
    btrfs(
        "in-place-mapped",
        PLAIN,
        "io f 'mmap -rw 0 48k' 'mwrite -S 7 9000 5000' munmap",
    ),
    btrfs(
        "in-place-when-no-longer-shared",
        "plain f; plain g; cp --reflink=always f g",
        "put g 8K 4K; sync g; put g 8K 4K; rm f; sync .; put g 20K 4K",
    ),
    btrfs(
        "in-place-and-back",
        PLAIN,
        "cp f ../before; put f 8K 4K; sync f; cat ../before >f; rm ../before; put f 0 4K",
    ),
    btrfs(
        "in-place-by-attribute",
        FILE,
        "plain g; cat f >g; sync g; put g 8K 4K; mv g f",
    ),
    btrfs(
        "reserved-and-snapshot",
        "btrfs -q subvolume create s; xfs_io -f -c 'falloc 0 128k' s/f; put s/f 0 4K",
        "btrfs -q subvolume snapshot s t; put s/f 32K 8K; put t/f 32K 4K; sync .; put s/f 64K 4K",
    ),
    btrfs(
        "compressed",
        "chattr +c .; seq 30000 >f",
        "seq 7 5000 | dd of=f conv=notrunc status=none",
    ),
    btrfs(
        "compressed-in-the-middle",
        "chattr +c .; seq 60000 >f",
        "put f 100000 5000; put f 30000 100",
    ),
    btrfs(
        "no-longer-compressed",
        "chattr +c .; seq 30000 >f",
        "chattr -c f; cat f >g; cat g >f",
    ),
    btrfs(
        "defragmented",
        "pieces f 60",
        "btrfs -q filesystem defragment -f f",
    ),
    btrfs(
        "defragmented-and-packed",
        "seq 50000 >f",
        "btrfs -q filesystem defragment -f -czstd f; put f 4K 4K",
    ),
    btrfs(
        "middle-of-an-extent-twice",
        "noise f 128K",
        "put f 32K 32K; sync f; put f 36K 4K; sync f; put f 32K 32K",
    ),
    btrfs(
        "recreated-at-once-with-sync",
        FILE,
        "rm f; noise f 48K; sync f; rm f; sync .; noise f 48K",
    ),
    btrfs("in-a-subvolume", SUBVOLUME, "put s/f 8K 4K"),
    btrfs(
        "snapshot-written",
        SUBVOLUME,
        "btrfs -q subvolume snapshot s t; put t/f 8K 4K; put s/f 20K 4K",
    ),
    btrfs(
        "snapshot-deleted",
        "btrfs -q subvolume create s; noise s/f 48K; btrfs -q subvolume snapshot s t",
        "put s/f 4K 4K; btrfs -q subvolume delete -C t; btrfs subvolume sync . >/dev/null; put s/f 12K 4K",
    ),
    btrfs(
        "subvolume-deleted",
        SUBVOLUME,
        "btrfs -q subvolume delete -C s; btrfs subvolume sync . >/dev/null; noise f 48K",
    ),
    btrfs(
        "read-only-snapshot",
        "btrfs -q subvolume create s; noise s/f 48K; btrfs -q subvolume snapshot -r s t",
        "put s/f 4K 8K; btrfs property set -f t ro false; put t/f 8K 8K",
    ),
    btrfs(
        "sent-and-received",
        "btrfs -q subvolume create s; noise s/f 48K; btrfs -q subvolume snapshot -r s t",
        "mkdir d; btrfs -q send t 2>/dev/null | btrfs -q receive d; btrfs property set -f d/t ro false; put d/t/f 4K 4K",
    ),
    only(
        On::Btrfs,
        keeps(change(
            "snapshot-taken",
            "noise f 48K; btrfs -q subvolume create s; noise s/f 48K",
            "btrfs -q subvolume snapshot s t",
        )),
    ),
];

const PLAIN: &str = "plain f";
const SUBVOLUME: &str = "btrfs -q subvolume create s; noise s/f 48K";
