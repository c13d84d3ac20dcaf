//! Files of real runs: what each fuzz target begins with.

use super::{
    evidence, foreign, identities, image, map, nbd, partclone, qcow2, scratch, stage, target,
};
use klon_imaging::change::{Reliance, RungChoice};
use klon_imaging::clone::{Freed, Rewrite, Update};
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::{CloneOptions, Ends, Job, RecordStore, clone};
use klon_partition::device::{Fault, FaultAt, MemoryDevice};
use klon_partition::filesystem::{Usage, usage};
use klon_partition::planner::{
    Drive, Minimum, Options, Request, SizePolicy, Source, SourceRequest, SourceVolume, plan,
    random_id,
};
use klon_partition::table::Scheme;
use klon_partition::{Extent, ExtentMap, Geometry, Identity, ReadAt, WriteAt};
use std::num::NonZeroUsize;
use std::path::Path;

/// An input for a fuzz target.
pub struct Seed {
    /// The target.
    pub target: &'static str,
    /// What the input is called.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them, from runs that are made now and the golden files in `images`.
#[must_use]
pub fn all(images: &Path) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes| {
        let name = name.to_owned();
        seeds.push(Seed {
            target,
            name,
            bytes,
        });
    };
    for (name, bytes) in golden_records(images) {
        add("record", &name, bytes);
    }
    let (bad_record, rescue_map) = of_rescue();
    add("record", "bad", bad_record);
    add("map", "rescued", rescue_map);
    add("map", "by-ddrescue", DDRESCUE_MAP.to_vec());
    add("record", "ext4", of_ext4(images));
    let stopped = of_interrupted();
    add("intent", "in-place", stopped.in_place_log);
    add("intent", "staged", stopped.staged_log);
    add("evidence", "files", evidence::of_files());
    add("identities", "files", identities::of_files());
    add("mark", "in-place", stopped.mark);
    add("mark", "staged", stopped.staged_volume[..512].to_vec());
    add("stage", "update", stage::input_of(&stopped.staged_volume));
    for (name, bytes) in nbd::conversations() {
        add("nbd", name, bytes);
    }
    let image = image::of_small();
    add("snapshot", "small", image::input_of(&image));
    add("image", "small", image);
    for scheme in [Scheme::Gpt, Scheme::Mbr] {
        add("plan", &format!("{scheme:?}"), of_plan(scheme));
    }
    for (name, bitmap) in [("bits", 1), ("bytes", 8)] {
        add("partclone", name, partclone::seed(bitmap));
    }
    for (name, level) in [("plain", None), ("zstd", Some(1))] {
        add("qcow2", name, qcow2::seed(level));
    }
    for (name, bytes) in foreign::seeds() {
        add("foreign", name, bytes);
    }
    add("bmap", "small", foreign::BMAP.to_vec());
    seeds
}

/// As ddrescue writes it.
const DDRESCUE_MAP: &[u8] = b"# Mapfile. Created by GNU ddrescue version 1.27\n\
# current_pos  current_status  current_pass\n\
0x00100A00     -               1\n\
#      pos        size  status\n\
0x00000000  0x00001000  ?\n\
0x00001000  0x00000200  *\n\
0x00001200  0x00000200  /\n\
0x00001400  0x000FF600  ?\n\
0x00100A00  0x00000400  -\n\
0x00100E00  0x00007200  ?\n";

fn golden_records(images: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(images).expect("the golden images");
    let mut records: Vec<_> = entries
        .map(|entry| entry.expect("a golden file").path())
        .filter(|path| path.extension().is_some_and(|end| end == "klonrec"))
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("a record"))
        })
        .collect();
    records.sort();
    records
}

/// The record and the map of a rescue that could not read everything.
fn of_rescue() -> (Vec<u8>, Vec<u8>) {
    let directory = scratch();
    let path = directory.path().join("map");
    let source = MemoryDevice::new(map::source(), 512);
    let source = FaultAt::new(source, Some(Fault::Unreadable(map::bad())));
    let image = MemoryDevice::zeroed(map::source().len());
    map::rescue_to(&source, &image, &path, false).expect("a rescue");
    let record = RecordStore::new(directory.path().to_owned()).path(&target());
    let read = |path: &Path| std::fs::read(path).expect("what the rescue has written");
    (read(&record), read(&path))
}

/// The record of a filesystem's clone.
fn of_ext4(images: &Path) -> Vec<u8> {
    let packed = std::fs::File::open(images.join("ext4-seed.img.zst")).expect("a golden image");
    let image = zstd::decode_all(packed).expect("a golden image");
    let source = MemoryDevice::new(image.clone(), 512);
    let usage = usage(&source).expect("a used map");
    let directory = scratch();
    let records = RecordStore::new(directory.path().to_owned());
    let image = MemoryDevice::zeroed(image.len());
    run(&source, &usage, &image, &records, None).expect("a clone");
    std::fs::read(records.path(&target())).expect("its record")
}

struct Stopped {
    in_place_log: Vec<u8>,
    mark: Vec<u8>,
    staged_log: Vec<u8>,
    staged_volume: Vec<u8>,
}

/// Content without long runs of zeroes.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 300).to_le_bytes()[0]).collect()
}

fn device(bytes: &[u8]) -> MemoryDevice {
    MemoryDevice::new(bytes.to_vec(), 512)
}

