//! Images.

use super::{number, seal};
use klon_imaging::Digest;
use klon_imaging::change::{Reliance, RungChoice};
use klon_imaging::image::{
    CaptureJob, CaptureOptions, FrameType, Header, Image, ImageWriter, SnapshotDevice, VolumeKind,
    capture, check as check_image, compact, plan_prune,
};
use klon_imaging::progress::{Runner, Silent};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::Usage;
use klon_partition::{ExtentMap, Identity, ReadAt};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Inputs are cut down to this.
const LEN_MAX: usize = 128 << 10;
/// Data frames begin behind the header.
const DATA_AT: usize = 4096;
const FRAME_HEADER_LEN: usize = 64;

/// Reads `data` as an image, as it is and with right checksums in its headers.
pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(LEN_MAX)];
    read(data.to_vec());
    let mut sealed = data.to_vec();
    let _ = seal_all(&mut sealed);
    read(sealed);
}

/// Reads an image whose page, manifest and catalog are any bytes, with all checksums right: the
/// lengths of the page (2 bytes) and the manifest (2 bytes), these, and then the catalog.
pub fn check_snapshot(data: &[u8]) {
    if let Some(image) = assembled(&data[..data.len().min(LEN_MAX)]) {
        read(image);
    }
}

fn read(bytes: Vec<u8>) {
    let device = Arc::new(MemoryDevice::new(bytes, 512));
    let Ok(image) = Image::open(device) else {
        return;
    };
    let one = NonZeroUsize::MIN;
    let runner = Runner {
        name: "x",
        threads: one,
        observer: &Silent,
    };
    let found = check_image(&image, None, runner).expect("damage is no error");
    for entry in &image.catalog().snapshots {
        let Ok(snapshot) = image.snapshot(Some(entry.number)) else {
            assert!(!found.is_whole);
            continue;
        };
        let is_damaged = |number| found.damage.iter().any(|damage| damage.snapshot == number);
        let device = SnapshotDevice::new(Arc::new(snapshot));
        let size_bytes = device.geometry().size_bytes;
        let len = usize::try_from(size_bytes.min(3 << 20)).unwrap_or(0);
        let mut content = vec![1; len];
        let result = device.read_exact_at(&mut content, 0);
        assert!(result.is_ok() || is_damaged(entry.number), "{result:?}");
        let tail = size_bytes.saturating_sub(5000);
        let _ = device.read_exact_at(&mut [0; 5000][..(size_bytes - tail) as usize], tail);
        // Pieces of what is not damaged are its content.
        let is_whole = result.is_ok() && !is_damaged(entry.number);
        let pieces = SnapshotDevice::for_pieces(Arc::clone(device.snapshot()));
        for start in (0..len).step_by(190_000) {
            let mut piece = vec![1; (len - start).min(5000)];
            let read = pieces.read_exact_at(&mut piece, start as u64);
            let is_same = read.is_ok() && content[start..].starts_with(&piece);
            assert!(is_same || !is_whole, "{start}: {read:?}");
        }
    }
    let _ = plan_prune(&image, &[]);
    if let Ok(compacted) = compact(&image, &[], Vec::new(), runner) {
        let image = Image::open(Arc::new(MemoryDevice::new(compacted, 512))).expect("an image");
        assert_eq!(image.tail().damage, None);
    }
}

/// Puts right checksums into the header and into the headers of frames.
fn seal_all(bytes: &mut [u8]) -> Option<()> {
    seal(bytes, 0, 4092)?;
    let mut at = DATA_AT;
    while at + FRAME_HEADER_LEN <= bytes.len() {
        let len = match bytes[at..].starts_with(b"kFrm") {
            true => seal_frame(bytes, at).unwrap_or(0),
            false => 0,
        };
        at = (at + FRAME_HEADER_LEN + len).next_multiple_of(64);
    }
    Some(())
}

