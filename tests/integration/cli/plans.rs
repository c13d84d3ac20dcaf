//! Plans that no longer fit: another drive, another source, another size.

use crate::support::image::{boot_disk, check_gpt, ext4, sfdisk, sparse};
use crate::support::klon::typed;
use crate::support::{Klon, MIB, run};
use std::fs;
use std::os::unix::fs::symlink;

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
        klon.refused(
            &[command, "plan"],
            &["another drive, or someone resized it"],
        );
    }
    assert!(drive(&klon) == before);
}

#[test]
fn a_drive_whose_table_was_replaced_is_refused() {
    let klon = prepared();
    run("sgdisk", &["-G", &klon.text("drive")]);
    let before = drive(&klon);
    klon.refused(&["clone", "plan"], &["not the one in the plan"]);
    assert!(drive(&klon) == before);
    fs::rename(klon.path("drive"), klon.path("gone")).unwrap();
    klon.refused(&["clone", "plan"], &["drive", "is not there. Attach it"]);
}

#[test]
fn a_source_that_was_formatted_anew_is_refused() {
    let klon = prepared();
    klon.ok(&["clone", "plan"]);
    let before = drive(&klon);
    ext4(&klon.path("data"), 32, 1);
    let words = ["filesystem UUID", "someone formatted it", "make a new plan"];
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
    // Something that nothing recognizes.
    crate::support::image::flip(&klon.path("drive"), 50 * MIB);
    let before = drive(&klon);
    let words = format!("--yes --confirm {}", typed(&klon.text("drive")));
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

/// A disk in a file with two volumes, and what its table is of.
fn partitioned(klon: &Klon, table: &str) {
    sparse(&klon.path("disk"), 80 * MIB);
    let text = klon.text("disk");
    let script = format!("label: {table}\nstart=2048, size=24MiB\nsize=24MiB\n");
    crate::support::tool::run_with_input("sfdisk", &["-q", &text], &script);
    for (name, start_mib) in [("one", 1), ("two", 25)] {
        ext4(&klon.path(name), 24, 2);
        crate::support::image::put(&klon.path(name), &klon.path("disk"), start_mib * MIB);
    }
    sparse(&klon.path("drive"), 100 * MIB);
}

fn plan_of_partitions(klon: &Klon) {
    let plan = ["plan", "--drive", "drive", "One=disk:1", "Two=disk:2"];
    klon.ok(&[&plan[..], &["-o", "plan"]].concat());
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    klon.ok(&["clone", "plan"]);
    let done = klon.json(&["clone", "plan"]);
    assert_eq!(done["rung"], "digest");
    klon.ok(&["verify", "plan", "--against-source"]);
    for (number, name) in [(1, "one"), (2, "two")] {
        let of = format!("drive:{number}");
        klon.ok(&["verify", &of, name]);
    }
    let said = klon.ok(&[&plan[..], &["-o", "plan"]].concat()).stdout;
    assert!(said.contains("as planned already"), "{said}");
}

#[test]
fn partitions_in_files_are_planned_and_found_again() {
    for table in ["gpt", "dos"] {
        let klon = Klon::new();
        partitioned(&klon, table);
        plan_of_partitions(&klon);
    }
}

#[test]
fn partitions_of_a_table_without_a_signature_are_found_again() {
    let klon = Klon::new();
    partitioned(&klon, "dos");
    let mut bytes = fs::read(klon.path("disk")).unwrap();
    bytes[440..444].fill(0);
    fs::write(klon.path("disk"), bytes).unwrap();
    plan_of_partitions(&klon);
}

#[test]
fn a_partition_in_a_file_is_not_planned_twice_nor_with_its_disk() {
    let klon = Klon::new();
    partitioned(&klon, "gpt");
    for sources in [["A=disk:1", "B=disk:1"], ["A=disk", "B=disk:2"]] {
        let plan = ["plan", "--drive", "drive", sources[0], sources[1]];
        klon.run(&plan).expect(2).says(&["a volume in common"]);
    }
    // Another disk that came to be called so is not what the plan was made for.
    klon.ok(&["plan", "--drive", "drive", "A=disk:1", "-o", "plan"]);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    partitioned_anew(&klon);
    klon.refused(&["clone", "plan"], &["PARTUUID"]);
}

fn partitioned_anew(klon: &Klon) {
    run("sgdisk", &["-u", "1:R", &klon.text("disk")]);
}

#[test]
fn a_blank_drive_is_prepared_without_asking_and_any_other_is_not() {
    let klon = Klon::new();
    ext4(&klon.path("data"), 32, 4);
    sparse(&klon.path("drive"), 100 * MIB);
    klon.ok(&[&PLAN[..], &["plan"]].concat());
    // In the middle, at the end, in the table's place.
    for at in [50 * MIB, 100 * MIB - 512, 100] {
        let mut bytes = vec![0; 100 << 20];
        let at = usize::try_from(at / (100 * MIB / 256) * (100 * MIB / 256)).unwrap();
        bytes[at + 100] = 1;
        fs::write(klon.path("drive"), bytes).unwrap();
        klon.refused(
            &["prepare", "plan"],
            &["this would overwrite", "unknown content"],
        );
    }
    sparse(&klon.path("drive"), 100 * MIB);
    let wrong = ["prepare", "plan", "--yes", "--confirm", "data"];
    klon.refused(&wrong, &["--confirm names"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    check_gpt(&klon.text("drive"));
}

#[test]
fn consent_names_what_would_be_lost_and_no_neighbor() {
    let klon = Klon::new();
    partitioned(&klon, "gpt");
    run(
        "sgdisk",
        &["-c", "1:First", "-c", "2:Second", &klon.text("disk")],
    );
    ext4(&klon.path("source"), 24, 1);
    let said = klon.refused(
        &["clone", "source", "disk:2"],
        &["partition 2 Second: ext4"],
    );
    assert!(!said.stderr.contains("First"), "{}", said.stderr);
    // A table that is kept loses nothing.
    run("sgdisk", &["-d", "2", &klon.text("disk")]);
    klon.ok(&["plan", "--drive", "disk", "Data=source", "-o", "plan"]);
    let said = klon.refused(&["prepare", "plan"], &["create partition 2 \"DataClone\""]);
    assert!(!said.stderr.contains("First"), "{}", said.stderr);
    // A new one loses all.
    let plan = ["plan", "--drive", "disk", "Data=source", "--replace-table"];
    klon.ok(&[&plan[..], &["-o", "other"]].concat());
    klon.refused(&["prepare", "other"], &["partition 1 First: ext4"]);
    // And an empty one is called so.
    run(
        "sgdisk",
        &["-n", "2:60M:+8M", "-c", "2:Blank", &klon.text("disk")],
    );
    klon.ok(&["devices", "disk"]).shows(&["Blank", "empty"]);
    klon.refused(&["prepare", "other"], &["partition 2 Blank: empty"]);
}

#[test]
fn verify_of_a_drive_says_how_its_clones_are_verified() {
    let klon = prepared();
    klon.ok(&["clone", "plan"]);
    let said = klon.run(&["verify", "drive"]).expect(2);
    said.says(&["klon verify drive:1", "klon verify PLAN"]);
    klon.ok(&["verify", "drive:1"]);
    // One without clones is not said to have any, and a clone as a whole has a record.
    sparse(&klon.path("other"), 100 * MIB);
    klon.run(&["verify", "other"])
        .expect(2)
        .says(&["no record"]);
    klon.ok(&["clone", "drive", "whole"]);
    klon.ok(&["verify", "whole"]);
}

#[test]
fn what_is_no_plan_is_not_read_as_one() {
    let klon = prepared();
    sparse(&klon.path("disk"), 6 << 30);
    run("sgdisk", &["-n1:2048:0", &klon.text("disk")]);
    run("mkfifo", &[&klon.text("pipe")]);
    fs::write(klon.path("binary"), [0xff; 4096]).unwrap();
    fs::write(klon.path("empty"), "").unwrap();
    for (name, command, code, words) in [
        (
            "disk",
            "clone",
            2,
            "the target is missing: klon clone disk TARGET",
        ),
        ("binary", "clone", 2, "the target is missing"),
        ("empty", "clone", 2, "the target is missing"),
        ("pipe", "clone", 2, "the target is missing"),
        ("/dev/null", "clone", 2, "the target is missing"),
        ("disk", "prepare", 2, "disk is not a plan file"),
        ("binary", "prepare", 2, "is not a plan file"),
        ("pipe", "prepare", 2, "is not a plan file"),
        ("disk", "finish", 0, ""),
        ("binary", "finish", 0, ""),
    ] {
        let line = format!("ulimit -v 1500000; timeout 60 $K {command} {name}");
        let run = klon.shell(&line).expect(code);
        run.says(&[words]);
        assert!(!run.stderr.contains("UTF-8"), "{}", run.stderr);
    }
    // A plan with a mistake in it is one all the same.
    let plan = fs::read_to_string(klon.path("plan")).unwrap();
    fs::write(
        klon.path("wrong"),
        plan.replacen("\n[[volume]]", "\n[volume", 1),
    )
    .unwrap();
    for command in ["clone", "prepare", "finish", "verify"] {
        let run = klon.run(&[command, "wrong"]);
        assert_ne!(run.code, 0, "{command}");
        run.says(&["wrong"]);
    }
}

#[test]
fn a_plan_goes_to_a_free_name_or_in_the_place_of_a_plan() {
    let klon = prepared();
    symlink("nothing", klon.path("dangling")).unwrap();
    assert_ne!(klon.run(&[&PLAN[..], &["dangling"]].concat()).code, 0);
    assert!(!klon.path("nothing").exists());
    symlink("plan", klon.path("link")).unwrap();
    klon.ok(&[&PLAN[..], &["link"]].concat());
    assert!(klon.path("link").symlink_metadata().unwrap().is_symlink());
    fs::write(klon.path("other"), "precious").unwrap();
    assert_ne!(klon.run(&[&PLAN[..], &["other"]].concat()).code, 0);
    assert_eq!(fs::read(klon.path("other")).unwrap(), b"precious");
    assert!(klon.names(".klon-").is_empty());
}

#[test]
fn a_partition_over_data_that_no_partition_has_is_named_so() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 1);
    sparse(&klon.path("drive"), 200 * MIB);
    run("sgdisk", &["-n", "1:100M:+8M", &klon.text("drive")]);
    klon.ok(&["plan", "--drive", "drive", "Data=source", "-o", "plan"]);
    let words = ["create partition", "over data in no partition"];
    let said = klon.refused(&["prepare", "plan"], &words[..1]);
    assert!(!said.stderr.contains(words[1]), "{}", said.stderr);
    // What is left of a partition that was deleted.
    let mut bytes = fs::read(klon.path("drive")).unwrap();
    bytes[2 << 20..80 << 20].fill(7);
    fs::write(klon.path("drive"), bytes).unwrap();
    klon.refused(&["prepare", "plan"], &words);
}

#[test]
fn a_plan_is_no_source_of_another() {
    let klon = Klon::new();
    sparse(&klon.path("drive"), 64 * MIB);
    ext4(&klon.path("source"), 8, 1);
    fs::write(klon.path("empty"), "").unwrap();
    let plan = |source: &str, out: &str| klon.run(&["plan", "--drive", "drive", source, "-o", out]);
    plan("A=source", "plan").expect(0);
    plan("A=plan", "other").expect(2).says(&["plan is a plan"]);
    plan("A=empty", "other").expect(3).says(&["has no bytes"]);
    assert!(!klon.path("other").exists());
    plan("A=raw:plan", "other").expect(0);
}

#[test]
fn a_plan_that_is_not_there_is_told_with_what_makes_one() {
    let klon = Klon::new();
    for arguments in [
        &["prepare", "no plan.toml", "--yes"][..],
        &["prepare", "no plan.toml", "--dry-run"],
        &["clone", "no plan.toml"],
        &["clone", "no plan.toml", "--only", "BootClone", "--json"],
    ] {
        let failed = klon.run(arguments).expect(2);
        failed.says(&[
            "no plan.toml: there is no such file",
            "klon plan --drive DRIVE NAME=SOURCE -o 'no plan.toml'",
        ]);
    }
    // One argument may be a source, too.
    let failed = klon.run(&["clone", "nowhere"]).expect(2);
    failed.says(&["klon clone SOURCE TARGET", "nowhere: there is no such file"]);
}
