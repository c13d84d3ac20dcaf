//! What holds for every drive and every set of sources.

use super::*;
use crate::error::Error;
use crate::planner::{Growth, Style};
use crate::table::Scheme;
use proptest::prelude::*;
use proptest::sample::select;

type Checked = std::result::Result<(), TestCaseError>;

/// Sizes from one sector to some 100 MiB, odd ones too.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..200u64,
        (1..200u64).prop_map(|mib| mib * 2048),
        1..200_000u64
    ]
    .prop_map(|sectors| sectors * 512)
}

fn policy() -> impl Strategy<Value = SizePolicy> {
    let growth =
        (1..5000u32, proptest::option::of(size()), 0..3u64).prop_map(|(weight, extra, padding)| {
            SizePolicy::Grow(Growth {
                weight,
                size_min_bytes: None,
                size_max_bytes: extra.map(|extra| GIB + extra),
                padding_bytes: padding * MIB / 2,
            })
        });
    prop_oneof![
        20 => Just(SizePolicy::Match),
        8 => growth,
        4 => size().prop_map(|size| SizePolicy::Fixed { size_bytes: 600 * MIB + size }),
        1 => Just(SizePolicy::Fit),
    ]
}

fn sources(prefix: &'static str, max: usize) -> impl Strategy<Value = Vec<SourceRequest>> {
    let volume = (size(), select(vec![ESP, ROOT, LINUX, SWAP]));
    let source = (proptest::collection::vec(volume, 1..5), policy());
    proptest::collection::vec(source, 1..=max).prop_map(move |sources| {
        let numbered = sources.into_iter().enumerate();
        numbered
            .map(|(n, (volumes, size))| source_of(prefix, n, volumes, size))
            .collect()
    })
}

fn source_of(
    prefix: &str,
    index: usize,
    volumes: Vec<(u64, Uuid)>,
    size: SizePolicy,
) -> SourceRequest {
    let name = format!("{prefix}{index}");
    let mut start = MIB;
    let mut all = Vec::new();
    for (number, (len, kind)) in (1..).zip(volumes) {
        let mut volume = volume(number, kind, start, len);
        volume.partuuid = Some(format!("{name}-{number}"));
        all.push(volume);
        start += len;
    }
    SourceRequest {
        source: disk(&name, all),
        name,
        size,
    }
}

#[derive(Clone, Debug)]
struct Case {
    /// What was planned on the drive before.
    before: Vec<SourceRequest>,
    /// Which of its partitions are still there.
    left: Vec<bool>,
    request: Request,
}

fn cases() -> impl Strategy<Value = Case> {
    let drive = (
        prop_oneof![1..2000u64, 100_000..8_000_000u64],
        select(vec![512u32, 4096]),
        select(vec![0u32, 4096, 786_432, 4 << 20, 33_553_920, u32::MAX]),
        select(vec![None, Some(Scheme::Gpt), Some(Scheme::Mbr)]),
        0..8u8,
    );
    let left = proptest::collection::vec(any::<bool>(), 32);
    (drive, sources("Old", 6), left, sources("New", 5)).prop_map(|(drive, before, left, new)| {
        let (sectors, sector_bytes, optimal_io_bytes, scheme, replaces) = drive;
        let mut request = request(sectors * 512, new);
        request.drive.geometry = Geometry {
            optimal_io_bytes,
            ..Geometry::new(sectors * 512, sector_bytes)
        };
        request.options.scheme = scheme;
        request.options.replace_table = replaces == 0;
        Case {
            before,
            left,
            request,
        }
    })
}

/// The request with the drive as earlier plans have left it, holes included.
fn settled(case: &Case) -> Request {
    let mut request = case.request.clone();
    let mut earlier = case.request.clone();
    earlier.sources = case.before.clone();
    earlier.options.replace_table = false;
    let Ok(Proposal { plan, .. }) = planned(&earlier) else {
        return request;
    };
    let mut table = table_of(&plan);
    let is_extended = |kind| matches!(kind, PartitionType::Mbr(0x0f));
    let mut left = case.left.iter();
    table.partitions.retain(|partition| {
        is_extended(partition.partition_type) || left.next().copied().unwrap_or(true)
    });
    request.drive.table = Some(table);
    request
}

fn check(request: &Request, plan: &Plan) -> Checked {
    let table = plan.table(request.drive.table.as_ref()).unwrap();
    let sector = u64::from(plan.drive.logical_sector_bytes);
    let is_container = |p: &crate::table::Partition| p.partition_type == PartitionType::Mbr(0x0f);
    for (index, one) in table.partitions.iter().enumerate() {
        prop_assert!(table.usable.contains(one.extent));
        prop_assert!(one.extent.end_bytes().is_multiple_of(sector));
        for other in &table.partitions[..index] {
            prop_assert_ne!(one.number, other.number);
            if !is_container(one) && !is_container(other) {
                prop_assert!(!one.extent.overlaps(other.extent), "{one:?} {other:?}");
            }
        }
    }
    for volume in &plan.volumes {
        prop_assert!(volume.extent.len_bytes() >= volume.source_bytes);
        prop_assert!(volume.extent.offset_bytes().is_multiple_of(MIB));
    }
    if let (false, Some(before)) = (plan.table.is_new, &request.drive.table) {
        for there in &before.partitions {
            prop_assert!(table.partitions.contains(there), "{there:?} was touched");
        }
    }
    Ok(())
}

