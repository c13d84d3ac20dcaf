//! Files that are written past the filesystem.

use super::{Change, On, change, only};

/// Files that are written past the filesystem, by [`PAST`].
pub(super) const PREPARED: &[Change] = &[
    change("immutable", "noise f 48K; chattr +i f", ""),
    change(
        "environment",
        "{ echo '# GRUB Environment Block'; printf '#%.0s' {1..999}; } >f",
        "",
    ),
    change(
        "swap",
        "head -c 256K /dev/urandom >f; chmod 600 f; mkswap -q f 2>/dev/null",
        "",
    ),
    change(
        "hibernated",
        "head -c 256K /dev/zero >f; printf 'S1SUSPEND' | dd of=f bs=1 seek=4086 conv=notrunc status=none",
        "",
    ),
    change(
        "never-written",
        "xfs_io -f -c 'falloc 0 64k' f || { rm f; exit 0; }; put f 0 4K",
        "",
    ),
    only(
        On::Xfs,
        change(
            "immutable-shared",
            "noise f 48K; cp --reflink=auto f g; chattr +i f",
            "",
        ),
    ),
];

/// Of which folder the file `f` is written at which offset, past the filesystem.
pub(in crate::delta) const PAST: &[(&str, u64)] = &[
    ("immutable", 8192),
    ("environment", 100),
    ("swap", 65_536),
    ("hibernated", 131_072),
    ("never-written", 32_768),
    ("immutable-shared", 8192),
];
