//! LVM2 physical volumes against LVM's own tools.

mod host;

use super::image_file::ImageFile;
use crate::support::oracle::copy_onto_noise;
use crate::support::{MIB, lacks_root, run};
use host::Host;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Filesystem, Hazard, Kind, probe, usage};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn filesystem(image: &Path) -> Box<dyn Filesystem> {
    probe(&ImageFile::open(image)).unwrap().expect("an LVM2")
}

fn hazards(image: &Path) -> Vec<Hazard> {
    filesystem(image).summary().hazards.clone()
}

fn used(image: &Path) -> ExtentMap {
    let used = filesystem(image).used(&ImageFile::open(image));
    used.unwrap()
        .unwrap_or_else(|| panic!("{:?}", hazards(image)))
}

/// Klon's map is that of LVM's tools, and so are the names; with one volume it is believed.
fn check(host: &Host, index: usize) {
    let image = &host.images[index];
    let oracle = host.used(index);
    assert_eq!(used(image), oracle, "{index}");
    let filesystem = filesystem(image);
    let summary = filesystem.summary();
    assert_eq!(summary.kind, Kind::Lvm2);
    let blkid = |tag| {
        let path = image.to_str().unwrap();
        run("blkid", &["-p", "-o", "value", "-s", tag, path])
    };
    assert_eq!(blkid("TYPE").trim(), "LVM2_member");
    assert_eq!(summary.uuid.as_deref(), Some(blkid("UUID").trim()));
    assert_eq!(summary.label, None);
    assert_eq!(summary.used_bytes, Some(oracle.total_bytes()));
    let size_bytes = fs::metadata(image).unwrap().len();
    let device = ImageFile::open(image);
    assert_eq!(filesystem.change_token(&device).unwrap(), None);
    let usage = usage(&device).unwrap();
    if host.images.len() == 1 {
        assert_eq!(usage.basis, Basis::Map, "{:?}", summary.hazards);
        assert_eq!(usage.used(), oracle);
        check_copy(host);
    } else {
        assert!(matches!(summary.hazards[..], [Hazard::MultiDevice(_)]));
        assert_eq!(usage.used(), ExtentMap::whole(size_bytes));
    }
}

/// A copy of the used bytes alone, noise elsewhere, is the same to LVM's tools, and has the same
/// bytes in its logical volumes.
fn check_copy(host: &Host) {
    let image = &host.images[0];
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.img");
    let extents = usage(&ImageFile::open(image)).unwrap().used();
    copy_onto_noise(image, &copy, &extents);
    let before = answers(host);
    assert_eq!(answers(&Host::of(&copy)), before);
    assert_eq!(used(&copy), used(image));
}

