//! Tests of whole plans.

mod disk;
mod file;
mod fit;
mod mbr;
mod picture;
mod properties;
mod rules;
mod warnings;
mod way_back;

use super::{
    Drive, Minimum, Options, Plan, Proposal, Request, SizePolicy, Source, SourceRequest,
    SourceVolume, plan,
};
use crate::device::Geometry;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Kind, Summary};
use crate::identity::Identity;
use crate::table::{PartitionType, Table};
use uuid::{Uuid, uuid};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
const ROOT: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
const LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
const SWAP: Uuid = uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");

/// Ids that count up, so that plans are the same in each run.
fn ids(from: u128) -> impl FnMut() -> Uuid {
    let mut next = from;
    move || {
        next += 1;
        Uuid::from_u128(0xc0de_0000_0000_4000_8000_0000_0000_0000 | next << 96 | next)
    }
}

fn summary(kind: Kind, size_bytes: u64, uuid: &str) -> Summary {
    Summary {
        kind,
        label: None,
        uuid: Some(uuid.to_owned()),
        size_bytes,
        block_size_bytes: 4096,
        used_bytes: None,
        hazards: Vec::new(),
    }
}

fn volume(number: u32, partition_type: Uuid, start: u64, len: u64) -> SourceVolume {
    SourceVolume {
        number: Some(number),
        extent: Extent::new(start, len).unwrap(),
        partition_type: Some(PartitionType::Gpt(partition_type)),
        attributes: 0,
        is_bootable: false,
        partuuid: Some(format!(
            "{}",
            Uuid::from_u128(u128::from(start + number as u64))
        )),
        filesystem: None,
        used_bytes: Some(len / 4),
        end_bytes: None,
        minimum: Minimum::Never("klon can't make it smaller".to_owned()),
        recognized: None,
    }
}

/// A disk with an ESP of 512 MiB and an ext4 root of 20 GiB.
fn boot() -> SourceRequest {
    let mut esp = volume(1, ESP, MIB, 512 * MIB);
    esp.filesystem = Some(summary(Kind::Fat32, 512 * MIB, "AAAA-0001"));
    let mut root = volume(2, ROOT, 513 * MIB, 20 * GIB);
    root.filesystem = Some(summary(Kind::Ext4, 20 * GIB, "11111111-aaaa"));
    SourceRequest {
        name: "Boot".to_owned(),
        size: SizePolicy::Match,
        source: disk("S4EWNX0M", vec![esp, root]),
    }
}

fn disk(serial: &str, volumes: Vec<SourceVolume>) -> Source {
    let identity = Identity::Serial(serial.to_owned());
    Source {
        disk: Some(identity.clone()),
        identity,
        logical_sector_bytes: 512,
        disk_has_esp: volumes
            .iter()
            .any(|v| v.partition_type == Some(PartitionType::Gpt(ESP))),
        has_boot_code: false,
        unassigned: None,
        original: None,
        volumes,
    }
}

/// A data partition of 40 GiB.
fn master() -> SourceRequest {
    data("Master", 40 * GIB)
}

fn data(name: &str, len: u64) -> SourceRequest {
    let mut volume = volume(1, LINUX, 77 * MIB, len);
    volume.number = None;
    let partuuid = format!("partuuid-of-{name}");
    volume.partuuid = Some(partuuid.clone());
    volume.filesystem = Some(summary(Kind::Ext4, len, &format!("uuid-of-{name}")));
    SourceRequest {
        name: name.to_owned(),
        size: SizePolicy::Match,
        source: Source {
            identity: Identity::PartUuid(partuuid),
            disk: Some(Identity::Serial(format!("disk-of-{name}"))),
            logical_sector_bytes: 512,
            disk_has_esp: false,
            has_boot_code: false,
            unassigned: None,
            original: None,
            volumes: vec![volume],
        },
    }
}

fn request(size_bytes: u64, sources: Vec<SourceRequest>) -> Request {
    Request {
        drive: Drive {
            identity: Identity::Serial("WD-WX11".to_owned()),
            geometry: Geometry::new(size_bytes, 512),
            table: None,
            doubt: None,
            listed_elsewhere: ExtentMap::new(),
            content: None,
        },
        sources,
        options: Options::default(),
    }
}

fn planned(request: &Request) -> Result<Proposal> {
    plan(request, &mut ids(0))
}

fn table_of(plan: &Plan) -> Table {
    plan.table(None).unwrap()
}

/// The request again, on the drive as `plan` leaves it.
fn again(request: &Request, plan: &Plan) -> Request {
    let mut request = request.clone();
    request.drive.table = Some(plan.table(request.drive.table.as_ref()).unwrap());
    request.drive.content = None;
    request.options.replace_table = false;
    request.options.previous = Some(plan.clone());
    request
}

fn refusal(request: &Request) -> String {
    planned(request).unwrap_err().to_string()
}

/// Name, number, start and size in MiB.
fn places(plan: &Plan) -> Vec<(&str, u32, u64, u64)> {
    plan.volumes
        .iter()
        .map(|volume| {
            let extent = volume.extent;
            (
                volume.name.as_str(),
                volume.number,
                extent.offset_bytes() / MIB,
                extent.len_bytes() / MIB,
            )
        })
        .collect()
}
