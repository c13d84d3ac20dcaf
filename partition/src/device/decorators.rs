//! What decorators hand on of the device beneath them, beside its bytes.

use super::{
    Fault, FaultAt, Geometry, InSectors, KnownBad, Overlay, Patched, Patches, ReadAt, ReopenAt,
    Unread, Window, WriteAt, read_vec,
};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use std::sync::Arc;

const SIZE_BYTES: u64 = 1 << 20;

fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
    Extent::new(offset_bytes, len_bytes).unwrap()
}

/// Knows where it is zero, and digests, which say where they are from.
#[derive(Clone, Copy)]
struct Telling;

impl Telling {
    fn data_map() -> ExtentMap {
        [extent(4096, 8192), extent(500_000, 70_000)]
            .into_iter()
            .collect()
    }

    fn digest(extent: Extent) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&extent.offset_bytes().to_le_bytes());
        digest[8..16].copy_from_slice(&extent.len_bytes().to_le_bytes());
        digest
    }
}

impl ReadAt for Telling {
    fn geometry(&self) -> Geometry {
        Geometry::new(SIZE_BYTES, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> Result<()> {
        buffer.fill(1);
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(Self::data_map().within(within).collect())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        Ok(Some(Self::digest(extent)))
    }
}

/// Decorators that change nothing where they are asked, and whether digests are theirs to hand on.
fn decorators() -> Vec<(&'static str, bool, Box<dyn ReadAt>)> {
    let bad: ExtentMap = extent(0, 512).into();
    let reopened = ReopenAt::new(Arc::new(Telling), Box::new(|| Ok(Arc::new(Telling))));
    let in_sectors = InSectors {
        disk: &Telling,
        sector_bytes: 4096,
    };
    vec![
        ("Box", true, Box::new(Box::new(Telling))),
        ("Arc", true, Box::new(Arc::new(Telling))),
        ("reference", true, Box::new(&Telling)),
        ("ReopenAt", true, Box::new(reopened)),
        (
            "Patched",
            true,
            Box::new(Patched::new(Telling, Patches::new())),
        ),
        ("Unread", true, Box::new(Unread::new(Telling, bad.clone()))),
        ("InSectors", true, Box::new(in_sectors)),
        ("Overlay", true, Box::new(Overlay::new(Telling, 1 << 20))),
        // Reads may fail, so a digest beneath says nothing of them.
        ("KnownBad", false, Box::new(KnownBad::new(Telling, bad))),
        ("FaultAt", false, Box::new(FaultAt::new(Telling, None))),
    ]
}

#[test]
fn every_decorator_hands_on_what_is_zero_and_digests_where_they_hold() {
    for (name, has_digests, device) in decorators() {
        let whole = extent(0, SIZE_BYTES);
        assert_eq!(device.data(whole).unwrap(), Telling::data_map(), "{name}");
        let some = extent(65_536, 4096);
        let expected = has_digests.then(|| Telling::digest(some));
        assert_eq!(device.sha256(some).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_window_shifts_what_it_hands_on() {
    let window = Window::new(Telling, extent(4096, 65_536)).unwrap();
    let whole = window.geometry().extent().unwrap();
    assert_eq!(window.data(whole).unwrap(), extent(0, 8192).into());
    let found = window.sha256(extent(512, 512)).unwrap();
    assert_eq!(found, Some(Telling::digest(extent(4608, 512))));
    assert!(window.sha256(extent(65_024, 1024)).is_err());
}

#[test]
fn what_is_not_read_has_no_digest() {
    let unread = Unread::new(Telling, extent(0, 512).into());
    assert_eq!(unread.sha256(extent(0, 4096)).unwrap(), None);
}

#[test]
fn what_is_changed_has_no_digest() {
    let mut patches = Patches::new();
    patches.add(100, &[1], &[2]).unwrap();
    let patched = Patched::new(Telling, patches);
    assert_eq!(patched.sha256(extent(0, 4096)).unwrap(), None);
    let other = extent(4096, 4096);
    let kept = Some(Telling::digest(other));
    assert_eq!(patched.sha256(other).unwrap(), kept);
}

#[test]
fn an_overlay_says_what_it_was_given() {
    let overlay = Overlay::new(Telling, 1 << 20);
    overlay.write_all_at(&[7; 512], 0).unwrap();
    overlay.zero(extent(4096, 4096)).unwrap();
    let data = overlay.data(extent(0, 16_384)).unwrap();
    let expected: ExtentMap = [extent(0, 512), extent(8192, 4096)].into_iter().collect();
    assert_eq!(data, expected);
    let (changed, beneath) = (extent(0, 4096), extent(8192, 4096));
    assert_eq!(overlay.sha256(changed).unwrap(), None);
    let kept = Some(Telling::digest(beneath));
    assert_eq!(overlay.sha256(beneath).unwrap(), kept);
}

#[test]
fn a_fault_fails_only_what_it_is_of() {
    let bad = extent(4096, 512);
    let device = FaultAt::new(Telling, Some(Fault::Unreadable(bad)));
    assert!(read_vec(&device, 0, 4096).is_ok());
    assert!(read_vec(&device, 4096, 1).is_err());
    assert_eq!(device.data(bad).unwrap(), bad.into());
}