/// Columns are as wide as the longest name of a device, and no device has the name of another.
fn narrow(text: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

fn answers(host: &Host) -> [String; 4] {
    let row = &host.report("pvs -o vg_name,vg_exported @0")[0];
    let group = row["vg_name"].as_str().unwrap();
    if !group.is_empty() && row["vg_exported"] == "" {
        host.lvm(&format!("vgck {group}"));
    }
    [
        host.lvm("pvck --dump headers @0"),
        host.lvm("pvck --dump metadata_all @0"),
        host.lvm("pvs --segments -o pv_uuid,pvseg_all,seg_all,pv_size,pv_used,vg_seqno"),
        host.lvm("lvs -a -o lv_uuid,seg_pe_ranges,lv_size"),
    ]
    .map(|text| narrow(&text.replace(host.devices[0].text(), "DEVICE")))
}

/// Volumes in groups, with holes between logical volumes.
fn variant(sizes_mib: &[u64], sector_bytes: u32, pvcreate: &str, vgcreate: &str) -> Host {
    let host = Host::new(sizes_mib, sector_bytes);
    let devices: Vec<String> = (0..sizes_mib.len())
        .map(|index| format!("@{index}"))
        .collect();
    let devices = devices.join(" ");
    host.lvm(&format!("pvcreate {pvcreate} {devices}"));
    host.lvm(&format!("vgcreate {vgcreate} klon {devices}"));
    for name in ["a", "b", "c", "d"] {
        host.lvcreate(&format!("-n {name} -l 3 klon"));
    }
    host.lvm("lvremove -y klon/b");
    // Around the hole: in two segments.
    host.lvcreate("-n e -l 5 klon");
    host.lvm("lvextend -l +2 klon/a");
    host.lvm("lvremove -y klon/c");
    host
}

macro_rules! variants {
    ($($name:ident: $sizes:expr, $sector:literal, $pvcreate:literal, $vgcreate:literal;)*) => {
        $(#[test]
        fn $name() {
            if lacks_root() {
                return;
            }
            let host = variant(&$sizes, $sector, $pvcreate, $vgcreate);
            for index in 0..host.images.len() {
                check(&host, index);
            }
        })*
    };
}

variants! {
    default_volume: [100], 512, "", "";
    small_extents: [32], 512, "", "-s 4k";
    large_extents: [1100], 512, "", "-s 64m";
    odd_extents: [64], 512, "", "-s 384k";
    two_metadata_areas: [64], 512, "--metadatacopies 2", "-s 1m";
    bootloader_area: [64], 512, "--bootloaderareasize 2m", "-s 1m";
    aligned_data: [64], 512, "--dataalignment 3m --dataalignmentoffset 7s", "-s 1m";
    large_metadata_area: [64], 512, "--metadatasize 9m", "-s 1m";
    label_in_the_last_sector: [64], 512, "--labelsector 3", "-s 1m";
    sectors_of_4_kib: [64], 4096, "", "-s 1m";
    two_volumes: [32, 40], 512, "", "-s 1m";
}

#[test]
fn changes_of_a_group_are_followed() {
    if lacks_root() {
        return;
    }
    let host = variant(&[64], 512, "", "-s 1m");
    host.lvm("vgexport klon");
    check(&host, 0);
    host.lvm("vgimport klon");
    host.lvm("vgrename klon other");
    host.lvm("lvremove -y other");
    check(&host, 0);
    // Extents that are not to be allocated are free all the same.
    host.lvm("pvchange -x n @0");
    check(&host, 0);
    // The partition grew, the volume did not.
    let file = File::options().write(true).open(&host.images[0]).unwrap();
    file.set_len(80 * MIB).unwrap();
    assert_eq!(used(&host.images[0]), host.used(0));
    assert_eq!(filesystem(&host.images[0]).summary().size_bytes, 64 * MIB);
    run("losetup", &["--set-capacity", host.devices[0].text()]);
    host.lvm("pvresize @0");
    check(&host, 0);
    // pvresize doesn't count what is before the first extent.
    assert_eq!(filesystem(&host.images[0]).summary().size_bytes, 79 * MIB);
}

#[test]
fn metadata_goes_around_its_ring() {
    if lacks_root() {
        return;
    }
    let host = variant(
        &[32],
        512,
        "--metadatasize 32k --dataalignment 64k",
        "-s 1m",
    );
    let mut wrapped = 0;
    for round in 0..14 {
        let tag = format!("{round:-<900}");
        host.lvm(&format!("vgchange --addtag t{tag} klon"));
        let headers = host.lvm("pvck --dump headers @0");
        let field = |name: &str| -> u64 {
            let line = headers.lines().find(|line| line.contains(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let end = field("raw_locn[0].offset") + field("raw_locn[0].size");
        if end > field("mda_header_1.size") {
            wrapped += 1;
            check(&host, 0);
        }
        assert_eq!(used(&host.images[0]), host.used(0), "{round}");
    }
    assert!(wrapped >= 1);
}

/// Nothing on the volume itself says what is free.
fn assert_unknown(image: &Path, part: &str) {
    let usage = usage(&ImageFile::open(image)).unwrap();
    let size_bytes = fs::metadata(image).unwrap().len();
    assert_eq!(usage.used(), ExtentMap::whole(size_bytes));
    let Basis::Whole { reason, is_warning } = usage.basis else {
        panic!("{:?}", usage.basis);
    };
    assert!(is_warning && reason.contains(part), "{reason}");
}

#[test]
fn a_volume_without_a_group_is_free() {
    if lacks_root() {
        return;
    }
    let host = Host::new(&[32], 512);
    host.lvm("pvcreate --metadatacopies 2 --bootloaderareasize 1m @0");
    check(&host, 0);
    host.lvm("vgcreate -s 1m klon @0");
    host.lvcreate("-n a -l 3 klon");
    check(&host, 0);
    host.lvm("vgremove -y klon");
    check(&host, 0);
}

#[test]
fn metadata_elsewhere_proves_nothing() {
    if lacks_root() {
        return;
    }
    let host = Host::new(&[32, 32, 32], 512);
    host.lvm("pvcreate @0");
    host.lvm("pvcreate --metadatacopies 0 @1");
    host.lvm("pvcreate @2");
    host.lvm("vgcreate -s 1m klon @0 @1 @2");
    host.lvcreate("-n striped -i 3 -l 9 klon");
    host.lvcreate("-n linear -l 20 klon");
    assert_eq!(used(&host.images[0]), host.used(0));
    assert_unknown(&host.images[1], "no metadata area");
    assert_eq!(used(&host.images[2]), host.used(2));
    host.lvm("pvchange --metadataignore y @2");
    assert_unknown(&host.images[2], "switched off");
    // Metadata that is years old would say that nothing is in use.
    host.lvm("pvchange --metadataignore n @2");
    assert_eq!(used(&host.images[2]), host.used(2));
    assert!(matches!(
        hazards(&host.images[2])[..],
        [Hazard::MultiDevice(_)]
    ));
}

#[test]
fn areas_that_disagree_are_damage() {
    if lacks_root() {
        return;
    }
    let host = variant(&[32], 512, "--metadatacopies 2", "-s 1m");
    let file = File::options().read(true).write(true).open(&host.images[0]);
    let file = file.unwrap();
    let second = host.used(0).extents().last().unwrap().offset_bytes();
    let mut before = vec![0; 1 << 20];
    file.read_exact_at(&mut before[..512], second).unwrap();
    host.lvcreate("-n late -l 4 klon");
    let newest = host.used(0);
    file.write_all_at(&before[..512], second).unwrap();
    let found = hazards(&host.images[0]);
    assert!(matches!(found[..], [Hazard::Damaged(_)]), "{found:?}");
    assert_eq!(used(&host.images[0]), newest);
    assert_unknown(&host.images[0], "disagree");
}
