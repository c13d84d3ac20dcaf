//! What no tool at hand writes: structures put onto volumes byte by byte.

use super::volume::Volume;
use crate::support::run;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Moves the last 3 of 6 clusters of the bitmap to `target`.
pub(super) fn split_bitmap(bytes: &mut [u8], target: usize) {
    let word =
        |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let record = word(bytes, 0x30) * 512 + 6 * 1024;
    let mut data = record + word(bytes, record + 0x14);
    while bytes[data] != 0x80 {
        data += word(bytes, data + 4);
    }
    // One run of 6 clusters: a byte of length, two of place.
    let pairs = data + 0x40;
    assert_eq!(bytes[pairs..pairs + 2], [0x21, 6]);
    let start = word(bytes, pairs + 2);
    bytes.copy_within((start + 3) * 512..(start + 6) * 512, target * 512);
    let place = |cluster: usize| {
        if cluster / 8 < 1536 {
            start * 512
        } else {
            target * 512 - 1536
        }
    };
    for index in 0..3 {
        let (old, new) = (start + 3 + index, target + index);
        let (old_at, new_at) = (place(old) + old / 8, place(new) + new / 8);
        assert!(bytes[new_at] >> (new % 8) & 1 == 0);
        bytes[old_at] &= !(1 << (old % 8));
        bytes[new_at] |= 1 << (new % 8);
    }
    let delta = i16::try_from(target as i64 - start as i64)
        .unwrap()
        .to_le_bytes();
    let end = data + word(bytes, data + 4);
    // The attribute grows by 8 bytes, and nothing but the end mark is after it.
    bytes.copy_within(end..end + 8, end + 8);
    bytes[pairs + 1] = 3;
    bytes[pairs + 4..pairs + 9].copy_from_slice(&[0x21, 3, delta[0], delta[1], 0]);
    bytes[data + 4] += 8;
    let used = word(bytes, record + 0x18) + 8;
    bytes[record + 0x18..record + 0x1a].copy_from_slice(&(used as u16).to_le_bytes());
}

/// Writes where `$LogFile` starts, by ntfsinfo.
pub(super) fn write_log(volume: &Volume, bytes: &[u8]) {
    let text = run("ntfsinfo", &["-v", "-i", "2", volume.text()]);
    let runs = text
        .split("Runlist:")
        .nth(1)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap();
    let lcn = runs
        .split_whitespace()
        .nth(1)
        .unwrap()
        .trim_start_matches("0x");
    let offset_bytes = u64::from_str_radix(lcn, 16).unwrap() * 4096;
    let file = File::options().write(true).open(&volume.image).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

/// A restart page of version 1.1 with one client.
pub(super) fn restart_page(clients: u16, flags: u16) -> Vec<u8> {
    let mut page = vec![0; 4096];
    let mut put = |at: usize, field: &[u8]| page[at..][..field.len()].copy_from_slice(field);
    put(0, b"RSTR");
    put(4, &0x1e_u16.to_le_bytes());
    put(6, &9_u16.to_le_bytes());
    put(0x10, &4096_u32.to_le_bytes());
    put(0x14, &4096_u32.to_le_bytes());
    put(0x18, &0x30_u16.to_le_bytes());
    put(0x1a, &1_u16.to_le_bytes());
    put(0x1c, &1_u16.to_le_bytes());
    // The update sequence: 1, instead of zeroes.
    put(0x1e, &1_u16.to_le_bytes());
    for sector in 1..=8 {
        put(sector * 512 - 2, &1_u16.to_le_bytes());
    }
    let area = 0x30;
    put(area, &0x0010_0000_u64.to_le_bytes());
    put(area + 0x08, &1_u16.to_le_bytes());
    let free = if clients == 0xffff { 0_u16 } else { 0xffff };
    put(area + 0x0a, &free.to_le_bytes());
    put(area + 0x0c, &clients.to_le_bytes());
    put(area + 0x0e, &flags.to_le_bytes());
    // Bits of a sequence number: 67 - log2 of the log's size.
    put(area + 0x10, &(67 - 19_u32).to_le_bytes());
    put(area + 0x14, &(0x30_u16 + 0xa0).to_le_bytes());
    put(area + 0x16, &0x30_u16.to_le_bytes());
    put(area + 0x18, &(256_u64 << 10).to_le_bytes());
    put(area + 0x24, &0x30_u16.to_le_bytes());
    put(area + 0x26, &0x40_u16.to_le_bytes());
    let client = area + 0x30;
    put(client + 0x10, &0xffff_u16.to_le_bytes());
    put(client + 0x12, &0xffff_u16.to_le_bytes());
    put(client + 0x1c, &8_u32.to_le_bytes());
    put(client + 0x20, b"N\0T\0F\0S\0");
    page
}
