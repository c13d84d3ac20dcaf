//! Images that were taken of files.

use klon_imaging::change::RungChoice;
use klon_imaging::image::{
    Adopted, CaptureJob, CaptureOptions, Header, Image, ImageWriter, PartitionId, VolumeKind,
    capture,
};
use klon_imaging::progress::Silent;
use klon_partition::device::{MemoryDevice, look_at};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::inspect::{disk_usage, inspect};
use klon_partition::{Identity, ReadAt};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Opens an image that is read to memory.
pub(super) fn open(image: &Path) -> Image {
    let bytes = fs::read(image).unwrap();
    Image::open(Arc::new(MemoryDevice::new(bytes, 512))).unwrap()
}

/// Adds a snapshot of `source` to `image`, and gives its number.
pub(super) fn take(source: &Path, image: &Path) -> u64 {
    let device = look_at(source).unwrap();
    let layout = inspect(&device).unwrap();
    let table = layout.table.as_ref();
    let used = match table {
        Some(_) => Usage {
            summary: None,
            extents: disk_usage(&device).unwrap().extents,
            basis: Basis::Map,
            token: None,
        },
        None => usage(&device).unwrap(),
    };
    let partitions = table.iter().flat_map(|table| &table.partitions);
    let partitions = partitions.map(|partition| PartitionId {
        number: partition.number,
        extent: partition.extent,
        name: partition.name.clone(),
        guid: partition.guid,
        filesystem: None,
        used_bytes: partition.extent.len_bytes(),
    });
    let earlier = image.exists().then(|| open(image));
    let previous = earlier.as_ref().and_then(|image| image.snapshot(None).ok());
    let job = CaptureJob {
        name: "source",
        source: &device,
        usage: &used,
        source_identity: &Identity::Path("/source".to_owned()),
        kind: match table {
            Some(_) => VolumeKind::Disk,
            None => VolumeKind::Volume,
        },
        disk_guid: None,
        partitions: partitions.collect(),
        previous: previous.as_ref(),
        watch: None,
        note: None,
    };
    let mut writer = match &earlier {
        None => ImageWriter::create(Vec::new(), header()).unwrap(),
        Some(earlier) => {
            let adopted = Adopted::find(earlier.device(), earlier.header(), earlier.tail());
            let adopted = adopted.unwrap();
            let mut bytes = fs::read(image).unwrap();
            bytes.resize(usize::try_from(adopted.end).unwrap(), 0);
            ImageWriter::resume(bytes, earlier, &adopted).unwrap()
        }
    };
    let options = CaptureOptions {
        rung: RungChoice::Auto,
        level: 1,
        threads: NonZeroUsize::new(2).unwrap(),
    };
    let summary = capture(&job, &mut writer, &options, &Silent).unwrap();
    fs::write(image, writer.into_output()).unwrap();
    summary.snapshot
}

fn header() -> Header {
    Header {
        uuid: Uuid::from_u128(7),
        chunk_bytes: 1 << 20,
        made_unix_seconds: 1,
        is_appendable: true,
    }
}

/// Writes what the image gives back of a snapshot to `target`: zeroes where nothing was in use.
pub(super) fn restore(image: &Path, number: u64, target: &Path) {
    let snapshot = open(image).snapshot(Some(number)).unwrap();
    let device = klon_imaging::image::SnapshotDevice::new(Arc::new(snapshot));
    let mut bytes = vec![0; usize::try_from(device.geometry().size_bytes).unwrap()];
    device.read_exact_at(&mut bytes, 0).unwrap();
    fs::write(target, bytes).unwrap();
}
