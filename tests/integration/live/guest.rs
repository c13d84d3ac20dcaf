//! The image of a disk in use whose EFI system partition is mounted, in a guest: this machine's kernel may have no FAT.

use super::busy_disk::same;
use crate::support::image::{own_boot_disk, sparse};
use crate::support::{Klon, MIB, lacks_root, run};
use std::fs;
use std::path::Path;

/// What is frozen goes to /dev/vdc.
const SCRIPT: &str = r#"
mkdir -p /esp /data
mount -t vfat -o umask=0077 /dev/vda1 /esp
mount -t ext4 /dev/vda3 /data
exec 3>/esp/open
code=0; klon image /dev/vda /tmp/x.klon --still read-only || code=$?; echo "open: $code"
echo x >/data/x && echo "goes on"
(while echo open >>/data/log; do :; done) &
klon image /dev/vda /tmp/open.klon --json --freeze-max 100s 3>&-
kill $!
klon list /tmp/open.klon
exec 3>&-
export KLON_TEST_WHILE_FROZEN='echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/vdc bs=1M'
for round in first second; do
    (while echo $round >>/data/log; do :; done) &
    dd if=/dev/urandom of=/esp/loader.$round bs=64k count=40
    klon image /dev/vda /tmp/x.klon --json --freeze-max 100s
    kill $!
done
unset KLON_TEST_WHILE_FROZEN
klon list /tmp/x.klon
klon restore /tmp/x.klon /dev/vdb --yes --confirm /dev/vdb
echo y >/esp/writable && echo "still writable"
umount /esp /data
"#;

#[test]
fn a_disk_in_use_with_its_efi_system_partition_is_imaged() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    for name in ["target", "frozen"] {
        sparse(&klon.path(name), 200 * MIB);
    }
    fs::write(klon.path("script"), SCRIPT).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let files = ["script", "disk", "target", "frozen"].map(|name| klon.text(name));
    let modules = "vfat nls_cp437 nls_iso8859-1 nls_utf8 nls_ascii ext4";
    let options = ["--modules", modules, "--with", env!("CARGO_BIN_EXE_klon")];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = run(program.to_str().unwrap(), &[&options[..], &files].concat());
    let expected = [
        "open: 3",
        "can't be made read-only",
        "goes on",
        r#"{"number":1,"consistency":"read_twice"},{"number":3,"consistency":"frozen"}"#,
        "its partition 3 was mounted, and frozen, its partition 1 was mounted and not at rest, and the same when it was read twice",
        r#"{"number":1,"consistency":"read_only"},{"number":3,"consistency":"frozen"}"#,
        "its partition 3 was mounted, and frozen, its partition 1 was mounted, and read-only for the moment",
        "still writable",
    ];
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    if cfg!(debug_assertions) {
        same(&klon.path("frozen"), &klon.path("target"), &[1, 3]);
    }
}
