//! Drives with an MBR table.

use super::*;
use crate::table::Scheme;

fn mbr(size_bytes: u64, sources: Vec<SourceRequest>) -> Request {
    let mut request = request(size_bytes, sources);
    request.options.scheme = Some(Scheme::Mbr);
    request
}

fn many(count: u64) -> Vec<SourceRequest> {
    (1..=count)
        .map(|n| data(&format!("D{n}"), n * GIB))
        .collect()
}

#[test]
fn up_to_four_are_primary_and_recognised_by_signature_and_number() {
    let request = mbr(100 * GIB, many(4));
    let proposal = planned(&request).unwrap();
    let plan = &proposal.plan;
    let numbers: Vec<u32> = plan.volumes.iter().map(|v| v.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(plan.table.disk_signature, 0xc0de_0001);
    assert_eq!(
        plan.target(&plan.volumes[1]).to_string(),
        "partuuid:c0de0001-02"
    );
    assert_eq!(plan.volumes[0].partition_type, PartitionType::Mbr(0x83));
    let said = proposal.warnings.iter().map(ToString::to_string);
    assert!(said.collect::<String>().contains("no partition names"));
}

#[test]
fn more_are_logical_with_room_for_their_boot_records() {
    let request = mbr(100 * GIB, many(6));
    let plan = planned(&request).unwrap().plan;
    let numbers: Vec<u32> = plan.volumes.iter().map(|v| v.number).collect();
    assert_eq!(numbers, [1, 2, 3, 5, 6, 7]);
    let extended = plan.table.extended.unwrap();
    assert_eq!(extended.number, 4);
    let logical = &plan.volumes[3..];
    assert_eq!(
        logical[0].extent.offset_bytes(),
        extended.extent.offset_bytes() + MIB
    );
    assert_eq!(
        logical[1].extent.offset_bytes(),
        logical[0].extent.end_bytes() + MIB
    );
    let table = table_of(&plan);
    let numbers: Vec<u32> = table.partitions.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);

    let repeated = super::plan(&again(&request, &plan), &mut ids(99))
        .unwrap()
        .plan;
    assert_eq!(repeated.changes(Some(&table)).unwrap(), []);

    let mut more = again(&request, &plan);
    more.sources = many(7);
    let added = super::plan(&more, &mut ids(99)).unwrap().plan;
    assert_eq!(
        added.volumes[6].number, 8,
        "into the extended partition that is there"
    );
    assert!(extended.extent.contains(added.volumes[6].extent));
    assert_eq!(added.changes(Some(&table)).unwrap().len(), 1);
}

#[test]
fn what_only_gpt_has_is_refused() {
    let mut boot = boot();
    let bios = uuid!("21686148-6449-6e6f-744e-656564454649");
    boot.source.volumes[0].partition_type = Some(PartitionType::Gpt(bios));
    let message = refusal(&mbr(100 * GIB, vec![boot]));
    assert!(
        message.contains("BootClone-BIOS: a BIOS boot partition, which only GPT has"),
        "{message}"
    );
}

#[test]
fn the_reach_of_an_mbr_is_said() {
    let request = mbr(4096 * GIB, vec![data("A", 3000 * GIB)]);
    let message = refusal(&request);
    assert!(
        message.contains("reaches only the first 2 TiB"),
        "{message}"
    );
    assert!(
        message.ends_with("a GPT instead of an MBR table"),
        "{message}"
    );
}

#[test]
fn a_table_of_another_kind_is_not_converted() {
    let first = request(100 * GIB, vec![data("Old", GIB)]);
    let mut second = again(&first, &planned(&first).unwrap().plan);
    second.options.scheme = Some(Scheme::Mbr);
    assert!(refusal(&second).contains("(GPT, not MBR), and klon keeps it"));
    second.options.replace_table = true;
    assert_eq!(planned(&second).unwrap().plan.table.scheme, Scheme::Mbr);
}

#[test]
fn only_one_partition_is_active() {
    let mut boot = boot();
    boot.source.volumes[0].is_bootable = true;
    boot.source.volumes[1].attributes = 1 << 2;
    let plan = planned(&mbr(100 * GIB, vec![boot])).unwrap().plan;
    let active: Vec<bool> = plan.volumes.iter().map(|v| v.is_bootable).collect();
    assert_eq!(active, [true, false]);
    assert_eq!(plan.volumes[0].partition_type, PartitionType::Mbr(0xef));
}
