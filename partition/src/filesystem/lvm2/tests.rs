//! Hostile and damaged volumes, made from the golden images.

use super::address::{PhysicalExtent, Run, Sectors};
use super::group::Group;
use super::label::crc;
use crate::bytes::{le32, le64};
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, hazards, image};
use proptest::prelude::{any, proptest};
use std::ops::Range;

const AREA_BYTES: u64 = 4096;

/// Every byte of `range` must be noticed when it is flipped.
fn assert_noticed(device: &MemoryDevice, range: Range<u64>) {
    for offset_bytes in range {
        let byte = read_vec(device, offset_bytes, 1).unwrap();
        device.write_all_at(&[!byte[0]], offset_bytes).unwrap();
        assert!(believed(device).is_none(), "byte {offset_bytes:#x}");
        device.write_all_at(&byte, offset_bytes).unwrap();
    }
    assert!(believed(device).is_some(), "sound again");
}

#[test]
fn checksums_guard_every_byte() {
    let device = image("lvm2");
    assert_noticed(&device, 512..1024);
    assert_noticed(&device, AREA_BYTES..AREA_BYTES + 512);
    let header = read_vec(&device, AREA_BYTES, 512).unwrap();
    let start = AREA_BYTES + le64(&header, 40);
    assert_noticed(&device, start..start + le64(&header, 48));
}

