//! Names, sizes, and what is refused with which words.

use super::*;
use crate::planner::Growth;

fn sized(mut source: SourceRequest, size: &str) -> SourceRequest {
    source.size = size.parse().unwrap();
    source
}

#[test]
fn a_date_stamp_goes_into_all_names() {
    let mut request = request(100 * GIB, vec![boot(), master()]);
    request.options.date_stamp = Some("2026-11-21".to_owned());
    let plan = planned(&request).unwrap().plan;
    let names: Vec<&str> = plan.volumes.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "BootClone-2026-11-21-ESP",
            "BootClone-2026-11-21",
            "MasterClone-2026-11-21"
        ]
    );
    request.options.date_stamp = Some("tomorrow".to_owned());
    assert!(refusal(&request).contains("expected a date"));
}

#[test]
fn volumes_of_a_disk_are_named_by_role_else_by_number() {
    let volumes = vec![
        volume(1, ESP, MIB, 100 * MIB),
        volume(2, LINUX, GIB, GIB),
        volume(5, LINUX, 3 * GIB, 9 * GIB),
        volume(6, SWAP, 20 * GIB, GIB),
        volume(7, SWAP, 30 * GIB, GIB),
    ];
    let source = SourceRequest {
        source: disk("A", volumes),
        ..boot()
    };
    let plan = planned(&request(100 * GIB, vec![source])).unwrap().plan;
    let names: Vec<&str> = plan.volumes.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "BootClone-ESP",
            "BootClone-2",
            "BootClone",
            "BootClone-swap6",
            "BootClone-swap7"
        ]
    );
}

#[test]
fn names_must_be_distinct_and_fit_a_partition_name() {
    let twice = request(500 * GIB, vec![data("A", GIB), data("A", GIB)]);
    assert!(refusal(&twice).contains("two sources are called \"A\""));
    let long = request(500 * GIB, vec![data(&"n".repeat(32), GIB)]);
    assert!(refusal(&long).contains("is too long"));
    let fits = request(500 * GIB, vec![data(&"n".repeat(31), GIB)]);
    assert!(planned(&fits).is_ok());
    let mut other = master();
    other.name = "Other".to_owned();
    let same = request(500 * GIB, vec![master(), other]);
    assert!(refusal(&same).contains("have a volume in common"));
}

#[test]
fn the_drive_is_not_its_own_source() {
    let mut boot = boot();
    boot.source.disk = Some(Identity::Serial("WD-WX11".to_owned()));
    let message = refusal(&request(100 * GIB, vec![boot]));
    assert!(message.contains("is the drive of the plan"), "{message}");
}

#[test]
fn a_size_is_of_the_whole_source_and_at_least_as_large() {
    let plan = planned(&request(100 * GIB, vec![sized(boot(), "30G")]))
        .unwrap()
        .plan;
    assert_eq!(plan.volumes[0].extent.len_bytes(), 512 * MIB);
    assert_eq!(plan.volumes[1].extent.len_bytes(), 30 * GIB - 512 * MIB);
    let message = refusal(&request(100 * GIB, vec![sized(boot(), "20G")]));
    assert!(
        message.contains("less than the source's 20.5 GiB"),
        "{message}"
    );
    assert!(message.contains("klon can't make it smaller"));
    let message = refusal(&request(100 * GIB, vec![sized(master(), "fit")]));
    assert!(message.contains("a size of at least 40 GiB"), "{message}");
}

#[test]
fn what_grows_shares_what_remains_by_weight() {
    let sources = vec![
        sized(boot(), "grow:padding=1G"),
        sized(master(), "grow:weight=3000"),
    ];
    let plan = planned(&request(200 * GIB, sources)).unwrap().plan;
    let root = plan.volumes[1].extent;
    let master = plan.volumes[2].extent;
    let rest = 200 * GIB - 512 * MIB - 20 * GIB - 40 * GIB - GIB;
    let near = |extent: Extent, bytes: u64| extent.len_bytes().abs_diff(bytes) < 3 * MIB;
    assert!(near(root, 20 * GIB + rest / 4) && near(master, 40 * GIB + rest / 4 * 3));
    assert_eq!(master.offset_bytes() - root.end_bytes(), GIB);
    let capped = planned(&request(
        200 * GIB,
        vec![sized(data("A", GIB), "grow:max=5G")],
    ));
    assert_eq!(capped.unwrap().plan.volumes[0].extent.len_bytes(), 5 * GIB);
    let SizePolicy::Grow(Growth { weight, .. }) = plan.volumes[2].size else {
        panic!("the policy is kept")
    };
    assert_eq!(weight, 3000);
}

