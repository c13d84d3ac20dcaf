//! FAT, which can't be frozen, in a guest: this machine's kernel may have no FAT.

use crate::support::image::sparse;
use crate::support::{Klon, MIB, lacks_root, run};
use std::fs;
use std::path::Path;

const SCRIPT: &str = r#"
mkdir -p /esp
mount -t vfat -o umask=0077,noatime /dev/vda /esp
grep esp /proc/mounts >/tmp/before
exec 3>/esp/open
code=0; klon hold /esp || code=$?; echo "open: $code"
exec 3>&-
code=0; klon hold /esp --still freeze || code=$?; echo "freeze: $code"
klon hold /esp --for 100s --freeze-max 100s >/tmp/said &
until grep rest /tmp/said; do sleep 1; done
(echo x >/esp/x) 2>/dev/null || echo "read-only"
cp /dev/vda /tmp/frozen
kill -9 $!
until (echo y >/esp/y) 2>/dev/null; do sleep 1; done
echo "writable"
grep esp /proc/mounts | cmp - /tmp/before && echo "as it was"
klon hold /esp --for 100ms
umount /esp
"#;

/// While it is mounted for writing, and one file is written to all the time but when klon may have it.
/// Both disks have no name but their volume's, so the target must be named each time.
const CLONED: &str = r#"
mkdir -p /esp /there
mount -t vfat -o umask=0077 /dev/vda /esp
dd if=/dev/urandom of=/esp/loader bs=64k count=40
exec 3>/esp/open
code=0; klon clone /dev/vda /dev/vdb --yes --still read-only || code=$?; echo "open: $code"
exec 3>&-
for round in first second; do
    echo "$round" >/esp/$round
    klon clone /dev/vda /dev/vdb --yes --confirm /dev/vdb --json
    mount -t vfat -o ro /dev/vdb /there
    cmp /esp/loader /there/loader && cmp /esp/$round /there/$round && echo "$round: whole"
    umount /there
done
echo third >/esp/third
klon image /dev/vda /tmp/x.klon --json
klon list /tmp/x.klon
klon restore /tmp/x.klon /dev/vdb --yes --confirm fs-uuid:4B4C-4F4E
mount -t vfat -o ro /dev/vdb /there
cmp /esp/third /there/third && echo "third: whole"
umount /there
echo y >/esp/writable && echo "still writable"
umount /esp
"#;

/// While files are open for writing: one that nobody writes to, one that is written to now and then, and one that
/// is written to all the time.
const READ_TWICE: &str = r#"
mkdir -p /esp /there
mount -t vfat -o umask=0077 /dev/vda /esp
dd if=/dev/urandom of=/esp/loader bs=64k count=40
exec 3>/esp/open
echo held >&3
# What klon itself has open would be refused.
klon() { command klon "$@" 3>&-; }
clone="klon clone /dev/vda /dev/vdb --yes --confirm /dev/vdb"
compare() {
    mount -t vfat -o ro /dev/vdb /there
    cmp /esp/loader /there/loader && cmp /esp/open /there/open && echo "$1: whole"
    umount /there
}
$clone --json
compare first
echo more >&3
klon image /dev/vda /tmp/x.klon --json
klon list /tmp/x.klon
klon restore /tmp/x.klon /dev/vdb --yes --confirm fs-uuid:4B4C-4F4E
compare second
echo again >&3
$clone
compare third
klon diff /tmp/x.klon /dev/vda || echo "differs"
(while :; do echo x >&3; sync; sleep 0.1; done) &
writer=$!
code=0; $clone >/tmp/said 2>&1 || code=$?; echo "never the same: $code"
cat /tmp/said
kill $writer
wait $writer || :
exec 3>&-
# What the writer waited for ends later.
until umount /esp; do sleep 1; done
"#;

#[test]
fn a_volume_with_open_files_is_read_until_two_reads_are_equal() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let said = in_guest(&klon, READ_TWICE);
    let expected = [
        "\"consistency\":\"read_twice\"",
        "first: whole",
        "its source was mounted and not at rest, and the same when it was read twice",
        "second: whole",
        "third: whole",
        "differs",
        "never the same: 3",
        "Open for writing: /esp/open (",
    ];
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    // How far it came while it was written to all the time.
    let refusals = [
        "another one each of the 6 times that klon read it twice",
        "do not fit together while it is written to",
    ];
    assert!(refusals.iter().any(|it| said.contains(it)), "{said}");
    // The clone that was refused may have begun.
    run("fsck.fat", &["-n", &klon.text("esp")]);
}

/// Runs a script in a guest, with a FAT volume and a target.
fn in_guest(klon: &Klon, script: &str) -> String {
    for name in ["esp", "target"] {
        sparse(&klon.path(name), 64 * MIB);
    }
    run(
        "mkfs.fat",
        &["-F", "32", "-i", "4b4c4f4e", &klon.text("esp")],
    );
    fs::write(klon.path("script"), script).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let files = ["script", "esp", "target"].map(|name| klon.text(name));
    let modules = [
        "--modules",
        "vfat nls_cp437 nls_iso8859-1 nls_utf8 nls_ascii",
    ];
    let program = program.to_str().unwrap();
    let with = ["--with", env!("CARGO_BIN_EXE_klon")];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    run(program, &[&modules[..], &with, &files].concat())
}

#[test]
fn an_efi_system_partition_is_cloned_and_imaged_while_it_is_mounted() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let said = in_guest(&klon, CLONED);
    let expected = [
        "open: 3",
        "first: whole",
        "second: whole",
        "third: whole",
        "\"consistency\":\"read_only\"",
        "its source was mounted, and read-only for the moment",
        "still writable",
    ];
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    for name in ["esp", "target"] {
        run("fsck.fat", &["-n", &klon.text(name)]);
    }
}

#[test]
fn an_efi_system_partition_is_made_read_only_for_the_moment() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let said = in_guest(&klon, SCRIPT);
    let expected = [
        "open: 3",
        "freeze: 3",
        "at rest: /esp",
        "read-only",
        "writable",
        "as it was",
        "read-only since",
    ];
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    run("fsck.fat", &["-n", &klon.text("esp")]);
}
