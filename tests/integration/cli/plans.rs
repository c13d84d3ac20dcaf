//! Plans that no longer fit: another drive, another source, another size.

use crate::support::image::{boot_disk, check_gpt, ext4, sfdisk, sparse};
use crate::support::{Klon, MIB, run};
use std::fs;

const PLAN: [&str; 5] = ["plan", "--drive", "drive", "Master=data", "-o"];

/// A data volume and a drive prepared for it.
fn prepared() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("data"), 32, 4);
    sparse(&klon.path("drive"), 100 * MIB);
    klon.ok(&[&PLAN[..], &["plan"]].concat());
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    klon
}

fn drive(klon: &Klon) -> Vec<u8> {
    fs::read(klon.path("drive")).unwrap()
}

#[test]
fn planning_and_preparing_again_changes_nothing() {
    let klon = prepared();
    klon.ok(&["clone", "plan"]);
    let before = drive(&klon);
    let plan = fs::read_to_string(klon.path("plan")).unwrap();
    for output in ["plan", "other"] {
        let said = klon.ok(&[&PLAN[..], &[output]].concat()).stdout;
        assert!(said.contains("as planned already"), "{said}");
        let said = klon.ok(&["prepare", output]).stdout;
        assert!(said.contains("Nothing to do"), "{said}");
    }
    let volumes = |plan: &str| plan.split("\n[[volume]]").nth(1).unwrap().to_owned();
    let other = fs::read_to_string(klon.path("other")).unwrap();
    assert_eq!(volumes(&other), volumes(&plan));
    assert!(drive(&klon) == before);
}

#[test]
fn a_drive_of_another_size_is_another_drive() {
    let klon = prepared();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("drive"))
        .unwrap();
    file.set_len(101 * MIB).unwrap();
    let before = drive(&klon);
    for command in ["prepare", "clone", "verify"] {
        klon.refused(&[command, "plan"], &["another drive, or it was resized"]);
    }
    assert!(drive(&klon) == before);
}

#[test]
fn a_drive_whose_table_was_replaced_is_refused() {
    let klon = prepared();
    run("sgdisk", &["-G", &klon.text("drive")]);
    let before = drive(&klon);
    klon.refused(&["clone", "plan"], &["not the one of the plan"]);
    assert!(drive(&klon) == before);
    fs::rename(klon.path("drive"), klon.path("gone")).unwrap();
    klon.refused(&["clone", "plan"], &["drive", "not there any more"]);
}

#[test]
fn a_source_that_was_formatted_anew_is_refused() {
    let klon = prepared();
    klon.ok(&["clone", "plan"]);
    let before = drive(&klon);
    ext4(&klon.path("data"), 32, 1);
    let words = ["filesystem UUID", "formatted anew", "plan anew"];
    klon.refused(&["clone", "plan"], &words);
    assert!(drive(&klon) == before);
}

#[test]
fn a_source_that_has_grown_is_refused() {
    let klon = prepared();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("data"))
        .unwrap();
    file.set_len(64 * MIB).unwrap();
    // Its filesystem fits as before.
    klon.ok(&["clone", "plan"]);
    let before = drive(&klon);
    run("resize2fs", &[&klon.text("data")]);
    let reasons = ["is too small", "ends at 64 MiB", "Nothing was written"];
    klon.refused(&["clone", "plan"], &reasons);
    assert!(drive(&klon) == before);
}

#[test]
fn nothing_is_prepared_without_consent_to_this_very_drive() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 32, 4);
    sparse(&klon.path("drive"), 100 * MIB);
    sparse(&klon.path("decoy"), 100 * MIB);
    klon.ok(&[&PLAN[..], &["plan"]].concat());
    let before = drive(&klon);
    let words = format!("--yes --confirm {}", klon.text("drive"));
    for consent in [
        &[][..],
        &["--yes"],
        &["--confirm", "drive"],
        &["--yes", "--confirm", "decoy"],
    ] {
        let outcome = klon
            .run(&[&["prepare", "plan"], consent].concat())
            .expect(3);
        let is_wrong = consent.contains(&"decoy");
        outcome.says(&[if is_wrong { "--confirm names" } else { &words }]);
        assert!(drive(&klon) == before, "{consent:?}");
    }
    klon.ok(&["prepare", "plan", "--dry-run"]);
    assert!(drive(&klon) == before);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &klon.text("drive")]);
    check_gpt(&klon.text("drive"));
}

#[test]
fn only_what_is_named_is_cloned() {
    let klon = Klon::new();
    boot_disk(&klon.path("boot"), 512);
    ext4(&klon.path("data"), 32, 4);
    sparse(&klon.path("drive"), 400 * MIB);
    let sources = [
        "Boot=boot",
        "Master=data",
        "--size",
        "Master=grow",
        "-o",
        "plan",
    ];
    klon.ok(&[&["plan", "--drive", "drive"][..], &sources].concat());
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    let unknown = klon.run(&["clone", "plan", "--only", "Other"]).expect(2);
    unknown.says(&["\"Other\"", "MasterClone"]);
    let cloned = |only: &str| {
        let done = klon.json(&["clone", "plan", "--only", only]);
        done["volumes"].as_array().unwrap().len()
    };
    assert_eq!((cloned("MasterClone"), cloned("Boot")), (1, 2));
    klon.ok(&["verify", "plan", "--against-source"]);
    // Slots, names and places are those of the plan.
    let plan: toml::Table = fs::read_to_string(klon.path("plan"))
        .unwrap()
        .parse()
        .unwrap();
    let table = sfdisk(&klon.text("drive"));
    let partitions = table["partitions"].as_array().unwrap();
    for (volume, found) in plan["volume"].as_array().unwrap().iter().zip(partitions) {
        assert_eq!(found["name"], volume["name"].as_str().unwrap());
        let start = volume["start_bytes"].as_integer().unwrap() / 512;
        assert_eq!(found["start"], start);
    }
    check_gpt(&klon.text("drive"));
}
