//! Changes of names, of attributes, and of whole files.

use super::{Change, FILE, TWO, change, keeps};

/// Changes of names, of attributes, and of whole files.
pub(super) const NAMED: &[Change] = &[
    change("renamed-over", FILE, "noise g 48K; mv g f"),
    change("recreated", FILE, "rm f; noise f 48K"),
    change(
        "recreated-at-once",
        "for i in $(seq 20); do noise $i 12K; done",
        "rm ?; for i in $(seq 9); do noise $i 12K; done",
    ),
    change("names-exchanged", TWO, "mv f h; mv g f; mv h g"),
    change("linked", FILE, "ln f g"),
    change("link-removed", "noise f 48K; ln f g", "rm f"),
    change(
        "unnamed-linked",
        FILE,
        "xfs_io -T -c 'pwrite -S 3 0 48k' . || :; noise g 48K; ln -f g f",
    ),
    change("moved-to-another-folder", FILE, "mkdir d; mv f d"),
    keeps(change(
        "folder-renamed",
        "mkdir d; noise d/f 48K; ln -s d/f f",
        "mv d e; rm f; ln -s e/f f",
    )),
    change("mode", FILE, "chmod 600 f"),
    change("owner", FILE, "chown 1234:5678 f"),
    change("attribute", FILE, "setfattr -n user.color -v blue f"),
    change(
        "long-attribute",
        FILE,
        "setfattr -n user.long -v $(printf %03000d 7) f",
    ),
    change(
        "attribute-removed",
        "noise f 48K; setfattr -n user.color -v blue f",
        "setfattr -x user.color f",
    ),
    change(
        "attribute-changed",
        LONG_VALUE,
        "setfattr -n user.long -v $(printf %0700d 8) f; put f 4K 4K",
    ),
    change("list", FILE, "setfacl -m u:77:rw f"),
    change("flags", FILE, "chattr +A f; chattr +d f"),
    change("stamped", FILE, "touch -d @1111111111 f"),
    change(
        "stamped-and-written",
        FILE,
        "put f 4K 4K; touch -r ../../still/0 f",
    ),
    keeps(change(
        "read",
        "noise f 48K; touch -a -d '3 days ago' f; touch -m f",
        "cat f >/dev/null",
    )),
    keeps(change(
        "folder-filled",
        FILE,
        "for i in $(seq 50); do : >$i; done",
    )),
    change(
        "deleted-and-taken",
        "for i in $(seq 30); do noise a$i 16K; done",
        "rm a*; sync .; for i in $(seq 40); do noise b$i 12K; done",
    ),
    change(
        "file-becomes-folder",
        "noise f 48K; noise g 20K",
        "rm f; mkdir f; for i in $(seq 100); do : >f/$i$i$i$i$i; done",
    ),
    change(
        "folder-becomes-file",
        "mkdir f; for i in $(seq 100); do : >f/$i$i$i$i$i; done",
        "rm -r f; noise f 48K",
    ),
    change(
        "link-becomes-file",
        "ln -s $(printf %0200d 1) f",
        "rm f; noise f 48K",
    ),
    change(
        "many-small",
        "for i in $(seq 60); do noise $i $((i * 100)); done",
        "for i in $(seq 2 7 60); do put $i 0 $((i * 50)); done",
    ),
    change("packed", "noise f 100K", "gzip -k f; rm f; gzip -d f.gz"),
    change("copied-and-back", TWO, "cp -p f h; cp g f; cp -p h f; rm h"),
];

const LONG_VALUE: &str = "noise f 48K; setfattr -n user.long -v $(printf %0700d 7) f";
