//! Streams that come back, and streams that someone else wrote.

use super::{Counted, Entry, Identities, IdentitiesError, IdentityWriter};
use crate::change::proven::horizon::Horizon;
use klon_partition::filesystem::files::{Changes, Stamp};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

const HORIZON: Horizon = Horizon::at(Stamp {
    seconds: -5,
    nanoseconds: 7,
});

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let gap = prop_oneof![
        Just(1),
        1..3_u64,
        65_530..65_540_u64,
        any::<u32>().prop_map(u64::from)
    ];
    let counted = proptest::option::of((0..u32::MAX, any::<u16>()));
    let item = (gap, any::<([u8; 16], [u8; 16])>(), counted);
    proptest::collection::vec(item, 0..300).prop_map(|items| {
        let mut number = 0_u64;
        let entries = items
            .into_iter()
            .map(|(gap, (identity, mapping), counted)| {
                number += gap.max(1);
                let counted = counted.map(|(count, accessed)| Counted { count, accessed });
                Entry {
                    number,
                    identity,
                    mapping,
                    counted,
                }
            });
        entries.collect()
    })
}

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut writer = IdentityWriter::begin(Vec::new(), HORIZON).unwrap();
    entries.iter().for_each(|entry| writer.push(entry).unwrap());
    let (bytes, kept) = writer.finish().unwrap();
    assert_eq!(kept.len_bytes, bytes.len() as u64);
    assert_eq!(kept.entries, entries.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, IdentitiesError> {
    let mut identities = Identities::begin(bytes)?;
    let mut entries = Vec::new();
    while let Some(entry) = identities.take()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// Makes every checksum right, as far as the frames can be told.
fn mend(bytes: &mut [u8]) {
    let mut put = |from: usize, to: usize| {
        if let Some(part) = bytes.get(from..to) {
            let crc = crc32c::crc32c(part).to_le_bytes();
            if let Some(field) = bytes.get_mut(to..to + 4) {
                field.copy_from_slice(&crc);
            }
        }
        bytes.get(to + 4..to + 12).map(|start| {
            let number = |at: usize| u32::from_le_bytes(start[at..at + 4].try_into().unwrap());
            (number(0), number(4))
        })
    };
    let (mut at, mut next) = (32, put(0, 28));
    while let Some((count, flags)) = next {
        let len = if flags & 1 == 1 { 40 } else { 34 };
        let end = at + 16 + usize::try_from(count).unwrap().min(1 << 20) * len;
        next = put(at, end);
        at = end + 4;
    }
}

proptest! {
    #[test]
    fn streams_round_trip(entries in entries()) {
        let bytes = written(&entries);
        prop_assert_eq!(read(&bytes).unwrap(), entries.clone());
        let mut identities = Identities::begin(&bytes[..]).unwrap();
        prop_assert_eq!(identities.horizon(), HORIZON);
        for entry in entries.iter().step_by(3) {
            let found = identities.find(entry.number).unwrap();
            prop_assert_eq!(found.as_ref(), Some(entry));
            prop_assert_eq!(identities.find(entry.number).unwrap(), None);
        }
        prop_assert_eq!(identities.find(u64::MAX).unwrap(), None);
    }

    #[test]
    fn every_changed_byte_is_noticed(entries in entries(), at: proptest::sample::Index, bit in 0..8_u8) {
        let mut bytes = written(&entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(read(&bytes).is_err());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(read(&bytes[..at]).is_err(), "cut off");
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let start = written(&[]);
        bytes.splice(0..0, start[..32].iter().copied());
        mend(&mut bytes);
        let _ = read(&bytes);
    }

    #[test]
    fn changed_streams_with_mended_checksums_ascend_or_fail(
        entries in entries(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = written(&entries);
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at.index(len)] = value;
        }
        mend(&mut bytes);
        if let Ok(found) = read(&bytes) {
            prop_assert!(found.is_sorted_by(|one, other| one.number < other.number));
            prop_assert!(found.len() <= bytes.len() / 34);
        }
    }
}

#[test]
fn a_stream_takes_no_entry_out_of_order() {
    let mut writer = IdentityWriter::begin(Vec::new(), HORIZON).unwrap();
    let entry = |number| Entry {
        number,
        identity: [1; 16],
        mapping: [2; 16],
        counted: None,
    };
    writer.push(&entry(9)).unwrap();
    assert!(writer.push(&entry(9)).is_err());
    assert!(writer.push(&entry(8)).is_err());
    writer.push(&entry(10)).unwrap();
}

#[test]
fn a_file_takes_34_bytes_or_40() {
    for (counted, len) in [
        (None, 34),
        (
            Some(Counted {
                count: 1,
                accessed: 2,
            }),
            40,
        ),
    ] {
        let entries = (1..=100_000).map(|number| Entry {
            number,
            identity: [1; 16],
            mapping: [2; 16],
            counted,
        });
        let bytes = written(&entries.collect::<Vec<_>>());
        assert!(bytes.len() < 100_000 * len + 1000, "{}", bytes.len());
    }
}

#[test]
fn a_count_may_rise_when_the_time_of_access_did() {
    let counted = |count, accessed| Counted { count, accessed };
    let then = counted(5, 1);
    assert!(then.is_explained(counted(5, 1)) && then.is_explained(counted(5, 2)));
    assert!(then.is_explained(counted(6, 2)));
    assert!(!then.is_explained(counted(6, 1)) && !then.is_explained(counted(4, 2)));
    let of = |count| {
        Counted::of(Changes {
            count,
            accessed: [3; 8],
        })
    };
    assert_eq!(of(7).unwrap().count, 7);
    assert_eq!(of(u64::from(u32::MAX)), None);
    assert_eq!(of(1 << 40), None);
}