#[test]
fn what_does_not_fit_is_explained_with_what_would() {
    let message = refusal(&request(50 * GIB, vec![boot(), master()]));
    assert_eq!(
        message,
        "refused: BootClone-ESP (512 MiB), BootClone (20 GiB), MasterClone (40 GiB) need \
         60.5 GiB, and the drive has 49.9 GiB free. Either plan without Boot (20.5 GiB), or plan \
         without Master (40 GiB), or use an empty drive of at least 60.6 GiB"
    );
    assert!(planned(&request(64_963_477_504, vec![boot(), master()])).is_ok());
    let first = request(60 * GIB, vec![data("Old", 30 * GIB)]);
    let mut second = again(&first, &planned(&first).unwrap().plan);
    second.sources = vec![master()];
    let message = refusal(&second);
    assert!(
        message.contains("replace the drive's table (its partition is lost)"),
        "{message}"
    );
}

#[test]
fn a_partition_in_the_way_is_named() {
    let first = request(100 * GIB, vec![data("Master", 30 * GIB)]);
    let plan = planned(&first).unwrap().plan;
    let mut second = again(&first, &plan);
    second.options.previous = None;
    second.sources = vec![master()];
    let message = refusal(&second);
    assert!(
        message.contains("partition 1 of the drive is called MasterClone already, but has 30 GiB"),
        "{message}"
    );
    let mut table = second.drive.table.take().unwrap();
    table.partitions[0].partition_type = PartitionType::Gpt(ESP);
    let mut twin = table.partitions[0].clone();
    second.drive.table = Some(table.clone());
    assert!(refusal(&second).contains("another partition type"));
    twin.number = 2;
    table.partitions.push(twin);
    second.drive.table = Some(table);
    assert!(refusal(&second).contains("partitions 1 and 2 of the drive could both be"));
}

#[test]
fn slots_run_out_with_a_reason() {
    let first = request(100 * GIB, vec![data("Old", GIB)]);
    let mut second = again(&first, &planned(&first).unwrap().plan);
    second.drive.table.as_mut().unwrap().slots_max = 2;
    second.sources = vec![boot()];
    assert!(refusal(&second).contains("GPT table has too few free slots (1 of 2 needed)"));
}

#[test]
fn odd_drives_and_requests_are_refused() {
    assert!(refusal(&request(GIB, Vec::new())).contains("no source"));
    assert!(refusal(&request(4096, vec![boot()])).contains("no space behind its table"));
    let mut odd = request(GIB, vec![data("A", MIB)]);
    odd.drive.geometry.logical_sector_bytes = 520;
    assert!(refusal(&odd).contains("power of two"));
    let mut odd = request(GIB, vec![data("A", MIB)]);
    odd.options.alignment_bytes = Some(1000);
    assert!(refusal(&odd).contains("alignment of 1000 bytes"));
    let mut empty = boot();
    empty.source.volumes.clear();
    assert!(refusal(&request(GIB, vec![empty])).contains("no volume to clone"));
}

#[test]
fn large_sectors_and_odd_sources_are_rounded_up() {
    let mut request = request(100 * GIB, vec![data("A", GIB + 512), data("B", GIB)]);
    request.drive.geometry = Geometry::new(100 * GIB, 4096);
    let plan = planned(&request).unwrap().plan;
    assert_eq!(plan.volumes[0].extent.len_bytes(), GIB + 4096);
    assert_eq!(plan.volumes[1].extent.offset_bytes(), GIB + 2 * MIB);
    let table = table_of(&plan);
    assert_eq!(table.usable.offset_bytes(), 6 * 4096);
}
