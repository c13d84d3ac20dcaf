//! Volumes that are told as unfit for copying by their trees.

use super::variant::{Variant, mkfs};
use super::{hazards, run};
use crate::filesystems::image_file::ImageFile;
use klon_partition::filesystem::{Basis, Hazard, usage};
use std::fs::File;
use std::path::Path;

type IsExpected = fn(&Hazard) -> bool;

/// A change by `xfs_db`, which sets the checksum right.
fn edit(image: &Path, field: &str, value: &str) {
    let write = format!("write -d {field} {value}");
    let arguments = ["-x", "-c", "sb 0", "-c", &write, image.to_str().unwrap()];
    run("xfs_db", &arguments);
}

#[test]
fn flags_and_features_of_the_superblock() {
    let cases: [(&str, &str, IsExpected); 6] = [
        ("features_incompat", "0x10b", |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        ("features_ro_compat", "0x1d", |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        ("features_log_incompat", "2", |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        ("features_incompat", "0x1b", |hazard| {
            matches!(hazard, Hazard::Errors(_))
        }),
        ("inprogress", "1", |hazard| {
            matches!(hazard, Hazard::Damaged(_))
        }),
        ("agblocks", "4000", |hazard| {
            matches!(hazard, Hazard::Damaged(_))
        }),
    ];
    for (field, value, is_expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let image = Variant::named("default").make(directory.path());
        edit(&image, field, value);
        let found = hazards(&image);
        let is_told = matches!(&found[..], [hazard] if is_expected(hazard));
        assert!(is_told, "{field} {value}: {found:?}");
        let basis = usage(&ImageFile::open(&image)).unwrap().basis;
        assert!(matches!(basis, Basis::Whole { .. }), "{field} {value}");
    }
}

#[test]
fn logs_and_realtime_devices_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str, size_mib: u64| {
        let path = directory.path().join(name);
        File::create(&path)
            .unwrap()
            .set_len(size_mib << 20)
            .unwrap();
        path
    };
    let (log, realtime) = (make("log", 80), make("realtime", 50));
    let cases = [
        ("-l", format!("logdev={},size=64m", log.display())),
        ("-r", format!("rtdev={}", realtime.display())),
    ];
    for (option, value) in cases {
        let image = make(&format!("volume{option}"), 320);
        let path = image.to_str().unwrap();
        mkfs(&["-q", option, &value, path]);
        let found = hazards(&image);
        let is_told = match &found[..] {
            [Hazard::ExternalJournal(_)] => option == "-l",
            [Hazard::MultiDevice(_)] => option == "-r",
            _ => false,
        };
        assert!(is_told, "{option}: {found:?}");
    }
}
