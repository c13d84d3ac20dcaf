//! The whole job: plan, prepare, clone, change, clone again; only what changed is written.

use super::drive::{Bench, Volume};
use crate::support::image::{check_gpt, sfdisk};
use crate::support::klon::number;
use crate::support::{MIB, Mount, lacks_root, tree};
use klon_partition::Extent;
use klon_partition::device::open_source;
use klon_partition::filesystem::usage;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: usize = 4096;
/// What a run may write beside differing blocks: the first block twice, and the places of
/// signatures in the first chunk before and after.
const COMMIT_BLOCKS: u64 = 18;

/// Changes of every kind: in place, at the end, gone, new, renamed, other attributes.
fn change(bench: &Bench, volume: &Volume) {
    let mount = Mount::new(&volume.source, &bench.mount_point("mnt"), "rw");
    let at = |name: &str| mount.path().join(name);
    let large = OpenOptions::new().write(true).open(at("large")).unwrap();
    large
        .write_all_at(&tree::noise(70, 10_000), 3 * MIB + 123)
        .unwrap();
    let mut appended = OpenOptions::new()
        .append(true)
        .open(at("documents/7"))
        .unwrap();
    appended.write_all(&tree::noise(71, 50_000)).unwrap();
    fs::remove_file(at("documents/20")).unwrap();
    fs::write(at("created"), tree::noise(72, 300_000)).unwrap();
    fs::rename(at("documents/21"), at("documents/old/renamed")).unwrap();
    fs::set_permissions(
        at("documents/22"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
}

/// How many blocks of a volume on the drive differ between two images of it, of those that the
/// source uses: in others the update was staged.
fn differing_blocks(before: &[u8], after: &[u8], volume: &Volume) -> u64 {
    let source = open_source(Path::new(&volume.source)).unwrap();
    let used = usage(&source).unwrap().extents;
    let start = usize::try_from(volume.start_bytes).unwrap();
    let len = usize::try_from(volume.size_bytes).unwrap();
    let blocks = |image: &[u8]| image[start..start + len].to_vec();
    let (before, after) = (blocks(before), blocks(after));
    let pairs = before.chunks(BLOCK).zip(after.chunks(BLOCK));
    let is_used = |index: usize| {
        let block = Extent::new((index * BLOCK) as u64, BLOCK as u64);
        block.is_some_and(|block| used.overlaps(block))
    };
    let differing =
        |(index, (before, after)): (usize, (&[u8], &[u8]))| before != after && is_used(index);
    pairs.enumerate().filter(|&pair| differing(pair)).count() as u64
}

fn check_written(done: &Value, volume: &Volume, differing: u64) {
    let each = done["volumes"].as_array().unwrap();
    let of = each.iter().find(|one| one["name"] == *volume.name).unwrap();
    let block = BLOCK as u64;
    assert_eq!(number(of, "changed_bytes"), differing * block, "{of:#}");
    let written = number(of, "written_bytes");
    assert!(
        written <= (differing + COMMIT_BLOCKS) * block,
        "{differing} blocks: {of:#}"
    );
    if volume.name.ends_with("ESP") {
        assert_eq!((differing, written), (0, 0), "{of:#}");
    } else {
        assert_eq!(of["rung"], "digest", "{of:#}");
        assert!(differing > 20, "{of:#}");
    }
}

/// Nothing outside of the planned volumes is touched by a clone.
fn check_outside(before: &[u8], after: &[u8], volumes: &[Volume]) {
    let mut at = 0;
    for volume in volumes {
        let start = usize::try_from(volume.start_bytes).unwrap();
        assert!(
            before[at..start] == after[at..start],
            "before {}",
            volume.name
        );
        at = start + usize::try_from(volume.size_bytes).unwrap();
    }
    assert!(before[at..] == after[at..]);
}

/// Slots, places, types, GUIDs and names as planned.
fn check_table(bench: &Bench, plan: &Value, sector_bytes: u64) {
    check_gpt(bench.drive.text());
    let table = sfdisk(bench.drive.text());
    assert_eq!(table["sectorsize"], sector_bytes);
    let found = table["partitions"].as_array().unwrap();
    let planned = plan["volumes"].as_array().unwrap();
    assert_eq!(found.len(), planned.len());
    for (found, planned) in found.iter().zip(planned) {
        let number = planned["number"].as_u64().unwrap();
        assert_eq!(found["node"], bench.drive.part(number));
        let place = [0, 1].map(|index| planned["extent"][index].as_u64().unwrap() / sector_bytes);
        assert_eq!(
            [&found["start"], &found["size"]].map(|n| n.as_u64().unwrap()),
            place
        );
        let same = |a: &Value, b: &Value| {
            let [a, b] = [a, b].map(|text| text.as_str().unwrap().to_uppercase());
            assert_eq!(a, b, "{found:#} {planned:#}");
        };
        let attributes = planned["attributes"].as_u64().unwrap();
        let shown = found["attrs"].as_str().unwrap_or_default();
        assert_eq!(
            attributes,
            if shown == "GUID:59" { 1 << 59 } else { 0 },
            "{found:#}"
        );
        same(&found["name"], &planned["name"]);
        same(&found["uuid"], &planned["guid"]);
        same(&found["type"], &planned["partition_type"]["gpt"]);
    }
}

/// Planning and preparing a prepared drive.
fn check_idempotent(bench: &Bench) {
    let before = bench.drive_bytes();
    let plan = fs::read_to_string(bench.klon.path("plan")).unwrap();
    let again = bench.plan(&[]);
    let said = bench.klon.ok(&["prepare", "plan"]).stdout;
    assert!(said.contains("Nothing to do"), "{said}");
    let guids = |plan: &Value| -> Vec<Value> {
        plan["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["guid"].clone())
            .collect()
    };
    assert!(
        guids(&again)
            .iter()
            .all(|guid| plan.contains(guid.as_str().unwrap()))
    );
    assert!(bench.drive_bytes() == before);
}

/// The drive is known as what it is.
fn check_devices(bench: &Bench, plan: &Value) {
    let devices = bench.klon.json(&["devices", bench.drive.text()]);
    assert_eq!(devices["role"], "klon backup drive");
    let found = devices["volumes"].as_array().unwrap();
    for (found, planned) in found.iter().zip(plan["volumes"].as_array().unwrap()) {
        let node = bench.drive.part(planned["number"].as_u64().unwrap());
        assert_eq!(found["path"], node);
        assert!(found["clone_of"].is_string(), "{found:#}");
        // By its GUID it is found among all disks.
        let by_guid = format!("PARTUUID={}", planned["guid"].as_str().unwrap());
        let map = |volume: &str| bench.klon.json(&["map", volume]);
        assert_eq!(map(&by_guid), map(&node));
        bench.klon.ok(&["verify", &by_guid]);
        bench.klon.ok(&["verify", &node]);
    }
}

fn whole_job(sector_bytes: u32) {
    let bench = Bench::new(sector_bytes);
    let plan = bench.plan(&["--size", "Master=grow"]);
    bench.prepare();
    check_table(&bench, &plan, u64::from(sector_bytes));
    let volumes = bench.volumes(&plan);
    let first = bench.klon.json(&["clone", "plan", "--verify"]);
    assert_eq!(first["rung"], "full");
    bench.compare_all(&volumes);
    for volume in &volumes {
        assert!(volume.size_bytes >= volume.source_bytes);
        if !volume.name.ends_with("ESP") {
            change(&bench, volume);
        }
    }
    let before = bench.drive_bytes();
    let second = bench.klon.json(&["clone", "plan"]);
    let after = bench.drive_bytes();
    check_outside(&before, &after, &volumes);
    for volume in &volumes {
        check_written(&second, volume, differing_blocks(&before, &after, volume));
    }
    let used = number(&first, "written_bytes");
    assert!(number(&second, "written_bytes") < used / 10, "{second:#}");
    bench.compare_all(&volumes);
    let third = bench.klon.json(&["clone", "plan"]);
    assert_eq!(number(&third, "written_bytes"), 0, "{third:#}");
    check_devices(&bench, &plan);
    check_idempotent(&bench);
    check_table(&bench, &plan, u64::from(sector_bytes));
}

#[test]
fn the_whole_job_on_sectors_of_512_bytes() {
    if !lacks_root() {
        whole_job(512);
    }
}

#[test]
fn the_whole_job_on_sectors_of_4096_bytes() {
    if !lacks_root() {
        whole_job(4096);
    }
}
