//! Headers of every page size and byte order.

use super::{PAGE_BYTES, probe};
use crate::device::{MemoryDevice, WriteAt};
use crate::extent::Extent;
use crate::filesystem::{Hazard, Summary};

const VOLUME_BYTES: usize = 1 << 20;

fn volume(page_bytes: usize, is_big: bool, signature: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; VOLUME_BYTES];
    let last_page = (VOLUME_BYTES / page_bytes - 1) as u32;
    for (at, number) in [(1024, 1), (1028, last_page)] {
        let bytes = if is_big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        };
        raw[at..at + 4].copy_from_slice(&bytes);
    }
    raw[1036..1052].copy_from_slice(&[0x11; 16]);
    raw[1052..1057].copy_from_slice(b"pages");
    raw[page_bytes - 10..][..signature.len()].copy_from_slice(signature);
    raw
}

fn read(raw: Vec<u8>) -> (Summary, Option<u64>) {
    let device = MemoryDevice::new(raw, 512);
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap();
    let end_bytes = used.map(|used| used.total_bytes());
    (filesystem.summary().clone(), end_bytes)
}

#[test]
fn the_first_page_is_used() {
    for page_bytes in PAGE_BYTES {
        for is_big in [false, true] {
            let raw = volume(page_bytes as usize, is_big, b"SWAPSPACE2");
            let (summary, used_bytes) = read(raw);
            assert_eq!(used_bytes, Some(page_bytes.into()));
            assert_eq!(summary.size_bytes, VOLUME_BYTES as u64);
            assert_eq!(summary.label.as_deref(), Some("pages"));
            assert!(summary.uuid.unwrap().starts_with("11111111-1111"));
            assert_eq!(summary.hazards, []);
        }
    }
}

#[test]
fn a_suspended_system_is_told() {
    let signatures: [&[u8]; 4] = [
        b"S1SUSPEND\0",
        b"S2SUSPEND\0",
        b"ULSUSPEND\0",
        b"LINHIB0001",
    ];
    for signature in signatures {
        let (summary, _) = read(volume(4096, false, signature));
        assert!(matches!(summary.hazards[..], [Hazard::Hibernated(_)]));
    }
    let mut raw = volume(4096, false, b"SWAPSPACE2");
    raw[..8].copy_from_slice(super::TUX_ON_ICE);
    assert!(matches!(read(raw).0.hazards[..], [Hazard::Hibernated(_)]));
}

#[test]
fn headers_that_do_not_fit_prove_nothing() {
    assert_eq!(read(volume(4096, false, b"SWAP-SPACE")).1, None);
    let mut raw = volume(4096, false, b"SWAPSPACE2");
    raw[1024] = 2;
    assert_eq!(read(raw).1, None);
    for (at, value) in [(1031, 1), (1033, 3)] {
        let mut raw = volume(4096, false, b"SWAPSPACE2");
        raw[at] = value;
        let (summary, _) = read(raw);
        let is_told = matches!(summary.hazards[..], [Hazard::Damaged(_)]);
        assert!(is_told, "{:?}", summary.hazards);
    }
}

#[test]
fn the_token_is_that_of_the_header_page() {
    let device = MemoryDevice::new(volume(8192, false, b"SWAPSPACE2"), 512);
    let token = |device: &MemoryDevice| {
        let filesystem = probe(device).unwrap().unwrap();
        filesystem.change_token(device).unwrap().unwrap()
    };
    let before = token(&device);
    device.write_all_at(b"swapped out", 8192).unwrap();
    assert_eq!(token(&device), before);
    device.write_all_at(b"S1SUSPEND\0", 8182).unwrap();
    assert_ne!(token(&device), before);
}

#[test]
fn bad_pages_are_listed() {
    for page_bytes in PAGE_BYTES {
        for is_big in [false, true] {
            let mut raw = volume(page_bytes as usize, is_big, b"SWAPSPACE2");
            // Two of them; the header itself and a page behind the end are none.
            for (at, number) in [
                (1032, 4_u32),
                (1536, 3),
                (1540, 5),
                (1544, 0),
                (1548, 1 << 20),
            ] {
                let bytes = match is_big {
                    true => number.to_be_bytes(),
                    false => number.to_le_bytes(),
                };
                raw[at..at + 4].copy_from_slice(&bytes);
            }
            let device = MemoryDevice::new(raw, 512);
            let bad = probe(&device).unwrap().unwrap().known_bad(&device);
            let page = u64::from(page_bytes);
            let expected = [3, 5].map(|number| Extent::new(number * page, page).unwrap());
            assert_eq!(bad, expected.into_iter().collect());
        }
    }
}
