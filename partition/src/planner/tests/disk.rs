//! A boot disk and a data volume on one drive: the main case.

use super::*;
use crate::planner::Change;
use crate::table::Scheme;

#[test]
fn a_boot_disk_and_a_data_volume_are_laid_out_in_order() {
    let request = request(100 * GIB, vec![boot(), master()]);
    let plan = planned(&request).unwrap().plan;
    assert_eq!(
        places(&plan),
        [
            ("BootClone-ESP", 1, 1, 512),
            ("BootClone", 2, 513, 20480),
            ("MasterClone", 3, 20993, 40960),
        ]
    );
    assert_eq!(plan.table.scheme, Scheme::Gpt);
    assert_eq!(plan.volumes[0].partition_type, PartitionType::Gpt(ESP));
    assert_eq!(plan.volumes[1].partition_type, PartitionType::Gpt(ROOT));
    assert_eq!(plan.volumes[1].source.partition, Some(2));
    assert_eq!(
        plan.volumes[2].source.fs_uuid.as_deref(),
        Some("uuid-of-Master")
    );
    let target = plan.target(&plan.volumes[2]).to_string();
    assert_eq!(
        target,
        format!("partuuid:{}", plan.volumes[2].guid.unwrap())
    );
}

#[test]
fn the_table_says_what_the_plan_says() {
    let plan = planned(&request(100 * GIB, vec![boot()])).unwrap().plan;
    let table = table_of(&plan);
    assert_eq!(table.disk_guid, plan.table.disk_guid);
    assert_eq!((table.slots_max, table.logical_sector_bytes), (128, 512));
    let names: Vec<&str> = table.partitions.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["BootClone-ESP", "BootClone"]);
    let shown: Vec<String> = plan
        .changes(None)
        .unwrap()
        .iter()
        .map(Change::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "write a new GPT",
            "create partition 1 \"BootClone-ESP\" (512 MiB)",
            "create partition 2 \"BootClone\" (20 GiB)"
        ]
    );
}

#[test]
fn planning_the_drive_as_planned_changes_nothing() {
    let first = request(200 * GIB, vec![boot(), master()]);
    let plan = planned(&first).unwrap().plan;
    assert!(plan.changes(Some(&table_of(&plan))).unwrap().is_empty());
    let mut second = again(&first, &plan);
    second.options.previous = None;
    let repeated = super::plan(&second, &mut ids(1000)).unwrap().plan;
    let current = second.drive.table.as_ref();
    assert_eq!(repeated.changes(current).unwrap(), []);
    assert_eq!(repeated.volumes, plan.volumes);
}

#[test]
fn a_source_added_later_finds_room_beside_the_others() {
    let first = request(200 * GIB, vec![boot()]);
    let plan = planned(&first).unwrap().plan;
    let mut second = again(&first, &plan);
    second.sources.push(master());
    let grown = super::plan(&second, &mut ids(1000)).unwrap().plan;
    let changes = grown.changes(second.drive.table.as_ref()).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].to_string(),
        "create partition 3 \"MasterClone\" (40 GiB)"
    );
    assert_eq!(grown.volumes[..2], plan.volumes[..]);
}

#[test]
fn existing_partitions_stay_unless_the_table_is_replaced() {
    let first = request(100 * GIB, vec![data("Old", 30 * GIB)]);
    let old = planned(&first).unwrap().plan;
    let mut second = again(&first, &old);
    second.sources = vec![boot()];
    second.options.previous = None;
    let kept = super::plan(&second, &mut ids(1000)).unwrap();
    assert_eq!(kept.plan.kept[0].name, "OldClone");
    assert_eq!(kept.plan.volumes[0].number, 2);
    assert_eq!(kept.plan.table.disk_guid, old.table.disk_guid);
    let table = kept.plan.table(second.drive.table.as_ref()).unwrap();
    assert!(table.partitions.contains(&kept.plan.kept[0]));

    second.options.replace_table = true;
    let replaced = super::plan(&second, &mut ids(1000)).unwrap();
    assert!(replaced.plan.kept.is_empty() && replaced.plan.volumes[0].number == 1);
    assert_ne!(replaced.plan.table.disk_guid, old.table.disk_guid);
    assert_eq!(
        replaced.warnings[0].to_string(),
        "the new table deletes what is on the drive: partition 1 (\"OldClone\", 30 GiB)"
    );
}

