//! Disks that would have klon look for more than there is time and memory for.

use super::{LOADERS, disk};
use crate::support::image::{put, sparse};
use crate::support::tool::run_with_input;
use crate::support::{Klon, MIB, run};
use std::fs;

/// Clusters of the volume that [`Fat16`] changes.
const CLUSTER_BYTES: usize = 2048;
/// What a directory has at most.
const DIRECTORY_BYTES: usize = 65_536 * 32;

/// A FAT16 volume that is changed behind the back of mtools.
struct Fat16 {
    bytes: Vec<u8>,
    fat_bytes: usize,
    reserved_bytes: usize,
    clusters_at: usize,
}

impl Fat16 {
    fn new(bytes: Vec<u8>) -> Self {
        let field = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let (reserved_bytes, fat_bytes) = (field(14) * 512, field(22) * 512);
        assert_eq!((field(11), usize::from(bytes[13])), (512, 4));
        Self {
            clusters_at: reserved_bytes + 2 * fat_bytes + field(17) * 32,
            fat_bytes,
            reserved_bytes,
            bytes,
        }
    }

    fn cluster(&self, cluster: usize) -> usize {
        self.clusters_at + (cluster - 2) * CLUSTER_BYTES
    }

    /// Makes the directory that begins at `cluster` as long as can be, and fills it with copies of `entry`; its other
    /// clusters are those from `rest`.
    fn fill(&mut self, (cluster, rest): (usize, usize), entry: &[u8]) {
        let count = DIRECTORY_BYTES / CLUSTER_BYTES;
        let clusters: Vec<usize> = std::iter::once(cluster)
            .chain(rest..rest + count - 1)
            .collect();
        let content = entry.repeat(CLUSTER_BYTES / entry.len());
        for (index, &cluster) in clusters.iter().enumerate() {
            let next = clusters.get(index + 1).map_or(0xffff, |&next| next as u16);
            for fat in 0..2 {
                let at = self.reserved_bytes + fat * self.fat_bytes + 2 * cluster;
                self.bytes[at..at + 2].copy_from_slice(&next.to_le_bytes());
            }
            let at = self.cluster(cluster);
            self.bytes[at..at + CLUSTER_BYTES].copy_from_slice(&content);
        }
    }
}

/// A directory's entry with a short name.
fn short_entry(name: &[u8; 11], cluster: u16) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = 0x10;
    entry[26..28].copy_from_slice(&cluster.to_le_bytes());
    entry
}

/// A disk whose only volume is an ESP with `/EFI` at cluster 2, `/loader` at 3, `/loader/entries` at 4 and one entry there,
/// changed.
fn esp_disk(klon: &Klon, name: &str, change: impl FnOnce(&mut Fat16)) {
    sparse(&klon.path("fat"), 40 * MIB);
    let fat = klon.text("fat");
    run("mkfs.fat", &["-F", "16", "-s", "4", &fat]);
    for directory in ["::/EFI", "::/loader", "::/loader/entries"] {
        run("mmd", &["-i", &fat, directory]);
    }
    let initrds: String = (0..80_000).map(|n| format!("initrd /a{n}\n")).collect();
    fs::write(klon.path("conf"), initrds).unwrap();
    let to = "::/loader/entries/one.conf";
    run("mcopy", &["-i", &fat, &klon.text("conf"), to]);
    let mut volume = Fat16::new(fs::read(klon.path("fat")).unwrap());
    change(&mut volume);
    fs::write(klon.path("fat"), &volume.bytes).unwrap();
    sparse(&klon.path(name), 50 * MIB);
    let table = "label: gpt\n1MiB,40MiB,U\n";
    run_with_input("sfdisk", &["-q", &klon.text(name)], table);
    put(&klon.path("fat"), &klon.path(name), MIB);
}

#[test]
fn directories_that_are_in_themselves_are_looked_at_in_part() {
    let klon = Klon::new();
    esp_disk(&klon, "disk", |fat| {
        fat.fill((2, 8000), &short_entry(b"VENDOR  EFI", 2));
    });
    // That there is no loader is not known.
    let answer = klon.json(&["check-boot", "disk"]);
    assert_eq!(answer["is_complete"], true);
    let findings = answer["findings"].as_array().unwrap();
    let texts: Vec<&str> = findings
        .iter()
        .map(|finding| finding["text"].as_str().unwrap())
        .collect();
    let says = |part: &str| texts.iter().any(|text| text.contains(part));
    assert!(says(
        "\"EFI\" on partition 1 (fat16) has more than 256 names"
    ));
    assert!(says(
        "\"EFI/VENDOR.EFI\" on partition 1 (fat16) has more than 256 names"
    ));
    assert!(says("take longer to read than those of any sound one"));
    assert!(texts.len() < 500, "{}", texts.len());
    assert!(!says("has no loader") && !says("neither by UEFI"));
}

#[test]
fn entries_without_end_end_in_a_sum() {
    let klon = Klon::new();
    esp_disk(&klon, "disk", |fat| {
        // Behind those for the directory itself and the one above it: the entry with its long name.
        let at = fat.cluster(4) + 64;
        let entry = fat.bytes[at..at + 64].to_vec();
        assert!(entry.starts_with(b"Ao"), "{entry:?}");
        fat.fill((4, 8000), &entry);
    });
    let answer = klon.run(&["check-boot", "disk", "--json"]).expect(1).last();
    let findings = answer["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1001);
    let last = findings.last().unwrap();
    assert_eq!(last["state"], "unknown");
    let text = last["text"].as_str().unwrap();
    assert!(text.contains("more findings than are listed"), "{text}");
}

#[test]
fn what_is_too_long_is_read_up_to_a_whole_line() {
    let klon = Klon::new();
    let root = super::ROOT;
    disk(&klon, "disk", &LOADERS, |tree| {
        let mut text = format!("UUID={root} / ext4 defaults 0 1\n");
        let cut = format!("UUID={root} /cut ext4 defaults 0 1\n");
        let comments = (1 << 20) - text.len() - 20;
        text.push_str(&"#".repeat(comments - 1));
        text.push('\n');
        text.push_str(&cut);
        fs::write(tree.join("etc/fstab"), text).unwrap();
    });
    klon.ok(&["check-boot", "disk"]).shows(&[
        "\"/\": UUID=",
        "unknown  \"etc/fstab\" on partition 2 (ext4) is longer than any such configuration",
        "1 thing could not be looked at",
    ]);
}
