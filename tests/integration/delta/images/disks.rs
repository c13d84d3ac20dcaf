//! Disks with partitions: each volume has evidence of its own.

use super::{assert_same_used, by_metadata, evidence};
use crate::delta::clones::WORD;
use crate::delta::volumes::script;
use crate::support::image::{put, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, Mount, lacks_root, run};
use klon_partition::device::{Window, look_at};
use klon_partition::filesystem::owners;
use klon_partition::{Extent, ExtentMap};
use serde_json::Value;
use std::fs;

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096"];
/// Where the two volumes lie, in MiB.
pub(super) const AT: [u64; 2] = [1, 130];
const SIZE: u64 = 128;

pub(super) struct Disk {
    pub(super) klon: Klon,
}

impl Disk {
    /// A disk with an ext4 and a volume of another kind, of which there is one snapshot.
    pub(super) fn imaged(second: &[&str], more: &[&str]) -> Self {
        let disk = Self { klon: Klon::new() };
        let path = disk.klon.path("disk");
        sparse(&path, 400 * MIB);
        for (at, mkfs) in AT.into_iter().zip([EXT4, second]) {
            let volume = disk.klon.path("volume");
            sparse(&volume, SIZE * MIB);
            let text = disk.klon.text("volume");
            run(mkfs[0], &[&mkfs[1..], &[&text]].concat());
            put(&volume, &path, at * MIB);
            fs::remove_file(volume).unwrap();
        }
        disk.table(AT);
        for volume in 0..2 {
            let files =
                "mkdir still; for i in $(seq 20); do noise still/$i 1500K; done; noise f 2M";
            disk.change(volume, files);
        }
        disk.image(more);
        disk
    }

    /// Writes a table with the partitions at these places, in MiB.
    fn table(&self, at: [u64; 2]) {
        let [one, two] = at.map(|at| format!("start={}, size={}", at * 2048, SIZE * 2048));
        let table =
            format!("label: gpt\nlabel-id: 11111111-2222-4333-8444-555555555555\n{one}\n{two}\n");
        fs::write(self.klon.path("table"), table).unwrap();
        self.klon.shell("sfdisk -q disk < table").expect(0);
    }

    /// Runs a script in a mounted volume.
    pub(super) fn change(&self, volume: usize, text: &str) {
        let options = format!("loop,offset={},sizelimit={}", AT[volume] * MIB, SIZE * MIB);
        let mount = Mount::new(self.klon.path("disk"), &self.klon.path("mnt"), &options);
        script(mount.path(), text);
    }

    pub(super) fn image(&self, more: &[&str]) -> Value {
        let arguments = [&["image", "disk", "i.klon"][..], more].concat();
        self.klon.json(&arguments)
    }

    /// Where the first sector of a file of a volume lies on the disk.
    pub(super) fn place(&self, volume: usize, path: &str) -> usize {
        let disk = look_at(&self.klon.path("disk")).unwrap();
        let part = Extent::new(AT[volume] * MIB, SIZE * MIB).unwrap();
        let window = Window::new(&disk, part).unwrap();
        let all = ExtentMap::whole(part.len_bytes());
        let owners = owners(&window, &all, 10_000).files;
        let owner = owners.iter().find(|owner| owner.path == path).unwrap();
        let at = owner.extent.shifted(part.offset_bytes()).unwrap();
        usize::try_from(at.offset_bytes()).unwrap()
    }

    /// The last snapshot, restored, is what the disk is.
    pub(super) fn assert_equal(&self, at: [u64; 2]) {
        self.klon.ok(&["verify", "i.klon"]);
        self.klon.ok(&["verify", "i.klon", "disk"]);
        self.klon.ok(&["restore", "i.klon", "restored"]);
        let open = |name: &str| look_at(&self.klon.path(name)).unwrap();
        let (wanted, found) = (open("disk"), open("restored"));
        for at in at {
            let part = Extent::new(at * MIB, SIZE * MIB).unwrap();
            let [wanted, found] = [&wanted, &found].map(|disk| Window::new(disk, part).unwrap());
            assert_same_used(&wanted, &found);
        }
        fs::remove_file(self.klon.path("restored")).unwrap();
    }
}

#[test]
fn each_volume_of_a_disk_is_known_by_its_own_files() {
    if lacks_root() {
        return;
    }
    let disk = Disk::imaged(EXT4, &[]);
    assert_eq!(evidence(&disk.klon).len(), 2);
    disk.change(1, "put f 64K 20K");
    let done = by_metadata(disk.image(&[WORD, "--audit", "none"]));
    assert_eq!(number(&done, "files_examined"), 42, "{done:#}");
    assert_eq!(number(&done, "files_changed"), 1, "{done:#}");
    assert!(number(&done, "skipped_bytes") >= 40 * MIB, "{done:#}");
    assert!(number(&done, "read_source_bytes") <= 20 * MIB, "{done:#}");
    disk.assert_equal(AT);
    // One of them is not known: the other need not be read.
    for path in evidence(&disk.klon) {
        fs::remove_file(path).unwrap();
        let done = by_metadata(disk.image(&[WORD]));
        let reason = done["reason"].as_str().unwrap();
        let wanted = ": the last run kept nothing of the files";
        assert!(
            reason.contains("; partition ") && reason.ends_with(wanted),
            "{reason}"
        );
        let skipped = number(&done, "skipped_bytes");
        assert!((15 * MIB..33 * MIB).contains(&skipped), "{done:#}");
    }
    let both = by_metadata(disk.image(&[WORD, "--audit", "100%"]));
    assert_eq!(both["audit"], "passed", "{both:#}");
    assert_eq!(both["audited_bytes"], both["skipped_bytes"], "{both:#}");
    disk.change(0, "noise large 5M");
    let line = ["image", "disk", "i.klon", WORD, "--explain"];
    disk.klon
        .ok(&line)
        .shows(&["read whole: 1:/large, 5 MiB: new"]);
    disk.assert_equal(AT);
}

#[test]
fn a_volume_that_lies_elsewhere_is_read() {
    if lacks_root() {
        return;
    }
    let disk = Disk::imaged(EXT4, &[]);
    // The same filesystem, one MiB on, under the same number.
    let line = format!(
        "dd if=disk of=part bs=1M skip={} count={SIZE} status=none; \
         dd if=part of=disk bs=1M seek={} conv=notrunc status=none",
        AT[1],
        AT[1] + 1
    );
    disk.klon.shell(&line).expect(0);
    let now = [AT[0], AT[1] + 1];
    disk.table(now);
    let done = by_metadata(disk.image(&[WORD]));
    let reason = done["reason"].as_str().unwrap();
    let wanted =
        "partition 2: what the last run kept of the files can't be used: it belongs to another";
    assert!(reason.contains(wanted), "{reason}");
    disk.assert_equal(now);
    by_metadata(disk.image(&[WORD]));
    disk.assert_equal(now);
}