/// Logical partitions lie in the extended one, each with a free sector before it.
fn check_logical(table: &Table) -> Checked {
    let mut all = table.partitions.iter();
    let Some(extended) = all.find(|p| p.partition_type == PartitionType::Mbr(0x0f)) else {
        return Ok(());
    };
    for one in table.partitions.iter().filter(|p| p.number > 4) {
        prop_assert!(extended.extent.contains(one.extent));
        let record = Extent::new(one.extent.offset_bytes() - MIB, MIB).unwrap();
        prop_assert!(extended.extent.contains(record));
        let is_free = |p: &&crate::table::Partition| p.number > 4 && p.extent.overlaps(record);
        prop_assert_eq!(table.partitions.iter().find(is_free), None);
    }
    Ok(())
}

/// Tables that contradict themselves and the drive.
fn hostile_table() -> impl Strategy<Value = Table> {
    let number = prop_oneof![1..8u32, any::<u32>()];
    let place = prop_oneof![(0..4000u64, 1..4000u64), (any::<u64>(), any::<u64>())];
    let kind = select(vec![None, Some(0x83), Some(0x05), Some(0x0f)]);
    let partitions = proptest::collection::vec((number, place, kind), 0..8);
    let numbers = (
        any::<u32>(),
        select(vec![0u32, 512, 513, 4096]),
        any::<bool>(),
    );
    (partitions, numbers, any::<u64>(), any::<u64>()).prop_filter_map(
        "an extent is not empty",
        |(partitions, (slots_max, logical_sector_bytes, is_gpt), start, len)| {
            let partition = |(number, (start, len), kind): (u32, (u64, u64), Option<u8>)| {
                Some(crate::table::Partition {
                    number,
                    extent: Extent::new(start.checked_mul(512)?, len.checked_mul(512)?)?,
                    partition_type: kind.map_or(PartitionType::Gpt(LINUX), PartitionType::Mbr),
                    guid: None,
                    name: "Old0Clone".to_owned(),
                    attributes: u64::MAX,
                    is_bootable: true,
                })
            };
            Some(Table {
                scheme: if is_gpt { Scheme::Gpt } else { Scheme::Mbr },
                disk_guid: None,
                disk_signature: 0,
                logical_sector_bytes,
                usable: Extent::new(start % (1 << 40), len)?,
                slots_max,
                entry_bytes: 128,
                partitions: partitions.into_iter().filter_map(partition).collect(),
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn plans_hold_what_they_promise(case in cases()) {
        let request = settled(&case);
        let plan = match super::plan(&request, &mut ids(1000)) {
            Ok(proposal) => proposal.plan,
            Err(error) => {
                prop_assert!(matches!(error, Error::Refused(_) | Error::Invalid(_)));
                prop_assert!(error.to_string().len() > 20);
                return Ok(());
            }
        };
        check(&request, &plan)?;
        check_logical(&plan.table(request.drive.table.as_ref()).unwrap())?;
        let text = plan.to_toml().unwrap();
        prop_assert_eq!(&Plan::from_toml(&text).unwrap(), &plan);
        prop_assert_eq!(Plan::from_toml(&text).unwrap().to_toml().unwrap(), text);
        let _ = plan.picture(request.drive.table.as_ref(), Style::default());

        let mut repeated_request = again(&request, &plan);
        if plan.table.scheme == Scheme::Gpt {
            repeated_request.options.previous = None;
        }
        let repeated = super::plan(&repeated_request, &mut ids(2000)).unwrap().plan;
        let current = repeated_request.drive.table.as_ref();
        prop_assert_eq!(repeated.changes(current).unwrap(), vec![]);
        prop_assert_eq!(&repeated.volumes, &plan.volumes);
    }

    #[test]
    fn what_is_refused_for_want_of_space_fits_where_it_says(case in cases()) {
        let mut request = case.request;
        request.drive.geometry.size_bytes /= 16;
        let Err(Error::Refused(why)) = planned(&request) else { return Ok(()) };
        let Some((_, rest)) = why.split_once("a drive of at least ") else { return Ok(()) };
        let bytes = rest.split_once('(').and_then(|(_, rest)| rest.split_once(" bytes"));
        request.drive.geometry.size_bytes = bytes.unwrap().0.parse().unwrap();
        prop_assert!(planned(&request).is_ok(), "{why}: {:?}", planned(&request));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", cut in 0..4000usize) {
        let _ = Plan::from_toml(&text);
        let whole = planned(&request(100 * GIB, vec![boot()])).unwrap().plan.to_toml().unwrap();
        let mut cut = cut.min(whole.len());
        while !whole.is_char_boundary(cut) { cut -= 1; }
        let _ = Plan::from_toml(&format!("{}{text}", &whole[..cut]));
        let _ = text.parse::<SizePolicy>();
    }

    #[test]
    fn no_table_makes_the_planner_panic(
        case in cases(),
        table in hostile_table(),
        alignment in proptest::option::of(any::<u64>()),
    ) {
        let mut request = case.request;
        request.drive.table = Some(table);
        request.options.scheme = None;
        request.options.alignment_bytes = alignment.map(|units| units << 12);
        if let Ok(proposal) = planned(&request) {
            let current = request.drive.table.as_ref();
            let _ = (proposal.plan.table(current), proposal.plan.changes(current));
            let _ = proposal.plan.picture(current, Style::default());
            prop_assert!(proposal.plan.check().is_ok());
        }
    }

    #[test]
    fn policies_come_back(policy in policy()) {
        prop_assert_eq!(policy.to_string().parse::<SizePolicy>().unwrap(), policy);
    }
}
