//! Golden images of Btrfs with some bytes changed and their checksums made to fit: no panic, and
//! nothing outside of the volume is said to be in use.
//!
//! An input is the number of an image, then changes of 13 bytes each: 2 choose a tree block or the
//! superblock, 1 has flags (bit 0: leave the checksum as it is; bits 1 to 3: how many bytes are
//! written, less one), 2 say where in the block, and 8 what is written.

#![no_main]

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::probe;
use klon_partition::{Extent, Geometry, ReadAt, Result};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

const PAGE: usize = 4096;
const SUPERBLOCK: u64 = 64 << 10;

/// A volume as its pages that aren't zero.
#[derive(Clone)]
struct Image {
    size_bytes: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
    /// Size of a tree block.
    node: usize,
}

impl Image {
    /// Page by page, so that no allocation is as large as the image.
    fn read(mut source: impl Read) -> Self {
        let mut image = Self {
            size_bytes: 0,
            pages: BTreeMap::new(),
            node: PAGE,
        };
        let mut page = [0; PAGE];
        while source.read_exact(&mut page).is_ok() {
            if page.iter().any(|&byte| byte != 0) {
                image.pages.insert(image.size_bytes, Arc::new(page));
            }
            image.size_bytes += PAGE as u64;
        }
        let nodesize = &image.pages[&SUPERBLOCK][0x94..0x98];
        image.node = u32::from_le_bytes(nodesize.try_into().expect("4 bytes")) as usize;
        image
    }

    fn write(&mut self, bytes: &[u8], offset_bytes: u64) {
        for (&byte, at) in bytes.iter().zip(offset_bytes..) {
            let page = self.pages.entry(at / PAGE as u64 * PAGE as u64);
            let page = page.or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[at as usize % PAGE] = byte;
        }
    }

    /// Makes the CRC-32C of a superblock or tree block fit.
    fn check(&mut self, offset_bytes: u64) {
        let len = if offset_bytes == SUPERBLOCK {
            PAGE
        } else {
            self.node
        };
        let mut raw = vec![0; len];
        if self.read_exact_at(&mut raw, offset_bytes).is_ok() {
            let csum = crc32c::crc32c(&raw[32..]).to_le_bytes();
            self.write(&csum, offset_bytes);
        }
    }
}

impl ReadAt for Image {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let end = offset_bytes + buffer.len() as u64;
        buffer.fill(0);
        let first = offset_bytes / PAGE as u64 * PAGE as u64;
        for (&start, page) in self.pages.range(first..end) {
            let from = start.max(offset_bytes);
            let to = end.min(start + PAGE as u64);
            let part = &page[(from - start) as usize..(to - start) as usize];
            buffer[(from - offset_bytes) as usize..(to - offset_bytes) as usize]
                .copy_from_slice(part);
        }
        Ok(())
    }
}

/// Those whose checksums are CRC-32C; the files' contents, which are never read, left out.
static IMAGES: LazyLock<Vec<(Image, Vec<u64>)>> =
    LazyLock::new(|| ["btrfs-mixed", "btrfs"].map(load).into());

fn load(name: &str) -> (Image, Vec<u64>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../images")
        .join(format!("{name}.img.zst"));
    let file = std::fs::File::open(file).expect("golden image");
    let mut image = Image::read(zstd::Decoder::new(file).expect("zstd"));
    let filesystem = probe(&image).expect("no I/O error").expect("Btrfs");
    let metadata = filesystem.metadata(&image).expect("sound").expect("a map");
    let is_metadata =
        |start: u64| Extent::new(start, 1).is_some_and(|byte| metadata.contains(byte));
    image.pages.retain(|&start, _| is_metadata(start));
    // Every tree block has the filesystem's UUID where the superblock has it too.
    let uuid = image.pages[&SUPERBLOCK][0x20..0x30].to_vec();
    let blocks = image.pages.iter();
    let blocks = blocks.filter(|(_, page)| page[0x20..0x30] == uuid);
    let blocks = blocks.map(|(&start, _)| start).collect();
    (image, blocks)
}

fn change(image: &mut Image, blocks: &[u64], record: &[u8; 13]) {
    let number = usize::from(u16::from_le_bytes([record[0], record[1]]));
    let block = blocks[number % blocks.len()];
    let flags = record[2];
    let offset = u64::from(u16::from_le_bytes([record[3], record[4]])) % image.node as u64;
    let len = usize::from(flags >> 1 & 7) + 1;
    image.write(&record[5..5 + len], block + offset);
    if flags & 1 == 0 {
        image.check(block);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, records)) = data.split_first() else {
        return;
    };
    let (image, blocks) = &IMAGES[usize::from(first) % IMAGES.len()];
    let mut image = image.clone();
    for record in records.as_chunks::<13>().0 {
        change(&mut image, blocks, record);
    }
    klon_partition_fuzz::check(&image);
});
