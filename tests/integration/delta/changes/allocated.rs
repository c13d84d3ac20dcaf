//! Changes of what is allocated.

use super::{Change, FILE, On, SPARSE, TWO, UNWRITTEN, change, keeps, only};

/// Changes of what is allocated.
pub(super) const ALLOCATED: &[Change] = &[
    change("cut", FILE, "truncate -s 30000 f; long f"),
    change(
        "cut-and-grown",
        FILE,
        "truncate -s 8K f; truncate -s 48K f; long f",
    ),
    change(
        "cut-and-rewritten",
        FILE,
        "truncate -s 0 f; head -c 48K /dev/urandom >>f; long f",
    ),
    change("cut-by-a-byte", FILE, "truncate -s 49151 f; long f"),
    change("grown", FILE, "truncate -s 400K f; long f"),
    change("punched", FILE, "io f 'fpunch 8k 8k'"),
    change(
        "punched-and-filled",
        FILE,
        "io f 'fpunch 8k 8k'; lie f 8K 8K",
    ),
    change("zeroed", FILE, "io f 'fzero 8k 8k'"),
    change(
        "zeroed-and-filled",
        FILE,
        "io f 'fzero 8k 16k'; put f 12K 4K",
    ),
    change(
        "collapsed",
        FILE,
        "io f 'fcollapse 0 16k' || io f 'fcollapse 0 64k'",
    ),
    change(
        "inserted",
        FILE,
        "io f 'finsert 16k 16k' || io f 'finsert 0 64k'",
    ),
    change(
        "collapsed-and-inserted",
        FILE,
        "io f 'fcollapse 16k 16k' 'finsert 16k 16k'",
    ),
    change("reserved-behind-the-end", FILE, "io f 'falloc -k 48k 256k'"),
    change(
        "cut-and-reserved",
        FILE,
        "truncate -s 8K f; io f 'falloc 8k 40k'",
    ),
    change("zeroed-behind-the-end", FILE, "io f 'fzero -k 48k 64k'"),
    change("punched-whole", FILE, "io f 'fpunch 0 48k'; put f 0 48K"),
    change("hole-filled", SPARSE, "lie f 64K 6000"),
    change("hole-reserved", SPARSE, "io f 'falloc 32k 32k'"),
    change("unwritten-filled", UNWRITTEN, "lie f 64K 6000"),
    change(
        "unwritten-mapped",
        UNWRITTEN,
        "io f 'mmap -rw 0 128k' 'mwrite -S 7 70000 5000' munmap",
    ),
    change(
        "unwritten-direct",
        UNWRITTEN,
        "io f 'pwrite -S 5 96k 8k' fsync",
    ),
    change(
        "unwritten-punched",
        UNWRITTEN,
        "io f 'fpunch 64k 16k'; put f 64K 4K",
    ),
    change("small-grown-large", "noise f 60", "put f 0 5000"),
    change("large-cut-small", FILE, "truncate -s 60 f; long f"),
    change(
        "preallocated-then-cut",
        FILE,
        "io f 'falloc -k 48k 256k'; truncate -s 48K f; long f",
    ),
    only(On::Ext, change("defragmented", "pieces f 60", "e4defrag f")),
    only(
        On::Xfs,
        change("defragmented", "pieces f 60", "xfs_fsr -v f"),
    ),
    only(
        On::Xfs,
        change("exchanged-extents", TWO, "io g 'swapext f'; long f"),
    ),
    only(
        On::Xfs,
        change(
            "exchanged-there-and-back",
            TWO,
            "io g 'swapext f'; put g 8K 4K; io g 'swapext f'; long f",
        ),
    ),
    only(On::Shared, change("cloned-over", TWO, "io f 'reflink g'")),
    only(
        On::Shared,
        change("cloned-in-part", TWO, "io f 'reflink g 8k 16k 8k'"),
    ),
    only(
        On::Shared,
        change(
            "deduplicated",
            "noise f 64K; cp f g",
            "io f 'dedupe g 0 0 64k'",
        ),
    ),
    only(
        On::Shared,
        change(
            "shared-and-written",
            FILE,
            "cp --reflink=always f g; put f 8K 4K",
        ),
    ),
    only(
        On::Shared,
        change("copy-written", SHARED, "put g 8K 4K; chmod 600 f"),
    ),
    only(
        On::Shared,
        change("original-written", SHARED, "put f 8K 4K"),
    ),
    only(
        On::Shared,
        change("copy-deleted", SHARED, "rm g; sync .; put f 8K 4K"),
    ),
    only(
        On::Shared,
        change(
            "copy-written-direct",
            SHARED,
            "dd if=/dev/urandom of=g bs=4K count=2 seek=3 oflag=direct conv=notrunc status=none; rm f",
        ),
    ),
    only(
        On::Shared,
        change("unshared", SHARED, "io f 'funshare 0 48k'; put f 4K 4K"),
    ),
    only(
        On::Shared,
        keeps(change("copy-alone-written", SHARED, "put g 8K 4K")),
    ),
];

const SHARED: &str = "noise f 48K; cp --reflink=auto f g";
