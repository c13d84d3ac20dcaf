//! Changes that are made on NTFS alone, through ntfs-3g.

use super::{Change, FILE, On, change, only};

/// What ntfs-3g can't even prepare, or would leave mounted in part.
pub(super) const LACKS: &[&str] = &["immutable", "after-a-remount"];

/// Changes of what only NTFS has.
pub(super) const NTFS: &[Change] = &[
    on_ntfs("times-set-back", FILE, TIMES_SET_BACK),
    on_ntfs("times-alone", FILE, "touch -d '2001-02-03 04:05:06' f"),
    on_ntfs(
        "hidden",
        FILE,
        "setfattr -h -n system.ntfs_attrib_be -v 0x00000022 f",
    ),
    on_ntfs(
        "stream",
        FILE,
        "head -c 9000 /dev/urandom >s; setfattr -n user.s -v 0x$(od -An -v -tx1 s | tr -d ' \\n') f",
    ),
    on_ntfs(
        "stream-changed",
        "noise f 48K; setfattr -n user.s -v $(printf %0900d 7) f",
        "setfattr -n user.s -v $(printf %0900d 8) f",
    ),
    on_ntfs("text-packed", TEXT, "put f 20000 5000; long f"),
    on_ntfs("text-packed-all", TEXT, "seq 20000 60000 >g; cat g >f"),
    on_ntfs("text-packed-and-cut", TEXT, "truncate -s 40000 f; long f"),
    on_ntfs("resident", "noise f 300", "put f 100 50"),
    on_ntfs(
        "resident-grown",
        "noise f 300",
        "head -c 9000 /dev/urandom >>f",
    ),
    on_ntfs("made-resident", "noise f 9000", "truncate -s 200 f"),
    on_ntfs(
        "listed",
        PIECES,
        "put f 1638400 3000; put f 3276800 3000; long f",
    ),
    on_ntfs("listed-and-cut", PIECES, "truncate -s 900000 f; long f"),
    on_ntfs("listed-and-grown", PIECES, "put f 9000000 30000; long f"),
    on_ntfs("listed-hole-filled", PIECES, "put f 1644544 4K; long f"),
    on_ntfs(
        "more-names",
        FILE,
        "for i in $(seq 30); do ln f $i$(printf %060d 1); done; put f 4K 4K",
    ),
    on_ntfs(
        "short-name",
        FILE,
        "setfattr -h -n system.ntfs_dos_name -v SHORT f",
    ),
];

const fn on_ntfs(name: &'static str, prepare: &'static str, make: &'static str) -> Change {
    only(On::Ntfs, change(name, prepare, make))
}

/// The times of making, writing and access are what they were.
const TIMES_SET_BACK: &str = r#"
times() { getfattr -h -e hex -n system.ntfs_times f | sed -n 's/^system.ntfs_times=//p'; }
before=$(times); put f 8K 4K; setfattr -h -n system.ntfs_times -v "$before" f; after=$(times)
[ "${before:0:50}" = "${after:0:50}" ]"#;
const TEXT: &str =
    "setfattr -h -v 0x00000800 -n system.ntfs_attrib_be . || :; seq 40000 >f; long f";
/// More runs than a file record holds.
const PIECES: &str = "pieces f 300; long f";
