//! XFS without checksums (version 4), changed by a kernel in a guest: new ones don't mount it.

use super::changes::{On, PAST, all};
use super::past;
use super::sound::assert_sound;
use super::state::State;
use super::volumes::{Made, XFS_V4, changes, failed, in_folder, preparation};
use crate::support::{lacks_root, run};
use klon_imaging::change::proven::Rule;
use std::path::Path;

/// What the scripts run; busybox has none of it, or knows fewer options.
const PROGRAMS: &[&str] = &[
    "bash", "cat", "chattr", "chmod", "chown", "cp", "dd", "debugfs", "gzip", "head", "ln",
    "losetup", "mkdir", "mke2fs", "mkswap", "mv", "rm", "seq", "setfacl", "setfattr", "stat",
    "sync", "touch", "truncate", "xfs_fsr", "xfs_io",
];

const MOUNTED: &str = "mkdir -p /volume /etc
mount -t xfs /dev/vda /volume
ln -sf /proc/self/mounts /etc/mtab
cd /volume
cat >/tmp/script <<'THE-END-OF-IT'
";
const UNMOUNTED: &str = "
THE-END-OF-IT
bash /tmp/script /volume 2>/tmp/said || { cat /tmp/said; exit 1; }
cd /
umount /volume
";

/// Runs a bash script in the mounted volume, in a guest.
fn in_guest(made: &Made, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    std::fs::write(&path, format!("{MOUNTED}{script}{UNMOUNTED}")).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let image = made.image();
    let programs = PROGRAMS.iter().flat_map(|program| ["--with", program]);
    let files = [&path, &image].map(|path| path.to_str().unwrap());
    let modules = ["--modules", "xfs loop"].into_iter();
    let arguments: Vec<&str> = modules.chain(programs).chain(files).collect();
    run(program.to_str().unwrap(), &arguments)
}

/// The inodes of the files `f`, by the change.
const INODES: &str = "cd /volume/changes; for name in *; do
    [ ! -f $name/f ] || echo \"inode $name $(stat -c %i $name/f)\"
done";

#[test]
fn no_change_of_xfs_without_checksums_is_missed() {
    if lacks_root() {
        return;
    }
    let rule = Rule::default();
    let mut made = Made::new(&XFS_V4);
    let prepare = in_folder(&preparation(On::Xfs));
    let said = in_guest(&made, &format!("{prepare}\n{INODES}"));
    for line in said.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let change = all(On::Xfs).find(|change| words.get(1) == Some(&change.name));
        if let (["inode", _, inode], Some(change)) = (&words[..], change) {
            made.inodes.insert(change.name, inode.parse().unwrap());
        }
    }
    assert!(made.inodes.len() >= 60, "{said}");
    let before = State::of(&made, None, &rule);
    let said = in_guest(&made, &changes(On::Xfs));
    let impossible = failed(On::Xfs, &said);
    assert!(impossible.len() <= 18, "{impossible:?}");
    for &(change, offset_bytes) in PAST {
        if let Some(&inode) = made.inodes.get(change) {
            past::write(&made.image(), (inode, offset_bytes), change);
        }
    }
    let after = State::of(&made, Some(&before), &rule);
    assert_sound(&made, &before, &after, "all changes");
    let idle = State::of(&made, Some(&after), &rule);
    assert_sound(&made, &after, &idle, "no change");
}