/// A used map without a filesystem.
fn mapped(extents: &[(u64, u64)]) -> Usage {
    let extents = extents.iter().copied();
    Usage::mapped(
        extents
            .filter_map(|(at, len)| Extent::new(at, len))
            .collect(),
    )
}

/// What runs leave behind that were interrupted.
fn of_interrupted() -> Stopped {
    let (in_place_log, mark) = in_place();
    let (staged_log, staged_volume) = staged();
    Stopped {
        in_place_log,
        mark,
        staged_log,
        staged_volume,
    }
}

/// The log and the mark of a first clone whose source failed after some chunks.
fn in_place() -> (Vec<u8>, Vec<u8>) {
    let bytes = content(5 << 20);
    let usage = mapped(&[(0, 3000), (1 << 20, 4 << 20)]);
    let directory = scratch();
    let records = RecordStore::new(directory.path().to_owned());
    let image = MemoryDevice::zeroed(bytes.len());
    let source = FaultAt::new(device(&bytes), Some(Fault::Transient(4)));
    run(&source, &usage, &image, &records, None).expect_err("the source fails");
    (log_of(&records), image.to_vec()[..512].to_vec())
}

fn log_of(records: &RecordStore) -> Vec<u8> {
    std::fs::read(records.log_path(&target())).expect("a log")
}

/// The log of an update whose source failed, and the volume when all of it is staged.
fn staged() -> (Vec<u8>, Vec<u8>) {
    let before = content(stage::VOLUME_BYTES);
    let mut after = before.clone();
    after[9000..20_000].fill(1);
    after[(1 << 20) + 9000..(1 << 20) + 20_000].fill(2);
    let usage = mapped(&[(0, 3000), (1 << 20, 128 << 10)]);
    let present = Some(&usage.extents);
    let directory = scratch();
    let records = RecordStore::new(directory.path().to_owned());
    let image = MemoryDevice::zeroed(before.len());
    run(&device(&before), &usage, &image, &records, None).expect("a clone");
    let clone = image.to_vec();
    let log = {
        let source = FaultAt::new(device(&after), Some(Fault::Transient(1)));
        run(&source, &usage, &image, &records, present).expect_err("the source fails");
        log_of(&records)
    };
    for operation in 0..500 {
        records.remove_log(&target()).expect("the log goes");
        let stopped = FaultAt::new(device(&clone), Some(Fault::Persistent(operation)));
        let _ = run(&device(&after), &usage, &stopped, &records, present);
        let bytes = stopped.device().to_vec();
        if Mark::parse(&bytes).is_some_and(|mark| mark.staged.is_some()) {
            return (log, bytes);
        }
    }
    panic!("no operation leaves the mark of a staged update");
}

fn run(
    source: &dyn ReadAt,
    usage: &Usage,
    image: &dyn WriteAt,
    records: &RecordStore,
    present: Option<&ExtentMap>,
) -> klon_imaging::Result<()> {
    let present = present.map(|present| Usage::mapped(present.clone()));
    let source_identity = Identity::Path("/source".to_owned());
    let target_identity = target();
    let job = Job {
        present: present.as_ref(),
        ..Job::new(
            "Seed",
            Ends {
                source,
                usage,
                source_identity: &source_identity,
                target: image,
                target_identity: &target_identity,
            },
        )
    };
    let options = CloneOptions {
        rung: RungChoice::Auto,
        rewrite: Rewrite::Blocks,
        freed: Freed::Leave,
        update: Update::Staged,
        threads: NonZeroUsize::MIN,
        reliance: Reliance::USUAL,
    };
    clone(&job, records, &options, &Silent)?;
    Ok(())
}

/// A plan for two volumes.
fn of_plan(scheme: Scheme) -> Vec<u8> {
    const MIB: u64 = 1 << 20;
    let volume = |size_bytes| SourceVolume {
        number: None,
        extent: Extent::new(0, size_bytes).expect("a constant"),
        partition_type: None,
        attributes: 0,
        is_bootable: false,
        partuuid: None,
        filesystem: None,
        used_bytes: Some(MIB),
        end_bytes: None,
        minimum: Minimum::Never("nobody asked".to_owned()),
        recognized: None,
    };
    let request = |name: &str, size: SizePolicy| SourceRequest {
        name: name.to_owned(),
        size,
        source: Source {
            identity: Identity::Path(format!("/images/{name}")),
            disk: None,
            logical_sector_bytes: 512,
            disk_has_esp: false,
            has_boot_code: false,
            unassigned: None,
            original: None,
            volumes: vec![volume(7 * MIB)],
        },
    };
    let grow = "grow:weight=2000,max=1T".parse().expect("a size");
    let request = Request {
        drive: Drive {
            identity: Identity::Serial("GOLDEN".to_owned()),
            geometry: Geometry::new(64 * MIB, 512),
            table: None,
            doubt: None,
            listed_elsewhere: ExtentMap::new(),
            content: None,
        },
        sources: vec![request("Boot", SizePolicy::Match), request("Master", grow)],
        options: Options {
            scheme: Some(scheme),
            ..Options::default()
        },
    };
    let plan = plan(&request, &mut random_id).expect("it fits").plan;
    plan.to_toml().expect("small numbers").into_bytes()
}
