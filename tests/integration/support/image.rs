//! Sources made by real tools: volumes and disks in plain files.

use super::tool::{output, run};
use super::{LoopDevice, MIB, tree};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The disk GUID of [`boot_disk`], and the GUIDs of its partitions.
pub(crate) const DISK_GUID: &str = "11111111-2222-4333-8444-555555555555";
/// Of the ESP.
pub(crate) const ESP_GUID: &str = "AAAAAAAA-0001-4000-8000-000000000001";
/// Of the root volume.
pub(crate) const ROOT_GUID: &str = "AAAAAAAA-0002-4000-8000-000000000002";

/// A sparse file.
pub(crate) fn sparse(path: &Path, size_bytes: u64) {
    File::create(path).unwrap().set_len(size_bytes).unwrap();
}

/// An ext4 volume with a tree of `files_mib` in it.
pub(crate) fn ext4(path: &Path, size_mib: u64, files_mib: usize) {
    let tree = path.with_extension("tree");
    tree::fill(&tree, size_mib, files_mib);
    let label = path.file_stem().unwrap().to_str().unwrap();
    let (tree_text, file) = (tree.to_str().unwrap(), path.to_str().unwrap());
    let size = format!("{size_mib}m");
    let options = ["-q", "-t", "ext4", "-b", "4096", "-L", label];
    let arguments = [&options[..], &["-d", tree_text, file, &size]].concat();
    run("mke2fs", &arguments);
    fs::remove_dir_all(tree).unwrap();
}

/// A FAT volume with a few files.
pub(crate) fn fat(path: &Path, size_mib: u64, sector_bytes: u32) {
    sparse(path, size_mib * MIB);
    let file = path.to_str().unwrap();
    let sector = sector_bytes.to_string();
    run(
        "mkfs.fat",
        &["-S", &sector, "-n", "EFI", "-i", "1234ABCD", file],
    );
    let tree = path.with_extension("tree");
    fs::create_dir_all(tree.join("boot")).unwrap();
    fs::write(tree.join("boot/bootx64.efi"), tree::noise(5, 1_500_000)).unwrap();
    fs::write(tree.join("boot/a long name.txt"), "text").unwrap();
    let boot = tree.join("boot");
    run(
        "mcopy",
        &["-s", "-i", file, boot.to_str().unwrap(), "::/EFI"],
    );
    fs::remove_dir_all(tree).unwrap();
}

/// The files of a FAT volume, copied out of it to `directory`.
pub(crate) fn fat_files(volume: &str, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let directory = directory.to_str().unwrap();
    run("mcopy", &["-s", "-n", "-i", volume, "::/EFI", directory]);
}

/// Writes the content of `volume` into `disk` from `offset_bytes` on, holes left holes.
pub(crate) fn put(volume: &Path, disk: &Path, offset_bytes: u64) {
    let disk = OpenOptions::new().write(true).open(disk).unwrap();
    let content = fs::read(volume).unwrap();
    for (index, piece) in content.chunks(1 << 16).enumerate() {
        if piece.iter().any(|&byte| byte != 0) {
            let at = offset_bytes + (index as u64) * (1 << 16);
            disk.write_all_at(piece, at).unwrap();
        }
    }
}

/// [`boot_disk`] with GUIDs of its own, for loop devices: other tests see those, and take the disks
/// of their files for copies of them.
pub(crate) fn own_boot_disk(path: &Path, sector_bytes: u32) {
    boot_disk(path, sector_bytes);
    let device = (sector_bytes != 512).then(|| LoopDevice::new(path, sector_bytes));
    let at = device
        .as_ref()
        .map_or(path.to_str().unwrap(), LoopDevice::text);
    run("sgdisk", &["-G", at]);
    if let Some(device) = &device {
        run("blockdev", &["--flushbufs", device.text()]);
    }
}

/// A GPT disk of 200 MiB: an ESP in slot 1, an ext4 root volume in slot 3. Other sectors than
/// those of 512 bytes need root, because sgdisk takes them from a device only.
pub(crate) fn boot_disk(path: &Path, sector_bytes: u32) {
    sparse(path, 200 * MIB);
    let (esp, root) = (path.with_extension("esp"), path.with_extension("root"));
    fat(&esp, 33, sector_bytes);
    ext4(&root, 160, 30);
    let at = |mib: u64| mib * MIB / u64::from(sector_bytes);
    let esp_place = format!("1:{}:{}", at(1), at(34) - 1);
    let root_place = format!("3:{}:{}", at(36), at(196) - 1);
    let (esp_guid, root_guid) = (format!("1:{ESP_GUID}"), format!("3:{ROOT_GUID}"));
    let options = [
        ["-U", DISK_GUID],
        ["-n", &esp_place],
        ["-t", "1:ef00"],
        ["-c", "1:EFI system"],
        ["-u", &esp_guid],
        ["-n", &root_place],
        ["-t", "3:8304"],
        ["-c", "3:root äß"],
        ["-u", &root_guid],
        ["-A", "3:set:59"],
    ];
    let mut arguments: Vec<&str> = options.iter().flatten().copied().collect();
    let device = (sector_bytes != 512).then(|| LoopDevice::new(path, sector_bytes));
    arguments.push(
        device
            .as_ref()
            .map_or(path.to_str().unwrap(), LoopDevice::text),
    );
    run("sgdisk", &arguments);
    if let Some(device) = &device {
        run("blockdev", &["--flushbufs", device.text()]);
    }
    drop(device);
    put(&esp, path, MIB);
    put(&root, path, 36 * MIB);
    fs::remove_file(esp).unwrap();
    fs::remove_file(root).unwrap();
}

/// Fails unless sgdisk finds the table on a disk without a fault.
pub(crate) fn check_gpt(disk: &str) {
    let output = output("sgdisk", &["-v", disk]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("No problems found") && !text.contains("CRC"),
        "{disk}: {text}{errors}"
    );
}

/// What sfdisk says of a disk's table.
pub(crate) fn sfdisk(disk: &str) -> serde_json::Value {
    let text = run("sfdisk", &["--json", disk]);
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["partitiontable"].take()
}

/// Bytes of a file that take up space.
pub(crate) fn allocated_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().blocks() * 512
}

/// A range of a file or device.
pub(crate) fn read_range(path: impl AsRef<Path>, offset_bytes: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut bytes, offset_bytes).unwrap();
    bytes
}

/// Replaces one byte of a file by another.
pub(crate) fn flip(path: &Path, offset_bytes: u64) {
    let mut byte = read_range(path, offset_bytes, 1);
    byte[0] ^= 0x55;
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&byte, offset_bytes).unwrap();
}

/// Unpacks a golden image.
pub(crate) fn golden(name: &str, path: &Path) {
    let packed = format!("{}/images/{name}.img.zst", env!("CARGO_MANIFEST_DIR"));
    let mut image = File::create(path).unwrap();
    zstd::stream::copy_decode(File::open(packed).unwrap(), &mut image).unwrap();
}