/// Puts right checksums into a frame; returns the length of its payload.
fn seal_frame(bytes: &mut [u8], at: usize) -> Option<usize> {
    let len = number(bytes, at + 8, 4)?;
    let start = at + FRAME_HEADER_LEN;
    let payload = bytes.get(start..start.checked_add(len)?)?;
    let crc = crc32c::crc32c(payload);
    if bytes[at + 5] == 0 {
        let digest = Digest::of(payload).0;
        bytes[at + 16..at + 48].copy_from_slice(&digest);
    }
    bytes[at + 56..at + 60].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[40..56]);
    let crc = crc32c::crc32c_append(crc, &(at as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &bytes[at..at + 60]);
    bytes[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    Some(len)
}

/// Adds a frame of plain bytes; returns its reference.
fn add(image: &mut Vec<u8>, frame_type: u8, plain: &[u8], align: usize) -> [u8; 48] {
    image.resize(image.len().next_multiple_of(align), 0);
    let at = image.len();
    let len = u32::try_from(plain.len()).unwrap_or(0).to_le_bytes();
    let mut header = [0; FRAME_HEADER_LEN];
    header[..4].copy_from_slice(b"kFrm");
    header[4] = frame_type;
    header[8..12].copy_from_slice(&len);
    header[12..16].copy_from_slice(&len);
    image.extend(header);
    image.extend(plain);
    seal_frame(image, at);
    let mut reference = [0; 48];
    reference[..8].copy_from_slice(&(at as u64).to_le_bytes());
    reference[8..].copy_from_slice(&image[at + 8..at + 48]);
    reference
}

/// The image of an input. References that are 1 or 2 become those of its data frames, or its page.
fn assembled(data: &[u8]) -> Option<Vec<u8>> {
    let (page_len, manifest_len) = (number(data, 0, 2)?, number(data, 2, 2)?);
    let rest = data.get(4..)?;
    let mut page = rest.get(..page_len)?.to_vec();
    let mut manifest = rest
        .get(page_len..page_len.checked_add(manifest_len)?)?
        .to_vec();
    let catalog = rest.get(page_len + manifest_len..)?;
    let mut image = Header::new(1).to_bytes();
    // The same for the same input.
    image[40..56].fill(7);
    seal(&mut image, 0, 4092)?;
    let frames = [vec![3; 1 << 20], vec![4; 4096]].map(|plain| add(&mut image, 1, &plain, 64));
    for reference in page.get_mut(128..).unwrap_or_default().chunks_exact_mut(48) {
        match reference[0] {
            1 => reference.copy_from_slice(&frames[0]),
            2 => reference.copy_from_slice(&frames[1]),
            _ => {}
        }
    }
    let page = add(&mut image, 2, &page, 64);
    seal_sections(&mut manifest, &page);
    let manifest = add(&mut image, 3, &manifest, 64);
    let place = format!(
        "{{\"position\":{},\"stored_bytes\":{1},\"plain_bytes\":{1},\"sha256\":\"{2}\"}}",
        number(&manifest, 0, 8)?,
        number(&manifest, 8, 4)?,
        Digest(manifest[16..48].try_into().ok()?)
    );
    let catalog = String::from_utf8_lossy(catalog).replace("MANIFEST", &place);
    let catalog = add(&mut image, 4, catalog.as_bytes(), 64);
    let mut footer = [0; 64];
    footer[..48].copy_from_slice(&catalog);
    footer[48] = 1;
    add(&mut image, 5, &footer, 128);
    Some(image)
}

/// Puts right checksums behind the sections of a manifest, and the reference of the page into its
/// tree where the position is 1.
fn seal_sections(manifest: &mut [u8], page: &[u8; 48]) -> Option<()> {
    let mut at = 0_usize;
    loop {
        let start = at.checked_add(16)?;
        let end = start.checked_add(number(manifest, at.checked_add(8)?, 8)?)?;
        if manifest.get(at..)?.starts_with(b"TREE") {
            for entry in manifest.get_mut(start..end)?.chunks_exact_mut(56) {
                if entry[8] == 1 {
                    entry[8..].copy_from_slice(page);
                }
            }
        }
        seal(manifest, at, end)?;
        at = end.checked_add(4)?;
    }
}

/// A small image of two snapshots.
pub(crate) fn of_small() -> Vec<u8> {
    let mut content = vec![3; (1 << 20) + 4096];
    content[1 << 20..].fill(4);
    let mut header = Header::new(1).to_bytes();
    header[40..56].fill(7);
    seal(&mut header, 0, 4092).expect("a header");
    let header = Header::parse(&header.try_into().expect("4096 bytes")).expect("a header");
    let mut writer = ImageWriter::create(Vec::new(), header).expect("memory");
    for byte in 0..2 {
        content[5000] = byte;
        let source = MemoryDevice::new(content.clone(), 512);
        let usage = Usage::mapped(ExtentMap::whole(content.len() as u64));
        let job = CaptureJob {
            name: "source",
            source: &source,
            usage: &usage,
            source_identity: &Identity::Path("/source".to_owned()),
            kind: VolumeKind::Volume,
            disk_guid: None,
            partitions: Vec::new(),
            bad: ExtentMap::new(),
            previous: None,
            watch: None,
            given_name: None,
            consistency: klon_imaging::Consistency::Still,
            clone_bytes: None,
            note: None,
            is_checked: false,
            volumes: None,
        };
        let options = CaptureOptions {
            rung: RungChoice::Auto,
            level: 1,
            threads: NonZeroUsize::MIN,
            reliance: Reliance::USUAL,
        };
        capture(&job, &mut writer, &options, &Silent).expect("a snapshot");
    }
    writer.into_output()
}

/// The input of [`check_snapshot`] that makes an image like this one.
pub(crate) fn input_of(image: &[u8]) -> Vec<u8> {
    let image = Image::open(Arc::new(MemoryDevice::new(image.to_vec(), 512))).expect("an image");
    let entry = image
        .catalog()
        .snapshots
        .last()
        .expect("a snapshot")
        .clone();
    let snapshot = image.snapshot(None).expect("a snapshot");
    let tree = &snapshot.manifest().tree;
    let mut page = image.read(&tree[0].1, FrameType::Page).expect("a page");
    (page[128], page[128 + 48]) = (1, 2);
    let manifest = image.read(&entry.manifest.into(), FrameType::Manifest);
    let mut manifest = manifest.expect("a manifest");
    let at = manifest.len() - 4 - 48;
    manifest[at] = 1;
    let catalog = concat!(
        "{\"snapshots\":[{\"number\":1,\"manifest\":MANIFEST,\"ended_unix_seconds\":1,\"source\":",
        "\"path:/source\",\"source_bytes\":1052672,\"used_bytes\":1052672,",
        "\"added_bytes\":1}],\"next_number\":2}"
    );
    let mut input = Vec::new();
    for part in [&page, &manifest] {
        input.extend(
            u16::try_from(part.len())
                .expect("small parts")
                .to_le_bytes(),
        );
    }
    input.extend(page);
    input.extend(manifest);
    input.extend(catalog.as_bytes());
    let image = assembled(&input).expect("an image");
    let image = Image::open(Arc::new(MemoryDevice::new(image, 512))).expect("an image");
    assert!(
        image.snapshot(None).is_ok(),
        "the catalog is one: {:?}",
        image.tail()
    );
    input
}
