//! Volumes as Linux' own driver leaves them, unmounted and after a power cut, and how it reads
//! their clones.

use super::volume::Volume;
use super::{check, check_answers, usage, whole};
use crate::support::{MIB, lacks_root, run};
use klon_partition::filesystem::{Basis, Hazard};
use std::fs;
use std::path::Path;

/// Fills a volume until its free space is in pieces, and lists what is in it.
const FILL: &str = r#"
    fill() {
        mkdir -p "$1/one/two"
        for i in $(seq 60); do head -c $((i * 300)) /dev/urandom > "$1/one/file $i"; done
        rm "$1"/one/*[13579]
        head -c 900000 /dev/urandom > "$1/large"
        rm "$1"/one/*[26]
        head -c 400000 /dev/urandom >> "$1/large"
        for i in $(seq 120); do echo $i > "$1/one/two/with a rather long name, number $i"; done
        head -c 90000 /dev/urandom > "$1/shorter"
        truncate -s 30000 "$1/shorter"
        truncate -s 200000 "$1/longer"
    }
    list() {
        (cd "$1" && find . -type f | sort | while read -r file; do sha256sum "$file"; done)
    }
    at() {
        mkdir -p /mnt/$1
        mount -t exfat ${2:-} /dev/vd$1 /mnt/$1
    }
"#;

/// Runs a script with images as /dev/vda and so on, on Debian's kernel.
fn guest(script: &str, images: &[&Volume]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = images[0].directory.path().join("script");
    fs::write(&file, format!("{FILL}\n{script}")).unwrap();
    let program = root.join("scripts/guest");
    let mut arguments = vec!["--modules", "exfat nls_utf8", file.to_str().unwrap()];
    arguments.extend(images.iter().map(|image| image.text()));
    run(program.to_str().unwrap(), &arguments)
}

/// The part of what was listed between a mark and the next.
fn section<'a>(text: &'a str, mark: &str) -> &'a str {
    let rest = text.split_once(mark).expect(mark).1;
    rest.split("== ").next().unwrap().trim()
}

#[test]
fn volumes_of_the_kernels_own_driver() {
    if lacks_root() {
        return;
    }
    let make = |sector_bytes| Volume::make(12 * MIB, sector_bytes, &["-c", "4K", "-b", "4K"]);
    let [unmounted, synced, busy] = [512, 512, 512].map(make);
    let script = r"
        for disk in a b c; do at $disk; fill /mnt/$disk; done
        echo == a; list /mnt/a; umount /mnt/a
        echo == b; list /mnt/b
        echo == c; list /mnt/c
        sync
        rm /mnt/c/one/*8
        echo more > /mnt/c/more
    ";
    let made = guest(script, &[&unmounted, &synced, &busy]);
    assert!(unmounted.chained_files() > 0);
    check(&unmounted);
    // The driver clears VolumeDirty at every flush: the volume is sound as it stands.
    check_answers(&synced);
    // It sets it at the next change.
    let (hazards, _) = whole(&busy);
    assert!(
        matches!(hazards[..], [Hazard::NotCleanlyUnmounted(_)]),
        "{hazards:?}"
    );
    let clones = [&unmounted, &synced, &busy].map(|volume| volume.copy_of(&usage(volume).used()));
    let script = r"
        at a -oro; at b; at c
        for disk in a b c; do echo == $disk; list /mnt/$disk; done
        echo after > /mnt/c/after
        umount /mnt/b /mnt/c
    ";
    let read = guest(script, &[&clones[0], &clones[1], &clones[2]]);
    for disk in ["== a", "== b"] {
        assert!(section(&made, disk).lines().count() > 100);
        assert_eq!(section(&made, disk), section(&read, disk));
    }
    // Of the busy one everything is there that had been flushed and not been changed since.
    let found: Vec<&str> = section(&read, "== c").lines().collect();
    for line in section(&made, "== c").lines() {
        let is_removed = line.contains("/one/file ") && line.ends_with('8');
        assert!(is_removed || found.contains(&line), "{line}");
    }
    // The driver leaves VolumeDirty as it found it: only a check clears it.
    let (hazards, _) = whole(&clones[2]);
    assert!(matches!(hazards[..], [Hazard::NotCleanlyUnmounted(_)]));
    run("fsck.exfat", &["-y", clones[2].text()]);
    assert_eq!(usage(&clones[2]).basis, Basis::Map);
    check(&clones[2]);
}
