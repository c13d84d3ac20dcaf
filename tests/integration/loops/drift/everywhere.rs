//! What is done to any filesystem.

use super::{Case, Change, Expected, Scene};

/// What a person, a system or a program does to any mounted filesystem.
/// `idle` is what is expected of a mount during which nothing is done.
pub(super) fn mounted(idle: Expected) -> Vec<Case> {
    use Change::Mounted;
    use Expected::{Same, Token};
    vec![
        (
            "mounted to be read",
            Mounted("ro", "cat documents/7 large >/dev/null"),
            Same,
        ),
        ("mounted and unmounted", Mounted("rw", ""), idle),
        ("a file touched", Mounted("rw", "touch large"), Token),
        (
            "a file read",
            Mounted("rw,strictatime", "cat large >/dev/null"),
            Token,
        ),
        (
            "a file made",
            Mounted("rw", "head -c 70000 large >made"),
            Token,
        ),
        (
            "a file overwritten in place",
            Mounted(
                "rw",
                "dd if=/dev/zero of=large bs=4096 seek=9 count=3 conv=notrunc status=none",
            ),
            Token,
        ),
        (
            "a file extended",
            Mounted("rw", "head -c 9000 large >>documents/5"),
            Token,
        ),
        ("a file removed", Mounted("rw", "rm documents/6"), Token),
        (
            "a file renamed",
            Mounted("rw", "mv documents/6 documents/old/7"),
            Token,
        ),
        (
            "a mode changed",
            Mounted("rw", "chmod 600 documents/8"),
            Token,
        ),
        (
            "an owner changed",
            Mounted("rw", "chown 1234:77 documents/8"),
            Token,
        ),
        (
            "an attribute set",
            Mounted("rw", "setfattr -n user.note -v changed documents/9"),
            Token,
        ),
        (
            "a directory made",
            Mounted("rw", "mkdir documents/new"),
            Token,
        ),
        (
            "nodes and links made",
            Mounted("rw", "mknod null c 1 3; ln -s large link; ln large hard"),
            Token,
        ),
        (
            "a hole punched",
            Mounted("rw", "fallocate -p -o 8192 -l 65536 large"),
            Token,
        ),
        (
            "space reserved",
            Mounted("rw", "fallocate -l 1M reserved"),
            Token,
        ),
        ("a file cut", Mounted("rw", "truncate -s 5000 large"), Token),
        ("free space trimmed", Mounted("rw", "fstrim ."), idle),
        (
            "a file mapped and written",
            Mounted(
                "rw",
                "python3 -c 'import mmap; f = open(\"large\", \"r+b\"); m = mmap.mmap(f.fileno(), 0); m[70000:70004] = b\"mmap\"; m.flush()'",
            ),
            Token,
        ),
    ]
}

/// What is written past any filesystem.
pub(super) fn raw() -> Vec<Case> {
    use Change::{Flip, Raw};
    use Expected::{Foreign, Hidden, Same};
    vec![
        ("free space written", Flip(Scene::free), Same),
        ("contents of a file written", Flip(Scene::content), Hidden),
        (
            "signatures wiped",
            Raw("wipefs -q -a \"$T\""),
            Foreign("someone changed the target"),
        ),
    ]
}