#[test]
fn a_plan_is_refused_on_a_drive_that_has_changed_since() {
    let first = request(100 * GIB, vec![data("Old", 30 * GIB)]);
    let old = planned(&first).unwrap().plan;
    let mut second = again(&first, &old);
    second.sources = vec![master()];
    let plan = super::plan(&second, &mut ids(1000)).unwrap().plan;
    let refused = |table: Option<&Table>| plan.table(table).unwrap_err().to_string();
    let current = second.drive.table.clone().unwrap();
    assert!(refused(None).contains("lost its partition table"));
    let mut other = current.clone();
    other.disk_guid = Some(Uuid::from_u128(5));
    assert!(refused(Some(&other)).contains("another table"));
    let mut other = current.clone();
    other.partitions[0].extent = Extent::new(MIB, 5 * GIB).unwrap();
    assert!(refused(Some(&other)).contains("partition 1 has changed"));
    let mut other = current.clone();
    let mut more = other.partitions[0].clone();
    more.number = 7;
    other.partitions.push(more);
    assert!(refused(Some(&other)).contains("partition 7 is new"));
    assert!(plan.table(Some(&current)).is_ok());
}

#[test]
fn attributes_and_types_come_along() {
    let mut boot = boot();
    boot.source.volumes[1].attributes = 1 << 63 | 1 << 2;
    let mut old = volume(3, LINUX, 21 * GIB, GIB);
    old.partition_type = Some(PartitionType::Mbr(0x82));
    old.is_bootable = true;
    boot.source.volumes.push(old);
    let plan = planned(&request(100 * GIB, vec![boot])).unwrap().plan;
    assert_eq!(plan.volumes[1].attributes, 1 << 63 | 1 << 2);
    assert_eq!(plan.volumes[2].partition_type, PartitionType::Gpt(SWAP));
    assert_eq!(
        (plan.volumes[2].attributes, plan.volumes[2].is_bootable),
        (4, false)
    );
    assert_eq!(plan.volumes[2].name, "BootClone-swap");
}

#[test]
fn an_old_plan_does_not_wipe_what_a_later_one_added() {
    let first = request(200 * GIB, vec![boot()]);
    let old = planned(&first).unwrap().plan;
    let mut second = again(&first, &old);
    second.sources.push(master());
    let later = super::plan(&second, &mut ids(1000)).unwrap().plan;
    let current = later.table(second.drive.table.as_ref()).unwrap();
    let message = old.table(Some(&current)).unwrap_err().to_string();
    assert!(message.contains("partition 3 is new"), "{message}");

    let mut lacking = current.clone();
    lacking.partitions.truncate(1);
    let changes = old.changes(Some(&lacking)).unwrap();
    assert_eq!(
        changes.len(),
        1,
        "what is missing is made again: {changes:?}"
    );
}

#[test]
fn what_inspection_found_becomes_request() {
    let plan = planned(&request(100 * GIB, vec![boot()])).unwrap().plan;
    let table = table_of(&plan);
    let volume = crate::inspect::Volume {
        contained_because: None,
        extent: table.partitions[0].extent,
        partition: Some(table.partitions[0].clone()),
        filesystem: Some(summary(Kind::Fat32, 512 * MIB, "AAAA-0001")),
        recognized: None,
    };
    let found = SourceVolume::new(&volume, Some(&table), Some(MIB));
    assert!(found.is_esp());
    assert_eq!(
        found.partuuid,
        plan.volumes[0].guid.map(|guid| guid.to_string())
    );
    let mut layout = crate::inspect::DiskLayout {
        geometry: Geometry::new(100 * GIB, 512),
        table: None,
        findings: Vec::new(),
        volumes: vec![volume],
        is_blank: false,
    };
    let content = |layout: &crate::inspect::DiskLayout| {
        Drive::new(Identity::Path("/x".to_owned()), layout).content
    };
    assert_eq!(content(&layout).as_deref(), Some("fat32"));
    layout.volumes.clear();
    assert_eq!(content(&layout).as_deref(), Some("unknown data"));
    layout.is_blank = true;
    assert_eq!(content(&layout), None);
}
