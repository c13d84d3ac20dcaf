//! Plans for real drives.

use crate::support::run;
use crate::support::tool::run_with_input;
use klon_partition::planner::{
    Drive, Minimum, Options, Plan, Request, SizePolicy, Source, SourceRequest, SourceVolume, plan,
};
use klon_partition::table::{PartitionType, Scheme, Table};
use klon_partition::{Extent, ExtentMap, Geometry, Identity};
use std::path::Path;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const DRIVE_BYTES: u64 = 512 * MIB;

fn source(name: &str, size_bytes: u64, size: SizePolicy) -> SourceRequest {
    let identity = Identity::Path(format!("/images/{name}"));
    SourceRequest {
        name: name.to_owned(),
        size,
        source: Source {
            identity,
            disk: None,
            logical_sector_bytes: 512,
            disk_has_esp: false,
            has_boot_code: false,
            unassigned: None,
            original: None,
            volumes: vec![SourceVolume {
                number: None,
                extent: Extent::new(0, size_bytes).unwrap(),
                partition_type: None,
                attributes: 0,
                is_bootable: false,
                partuuid: None,
                filesystem: None,
                used_bytes: None,
                end_bytes: None,
                minimum: Minimum::Never("nobody asked".to_owned()),
                recognized: None,
            }],
        },
    }
}

/// Six volumes of odd sizes, one of which takes what remains.
fn planned(scheme: Scheme) -> Plan {
    let mut sources: Vec<SourceRequest> = (1..=5u64)
        .map(|n| source(&format!("V{n}"), n * 7 * MIB + 4096 * n, SizePolicy::Match))
        .collect();
    sources.push(source("Rest", MIB, "grow".parse().unwrap()));
    let request = Request {
        drive: Drive {
            identity: Identity::Serial("TEST".to_owned()),
            geometry: Geometry::new(DRIVE_BYTES, 512),
            table: None,
            doubt: None,
            listed_elsewhere: ExtentMap::new(),
            content: None,
        },
        sources,
        options: Options {
            scheme: Some(scheme),
            ..Options::default()
        },
    };
    plan(&request, &mut Uuid::new_v4).unwrap().plan
}

/// The table in the language of sfdisk(8).
fn script(table: &Table) -> String {
    let sector = u64::from(table.logical_sector_bytes);
    let mut script = format!("unit: sectors\nsector-size: {sector}\n");
    script += &match table.disk_guid {
        Some(guid) => format!("label: gpt\nlabel-id: {guid}\n"),
        None => format!("label: dos\nlabel-id: {:#x}\n", table.disk_signature),
    };
    for partition in &table.partitions {
        let extent = partition.extent;
        let kind = match partition.partition_type {
            PartitionType::Gpt(guid) => guid.to_string(),
            PartitionType::Mbr(byte) => format!("{byte:x}"),
        };
        script += &format!(
            "d{}: start={}, size={}, type={kind}",
            partition.number,
            extent.offset_bytes() / sector,
            extent.len_bytes() / sector
        );
        if let Some(guid) = partition.guid {
            script += &format!(", uuid={guid}, name=\"{}\"", partition.name);
        }
        script.push('\n');
    }
    script
}

/// Lets sfdisk write the planned table to a file and read it back.
fn written_by_sfdisk(plan: &Plan, file: &Path) -> serde_json::Value {
    std::fs::File::create(file)
        .unwrap()
        .set_len(DRIVE_BYTES)
        .unwrap();
    let file = file.to_str().unwrap();
    let table = plan.table(None).unwrap();
    run_with_input("sfdisk", &["-q", file], &script(&table));
    run("sfdisk", &["--verify", file]);
    let json = run("sfdisk", &["--json", file]);
    serde_json::from_str(&json).unwrap()
}

#[test]
fn sfdisk_takes_every_planned_table_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    // sfdisk counts in 512-byte sectors on plain files.
    let sector: u64 = 512;
    for scheme in [Scheme::Gpt, Scheme::Mbr] {
        let plan = planned(scheme);
        let file = directory.path().join(format!("{scheme:?}"));
        let found = written_by_sfdisk(&plan, &file);
        let partitions = found["partitiontable"]["partitions"].as_array().unwrap();
        for volume in &plan.volumes {
            let extent = volume.extent;
            let is_it = |there: &&serde_json::Value| {
                there["start"] == extent.offset_bytes() / sector
                    && there["size"] == extent.len_bytes() / sector
                    && there["node"]
                        .as_str()
                        .is_some_and(|node| node.ends_with(&volume.number.to_string()))
            };
            assert!(
                partitions.iter().any(|there| is_it(&there)),
                "{scheme:?}: {} in {found:#}",
                volume.name
            );
        }
        if scheme == Scheme::Gpt {
            let said = run("sgdisk", &["-v", file.to_str().unwrap()]);
            assert!(said.contains("No problems found"), "{said}");
            let table = plan.table(None).unwrap();
            let first = found["partitiontable"]["firstlba"].as_u64();
            assert_eq!(first.map(|lba| lba * sector <= MIB), Some(true));
            let last = found["partitiontable"]["lastlba"].as_u64().unwrap();
            assert_eq!((last + 1) * sector, table.usable.end_bytes());
        }
    }
}

#[test]
fn a_plan_file_and_its_json_say_the_same() {
    let plan = planned(Scheme::Gpt);
    let read = Plan::from_toml(&plan.to_toml().unwrap()).unwrap();
    let json = |plan: &Plan| serde_json::to_value(plan).unwrap();
    assert_eq!(json(&read), json(&plan));
    assert_eq!(json(&plan)["volumes"][5]["size"], "grow");
    assert_eq!(json(&plan)["drive"]["identity"], "serial:TEST");
}
