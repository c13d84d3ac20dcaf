//! The block of a group.

use super::{Group, HEADER_LEN, MEMBER_LEN, Member, block_bytes};
use crate::mark::{Mark, Membership, Staged};
use crate::stage::{Area, BlockRef, Spot};
use klon_partition::Extent;
use uuid::Uuid;

fn at(mib: u64) -> Extent {
    Extent::new(mib << 20, 1 << 20).unwrap()
}

fn member(mib: u64, leader: Extent, run: Uuid) -> Member {
    let spot = Spot {
        area: Area::Drive,
        extent: at(90),
    };
    let extent = Extent::new(spot.extent.offset_bytes(), 4096).unwrap();
    let staged = Staged {
        index: BlockRef {
            spot: Spot { extent, ..spot },
            digest: [3; 32],
        },
        staged_bytes: 5000,
        token: None,
        is_begun: false,
        membership: Membership::Member { leader, run },
    };
    Member {
        at: at(mib),
        mark: Mark::new("partuuid:1").with_staged(staged),
        staged,
        witness: Some([7; 32]).filter(|_| mib.is_multiple_of(2)),
    }
}

#[test]
fn a_block_reads_back_and_one_that_contradicts_itself_does_not() {
    let run = Mark::new("").run;
    let group = Group {
        leader: at(1),
        run,
        members: vec![member(2, at(1), run), member(3, at(1), run)],
    };
    let bytes = group.to_bytes();
    assert_eq!(bytes.len() as u64, block_bytes(3));
    assert_eq!(Group::parse(&bytes, run), Some(group.clone()));
    assert_eq!(group.volumes().collect::<Vec<_>>(), [at(1), at(2), at(3)]);
    assert_eq!(Group::parse(&bytes, Uuid::nil()), None, "of another run");
    for len in 0..bytes.len() {
        assert_eq!(Group::parse(&bytes[..len], run), None, "{len}");
    }
    // Volumes that overlap, and a mark of another group.
    let mut overlapping = bytes.clone();
    overlapping[HEADER_LEN] = 1;
    assert_eq!(Group::parse(&overlapping, run), None);
    let mut other = bytes;
    let mark = member(2, at(9), run).mark.to_bytes();
    other[HEADER_LEN + 64..HEADER_LEN + MEMBER_LEN].copy_from_slice(&mark);
    assert_eq!(Group::parse(&other, run), None);
}
