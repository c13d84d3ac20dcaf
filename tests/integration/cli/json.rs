//! The JSON of every command: one object a line, with the documented keys.

use crate::support::image::{boot_disk, ext4, golden, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB};
use serde_json::Value;

const MAP_KEYS: [&str; 8] = [
    "filesystem",
    "block_size_bytes",
    "size_bytes",
    "used_bytes",
    "unproven_bytes",
    "known_bad_bytes",
    "extents",
    "unproven",
];

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Extents in order, apart, inside the volume, and as many bytes as are used.
fn check_extents(map: &Value) {
    let mut end = 0;
    let mut sum = 0;
    for extent in map["extents"].as_array().unwrap() {
        let [offset, len] = [0, 1].map(|index| extent[index].as_u64().unwrap());
        assert_eq!(extent.as_array().unwrap().len(), 2);
        assert!((sum == 0 || offset > end) && len > 0, "{map:#}");
        (end, sum) = (offset + len, sum + len);
    }
    assert!(end <= number(map, "size_bytes"));
    assert_eq!(sum, number(map, "used_bytes"));
}

#[test]
fn a_map_has_the_documented_keys() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 2);
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("zero"), MIB);
    for (volume, filesystem, block) in [
        ("volume", "ext4".into(), 4096),
        ("disk:1", "fat16".into(), 2048),
        ("disk:3", "ext4".into(), 4096),
        ("disk", Value::Null, 0),
        ("zero", Value::Null, 0),
    ] {
        let outcome = klon.ok(&["map", volume, "--json"]);
        assert_eq!(outcome.lines().len(), 1);
        let map = outcome.last();
        let found = keys(&map);
        assert!(MAP_KEYS.iter().all(|key| found.contains(key)), "{found:?}");
        let is_known = |key: &&str| MAP_KEYS.contains(key) || *key == "whole_because";
        assert!(found.iter().all(is_known), "{found:?}");
        assert_eq!(map["filesystem"], filesystem, "{volume}");
        assert_eq!(map["block_size_bytes"], block, "{volume}");
        check_extents(&map);
    }
    let text = klon.ok(&["map", "volume"]).stdout;
    assert!(
        text.contains("ext4 \"volume\"") && text.lines().count() > 2,
        "{text}"
    );
}

/// Logical volumes copy faster by themselves than with the volume that holds them.
#[test]
fn what_could_be_copied_instead_is_said() {
    let klon = Klon::new();
    golden("lvm2", &klon.path("volume"));
    let map = klon.json(&["map", "volume"]);
    assert!(map["whole_because"].is_null(), "{map:#}");
    let advice = map["advice"].as_str().unwrap();
    assert!(advice.contains("'lvs'"), "{advice}");
    let disk = klon.json(&["devices", "volume"]);
    assert_eq!(disk["volumes"][0]["advice"], advice);
    for command in ["map", "devices"] {
        let text = klon.ok(&[command, "volume"]).stdout;
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn devices_tells_what_is_on_a_disk() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    let disk = klon.json(&["devices", "disk"]);
    assert_eq!(disk["table"], "gpt");
    assert_eq!(number(&disk, "size_bytes"), 200 * MIB);
    assert_eq!(disk["identity"], format!("path:{}", klon.text("disk")));
    let volumes = disk["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 2, "{disk:#}");
    assert_eq!(volumes[0]["partition"]["number"], 1);
    assert_eq!(volumes[1]["partition"]["name"], "root äß");
    let root = &volumes[1]["filesystem"];
    assert_eq!(
        (&root["kind"], &root["label"]),
        (&"ext4".into(), &"disk".into())
    );
    assert!(number(root, "used_bytes") > 30 * MIB);
    // The disks of the machine, whatever they are.
    klon.ok(&["devices", "--json"]).lines();
}

fn check_lines(lines: &[Value]) {
    for line in lines {
        let event = line["event"].as_str().unwrap();
        let known = ["started", "progress", "finished", "volume", "summary"];
        assert!(known.contains(&event), "{line}");
    }
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events.iter().filter(|event| **event == "summary").count(),
        1
    );
    assert_eq!(events.last(), Some(&"summary"), "{events:?}");
}

#[test]
fn a_plan_goes_through_all_commands_as_json() {
    let klon = Klon::new();
    boot_disk(&klon.path("boot"), 512);
    ext4(&klon.path("data"), 32, 4);
    sparse(&klon.path("drive"), 300 * MIB);
    let planning = [
        "plan",
        "--drive",
        "drive",
        "Boot=boot",
        "Master=data",
        "-o",
        "plan",
    ];
    let proposal = klon.json(&planning);
    let volumes = proposal["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 3, "{proposal:#}");
    assert!(proposal["warnings"].is_array());

    let would = klon.json(&["prepare", "plan", "--dry-run"]);
    assert_eq!(would["dry_run"], true);
    let prepared = klon.json(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    assert_eq!(prepared["event"], "prepared");
    assert_eq!(prepared["changes"], would["changes"]);
    assert!(
        prepared["changes"].as_array().unwrap().len() >= 4,
        "{prepared:#}"
    );

    let would = klon.ok(&["clone", "plan", "--dry-run", "--json"]).lines();
    assert_eq!(would.len(), 3);
    let lines = klon.ok(&["clone", "plan", "--json"]).lines();
    check_lines(&lines);
    let summary = lines.last().unwrap();
    let of = |key| number(summary, key);
    let each = summary["volumes"].as_array().unwrap();
    let sum = |key| each.iter().map(|one| number(one, key)).sum::<u64>();
    for key in [
        "source_bytes",
        "used_bytes",
        "read_source_bytes",
        "written_bytes",
    ] {
        assert_eq!(of(key), sum(key), "{key}");
    }
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["event"] == "volume")
            .count(),
        3
    );

    let lines = klon.ok(&["verify", "plan", "--json"]).lines();
    let verified = lines.iter().filter(|line| line["event"] == "verified");
    assert!(verified.clone().all(|line| line["is_equal"] == true));
    assert_eq!(verified.count(), 3);
}

#[test]
fn errors_are_no_json_on_standard_output() {
    let klon = Klon::new();
    let outcome = klon.run(&["map", "nowhere", "--json"]).expect(2);
    assert!(outcome.stdout.is_empty() && outcome.stderr.starts_with("klon: "));
}
