//! The plan file: what is written comes back, and what would do harm is refused.

use super::*;
use crate::planner::Loader;
use crate::table::Scheme;

fn text() -> String {
    let plan = planned(&request(100 * GIB, vec![boot(), master()]))
        .unwrap()
        .plan;
    plan.to_toml().unwrap()
}

fn refused(text: &str) -> String {
    Plan::from_toml(text).unwrap_err().to_string()
}

#[test]
fn a_plan_file_reads_well() {
    let text = text();
    let body = text.split_once("\n\n").unwrap().1;
    let start: Vec<&str> = body.lines().take(32).collect();
    assert_eq!(
        start.join("\n"),
        r#"version = 2

[drive]
identity = "serial:WD-WX11"
size_bytes = 107374182400
logical_sector_bytes = 512

[table]
scheme = "gpt"
is_new = true
disk_guid = "c0de0001-0000-4000-8000-000000000001"

[[volume]]
name = "BootClone-ESP"
group = "Boot"
number = 1
start_bytes = 1048576
size_bytes = 536870912
type = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
guid = "c0de0002-0000-4000-8000-000000000002"
size = "match"
source_bytes = 536870912
used_bytes = 134217728
filesystem = "fat32"

[volume.source]
identity = "serial:S4EWNX0M"
partition = 1
partuuid = "00000000-0000-0000-0000-000000100001"
fs_uuid = "AAAA-0001"

[[volume]]"#
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn every_key_is_explained_in_the_head() {
    let text = text();
    let (head, body) = text.split_once("\n\n").unwrap();
    for line in body.lines() {
        let key = line.split(" = ").next().unwrap();
        let key = key.trim_matches(['[', ']']).split('.').next().unwrap();
        assert!(head.contains(key), "{key:?} is not explained");
    }
}

#[test]
fn unknown_keys_versions_and_bad_values_are_refused_by_name() {
    let text = text();
    let with = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        refused(&edited)
    };
    let message = with("group = \"Boot\"", "group = \"Boot\"\ncolor = \"red\"");
    assert!(message.contains("unknown field `color`"), "{message}");
    let message = with("\nversion = 2", "\nversion = 3");
    assert!(message.contains("reads versions up to 2"), "{message}");
    let message = with("\nversion = 2", "");
    assert!(message.contains("missing field `version`"), "{message}");
    let message = with("identity = \"serial:", "identity = \"/dev/");
    assert!(message.contains("is not an identity"), "{message}");
    let message = with("size = \"match\"", "size = \"big\"");
    assert!(message.contains("is not a size policy"), "{message}");
    let message = with("type = \"c12a", "type = \"zz");
    assert!(message.contains("is not a partition type"), "{message}");
    let message = with("start_bytes = 1048576", "start_bytes = -1");
    assert!(message.contains("start_bytes"), "{message}");
    let message = with("number = 1", "number = \"one\"");
    assert!(
        message.contains("number") && message.contains("line"),
        "{message}"
    );
}

#[test]
fn the_disk_of_a_source_comes_back_as_it_was() {
    let mut boot = boot();
    let mut original = super::way_back::original();
    original.boot_code = vec![0xeb, 0x63, 0x90, 0, 1];
    original.has_loader_in_gap = true;
    original.loader = Some(Loader {
        start_bytes: 17_408,
        bytes: vec![0x52; 1024],
    });
    boot.source.original = Some(original.clone());
    let plan = planned(&request(100 * GIB, vec![boot])).unwrap().plan;
    original.groups = vec!["Boot".to_owned()];
    assert_eq!(plan.originals, [original]);
    let text = plan.to_toml().unwrap();
    assert_eq!(Plan::from_toml(&text).unwrap(), plan);
    for (from, to, why) in [
        (
            "groups = [\"Boot\"]",
            "groups = [\"Other\"]",
            "has the group",
        ),
        (
            "boot_code = \"eb",
            "boot_code = \"e",
            "two hexadecimal digits",
        ),
        (
            "start_bytes = 17408",
            "start_bytes = 17409",
            "expected whole sectors",
        ),
        (
            "start_bytes = 17408",
            "start_bytes = 0",
            "expected whole sectors",
        ),
        (
            "start_bytes = 17408",
            "start_bytes = 1048064",
            "expected whole sectors",
        ),
        (
            "name = \"swap\"",
            "name = \"swap\"\ncolor = 1",
            "unknown field",
        ),
        ("\nversion = 2", "\nversion = 1", "has no [[original]]"),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        let message = refused(&edited);
        assert!(message.contains(why), "{from}: {message}");
    }
    // Plans of klons before have none, and are read.
    let body = text.split("\n[[original]]").next().unwrap();
    let before = body.replacen("\nversion = 2", "\nversion = 1", 1);
    assert!(Plan::from_toml(&before).unwrap().originals.is_empty());
}

#[test]
fn edits_that_would_do_harm_are_refused() {
    let text = text();
    for (from, to, why) in [
        ("start_bytes = 1048576", "start_bytes = 2097152", "overlap"),
        (
            "start_bytes = 1048576",
            "start_bytes = 1048577",
            "multiples of the sector",
        ),
        (
            "start_bytes = 1048576",
            "start_bytes = 512",
            "expected inside of",
        ),
        (
            "start_bytes = 1048576",
            "start_bytes = 107374182400",
            "expected inside of",
        ),
        (
            "start_bytes = 1048576",
            "start_bytes = 9223372036854775807",
            "multiples",
        ),
        (
            "size_bytes = 536870912",
            "size_bytes = 536870400",
            "less than the source's",
        ),
        (
            "size_bytes = 536870912",
            "size_bytes = 0",
            "no range of bytes",
        ),
        ("number = 1", "number = 2", "have the same number"),
        ("number = 1", "number = 129", "from 1 to 128"),
        ("number = 1", "number = 0", "from 1 to 128"),
        (
            "c0de0003-0000-4000-8000-000000000003",
            "c0de0002-0000-4000-8000-000000000002",
            "have the same guid",
        ),
        ("BootClone-ESP", "MasterClone", "two volumes are called"),
        ("BootClone-ESP", "Boot/Clone", "has a slash"),
        (
            "type = \"c12a7328-f81f-11d2-ba4b-00a0c93ec93b\"",
            "type = \"0x83\"",
            "GPT table",
        ),
        (
            "scheme = \"gpt\"",
            "scheme = \"mbr\"",
            "expected a disk_guid alone",
        ),
        (
            "logical_sector_bytes = 512",
            "logical_sector_bytes = 500",
            "power of two",
        ),
        (
            "size_bytes = 107374182400",
            "size_bytes = 0",
            "expected inside of nothing",
        ),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        let message = refused(&edited);
        assert!(message.contains(why), "{from} to {to}: {message}");
    }
}

#[test]
fn kept_partitions_and_mbr_tables_come_back_too() {
    let mut first = request(
        200 * GIB,
        (1..=6).map(|n| data(&format!("D{n}"), GIB)).collect(),
    );
    first.options.scheme = Some(Scheme::Mbr);
    let old = planned(&first).unwrap().plan;
    assert_eq!(Plan::from_toml(&old.to_toml().unwrap()).unwrap(), old);
    let mut second = again(&first, &old);
    second.sources = vec![master()];
    let plan = super::plan(&second, &mut ids(99)).unwrap().plan;
    assert_eq!(plan.kept.len(), 7, "six and the extended one");
    assert_eq!(Plan::from_toml(&plan.to_toml().unwrap()).unwrap(), plan);
}

#[test]
fn attribute_63_survives() {
    let mut boot = boot();
    boot.source.volumes[1].attributes = 1 << 63;
    let plan = planned(&request(100 * GIB, vec![boot])).unwrap().plan;
    let text = plan.to_toml().unwrap();
    assert!(text.contains("attributes = \"0x8000000000000000\""));
    assert_eq!(Plan::from_toml(&text).unwrap(), plan);
}