/// Changes a field of the area's header, whose checksum follows.
fn with_header(device: &MemoryDevice, change: impl Fn(&mut [u8])) {
    let mut header = read_vec(device, AREA_BYTES, 512).unwrap();
    change(&mut header);
    let sum = crc(&header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    device.write_all_at(&header, AREA_BYTES).unwrap();
}

#[test]
fn fields_of_an_area_are_checked_whatever_its_checksum() {
    // magic, version, start, size, offset and size of the text, its checksum.
    for at in [4, 20, 24, 32, 40, 48, 56] {
        let device = image("lvm2");
        with_header(&device, |header| header[at] ^= 0x40);
        let found = hazards(&device);
        assert!(matches!(found[..], [Hazard::Damaged(_)]), "{at}: {found:?}");
    }
    for huge in [u64::MAX, 1 << 40, 0x10_0000] {
        for at in [40, 48] {
            let device = image("lvm2");
            with_header(&device, |header| {
                header[at..at + 8].copy_from_slice(&huge.to_le_bytes());
            });
            assert!(believed(&device).is_none(), "{at} {huge}");
        }
    }
    let device = image("lvm2");
    with_header(&device, |header| header[60] |= 1);
    assert!(believed(&device).is_none(), "an ignored area");
    let device = image("lvm2");
    with_header(&device, |header| header[60] |= 2);
    assert!(believed(&device).is_none(), "an unknown flag");
    let device = image("lvm2");
    with_header(&device, |header| header[40..64].fill(0));
    assert!(believed(&device).is_none(), "no text, but in use");
    let device = image("lvm2");
    with_header(&device, |header| header[64] = 2);
    assert!(matches!(hazards(&device)[..], [Hazard::NeedsRecovery(_)]));
}

#[test]
fn a_volume_cut_short_is_damaged() {
    let raw = read_vec(&image("lvm2-ring"), 0, 4 << 20).unwrap();
    for len in [1024, 4096, 5000, 64 << 10, 1 << 20, (4 << 20) - 512] {
        let cut = MemoryDevice::new(raw[..len].to_vec(), 512);
        let found = hazards(&cut);
        assert!(matches!(found[..], [Hazard::Damaged(_)]), "{len} {found:?}");
    }
}

#[test]
fn damaged_labels_are_known_for_what_they_were() {
    let device = image("lvm2");
    device.write_all_at(&[1], 1000).unwrap();
    assert!(matches!(hazards(&device)[..], [Hazard::Damaged(_)]));
}

const ID: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

/// The metadata of a group with one physical volume, and what makes it another.
fn text(replacements: &[(&str, &str)]) -> String {
    let mut text = String::from(
        r#"contents = "Text Format Volume Group"
        version = 1
        vg {
            id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa" seqno = 7 extent_size = 8
            status = ["RESIZEABLE", "READ", "WRITE"] flags = []
            physical_volumes { pv0 {
                id = "abcdef-ghij-klmn-opqr-stuv-wxyz-012345"
                status = ["ALLOCATABLE"] flags = []
                dev_size = 9000 pe_start = 2048 pe_count = 100
            } }
            logical_volumes {
                one { status = ["READ", "WRITE", "VISIBLE"] segment_count = 2
                    segment1 { start_extent = 0 extent_count = 6 type = "striped"
                        stripe_count = 2 stripes = ["pv0", 10, "pv0", 20] }
                    segment2 { start_extent = 6 extent_count = 4 type = "mirror"
                        mirror_count = 2 mirrors = ["pv0", 30, "other", 0] } }
                other { status = ["READ"] segment_count = 1
                    segment1 { start_extent = 0 extent_count = 4 type = "striped"
                        stripe_count = 1 stripes = ["pv0", 0] } }
                two { status = [] segment_count = 1
                    segment1 { start_extent = 0 extent_count = 9 type = "raid1"
                        device_count = 1 raids = ["one", "other"] policy { x = 1 } } }
            }
        }"#,
    );
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn parse(replacements: &[(&str, &str)]) -> Result<Group, String> {
    let text = text(replacements);
    Group::parse(text.as_bytes(), 0, ID).map_err(|corrupt| corrupt.to_string())
}

#[test]
fn segments_take_their_share_of_each_stripe() {
    let group = parse(&[]).unwrap();
    let runs: Vec<(u32, u32)> = group
        .runs
        .iter()
        .map(|run| (run.first.0, run.count))
        .collect();
    assert_eq!(runs, [(0, 4), (10, 3), (20, 3), (30, 4)]);
    assert_eq!(group.hazards, []);
    assert_eq!(
        (group.seqno, group.extent_size, group.volumes),
        (7, Sectors(8), 1)
    );
    assert_eq!(group.volume.pe_count, 100);
}

#[test]
fn contradictions_are_damage() {
    let cases = [
        // Overlaps, and ends beyond the volume.
        ("\"pv0\", 30", "\"pv0\", 22"),
        ("\"pv0\", 30", "\"pv0\", 97"),
        ("\"pv0\", 30", "\"pv0\", -1"),
        ("\"pv0\", 30", "\"pv0\", 4294967295"),
        ("pe_count = 100", "pe_count = 20"),
        // Segments lost or added.
        ("segment_count = 2", "segment_count = 1"),
        ("start_extent = 6", "start_extent = 7"),
        ("stripe_count = 2", "stripe_count = 4"),
        ("stripe_count = 2", "stripe_count = 3"),
        ("extent_count = 6", "extent_count = 0"),
        ("mirror_count = 2", "mirror_count = 3"),
        ("stripes = [", "strips = ["),
        ("type = \"mirror\"", "type = \"striped\""),
        // Names that stand for nothing, or for two.
        ("\"other\", 0", "\"nowhere\", 0"),
        ("raids = [\"one\"", "raids = [\"none\""),
        ("two {", "one {"),
        ("id = \"abcdef", "id = \"abcdeg"),
        ("pv0 {", "pv1 {"),
        ("physical_volumes", "physical_volume"),
        ("seqno = 7", "seqno = 0"),
        ("version = 1", "version = 2"),
        ("contents =", "content ="),
        ("extent_size = 8", "extent_size = \"8\""),
    ];
    for case in cases {
        assert!(parse(&[case]).is_err(), "{case:?}");
    }
}

#[test]
fn what_klon_does_not_know_is_a_hazard() {
    let unknown = [
        ("type = \"raid1\"", "type = \"raid7\""),
        ("type = \"raid1\"", "type = \"raid1+NEW\""),
        ("raids = [", "others = ["),
        ("status = [\"READ\"]", "status = [\"READ\", \"NEW\"]"),
        ("\"ALLOCATABLE\"", "\"NEW\""),
        ("\"RESIZEABLE\"", "\"NEW\""),
    ];
    for case in unknown {
        let hazards = parse(&[case]).unwrap().hazards;
        let is_one = matches!(hazards[..], [Hazard::UnknownFeature(_)]);
        assert!(is_one, "{case:?}: {hazards:?}");
    }
    let shared = [
        ("seqno = 7", "seqno = 7 lock_type = \"sanlock\""),
        ("\"RESIZEABLE\"", "\"CLUSTERED\""),
        (
            "physical_volumes {",
            "physical_volumes { pv1 { id = \"x\" }",
        ),
    ];
    for case in shared {
        let hazards = parse(&[case]).unwrap().hazards;
        let is_one = matches!(hazards[..], [Hazard::MultiDevice(_)]);
        assert!(is_one, "{case:?}: {hazards:?}");
    }
    let missing = [(
        "flags = []\n                dev",
        "flags = [\"MISSING\"]\n dev",
    )];
    assert!(matches!(
        parse(&missing).unwrap().hazards[..],
        [Hazard::Errors(_)]
    ));
    let reshaping = [("type = \"raid1\"", "type = \"raid1+RESHAPE\"")];
    assert_eq!(parse(&reshaping).unwrap().hazards, []);
    let run = Run {
        first: PhysicalExtent(0),
        count: 4,
    };
    assert_eq!(parse(&reshaping).unwrap().runs.first(), Some(&run));
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((0_usize..1 << 12, any::<u8>()), 1..20),
    ) {
        let device = image("lvm2");
        let header = read_vec(&device, AREA_BYTES, 512).unwrap();
        let (start, len) = (AREA_BYTES + le64(&header, 40), le64(&header, 48));
        let mut text = read_vec(&device, start, len as usize).unwrap();
        for (at, byte) in changes {
            let at = at % text.len();
            text[at] = byte;
        }
        device.write_all_at(&text, start).unwrap();
        with_header(&device, |header| {
            header[56..60].copy_from_slice(&crc(&text).to_le_bytes());
        });
        assert_ne!(le32(&read_vec(&device, AREA_BYTES, 4).unwrap(), 0), 0);
        if let Some(used) = believed(&device) {
            assert!(used.end_bytes() <= device.geometry().size_bytes);
        }
    }
}
