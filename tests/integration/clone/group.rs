//! The volumes of a boot disk, updated as one through the program; interrupted after the commit.

use crate::support::image::{boot_disk, sparse};
use crate::support::klon::number;
use crate::support::library::options;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run, tree};
use klon_imaging::clone::{Begun, Context, Drive, Group, begin, commit};
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::{Ends, Job, Manifest, RecordStore};
use klon_partition::device::{Target, Window, look_at, open_target};
use klon_partition::filesystem::usage;
use klon_partition::table::{Found, Partition, read};
use klon_partition::{Extent, ExtentMap, Geometry, Identity, ReadAt, Result, WriteAt};
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// A boot disk with clones on a drive, and changes on both of its volumes since.
fn changed() -> Klon {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "drive"]);
    klon.ok(&["clone", "plan"]);
    let added = klon.text("added");
    fs::write(&added, tree::noise(5, MIB as usize)).unwrap();
    let esp = format!("{}@@1M", klon.text("disk"));
    run("mcopy", &["-i", &esp, &added, "::/added"]);
    let script = format!("write \"{added}\" added\nset_super_value mtime now\n");
    fs::write(klon.path("script"), script).unwrap();
    let root = format!("{}?offset={}", klon.text("disk"), 36 * MIB);
    run("debugfs", &["-w", "-f", &klon.text("script"), &root]);
    klon
}

/// A drive that is gone once the first mark of a group is durable.
struct Gone {
    drive: Target,
    is_marked: AtomicBool,
    is_gone: AtomicBool,
}

impl Gone {
    fn there(&self) -> Result<()> {
        match self.is_gone.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(klon_partition::Error::Refused("gone".to_owned())),
        }
    }
}

impl ReadAt for Gone {
    fn geometry(&self) -> Geometry {
        self.drive.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.there()?;
        self.drive.read_exact_at(buffer, offset_bytes)
    }
}

impl WriteAt for Gone {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        self.there()?;
        let mark = Mark::parse(data).filter(|_| data.len() == 512);
        let is_staged = mark.is_some_and(|mark| mark.staged.is_some());
        self.is_marked.fetch_or(is_staged, Ordering::Relaxed);
        self.drive.write_all_at(data, offset_bytes)
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.there()?;
        self.drive.zero(extent)
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        self.drive.discard(extent)
    }

    fn sync(&self) -> Result<()> {
        self.there()?;
        self.is_gone
            .store(self.is_marked.load(Ordering::Relaxed), Ordering::Relaxed);
        self.drive.sync()
    }
}

fn partitions(device: &dyn ReadAt) -> Vec<Partition> {
    match read(device).unwrap() {
        Found::Table(table, _) => table.partitions,
        _ => panic!("no table"),
    }
}

fn extent_of(device: &dyn ReadAt, identity: &Identity) -> Extent {
    let partitions = partitions(device).into_iter();
    let mut found = partitions.filter(|one| {
        let guid = one.guid.map(|guid| Identity::PartUuid(guid.to_string()));
        guid.as_ref() == Some(identity)
    });
    found.next().unwrap().extent
}

/// An update by the library that ends when the group is committed and nothing else is done.
fn interrupt(klon: &Klon) {
    let disk = look_at(&klon.path("disk")).unwrap();
    let drive = Gone {
        drive: open_target(&klon.path("drive")).unwrap(),
        is_marked: AtomicBool::new(false),
        is_gone: AtomicBool::new(false),
    };
    let records = RecordStore::new(klon.records());
    let manifests: Vec<Manifest> = records.manifests().unwrap();
    assert_eq!(manifests.len(), 2);
    let ends: Vec<_> = manifests
        .iter()
        .map(|manifest| {
            let source = Window::new(&disk, extent_of(&disk, &manifest.source)).unwrap();
            let at = extent_of(&drive, &manifest.target);
            let target = Window::new(&drive, at).unwrap();
            let present = usage(&target).unwrap();
            (usage(&source).unwrap(), source, at, target, present)
        })
        .collect();
    let room = ExtentMap::new();
    let jobs: Vec<Job<'_>> = manifests
        .iter()
        .zip(&ends)
        .map(|(manifest, (usage, source, at, target, present))| Job {
            present: Some(present),
            drive: Some(Drive {
                device: &drive,
                room: &room,
                is_given_up: true,
                at: *at,
            }),
            role: manifest.role,
            ..Job::new(
                "Clone",
                Ends {
                    source,
                    usage,
                    source_identity: &manifest.source,
                    target,
                    target_identity: &manifest.target,
                },
            )
        })
        .collect();
    let none = ExtentMap::new();
    let mut staged = Vec::new();
    for job in &jobs {
        let group = job.drive.map(|drive| Group {
            volumes: jobs.len(),
            at: drive.at,
            drive_taken: &none,
        });
        let with = Context {
            records: &records,
            options: &options(),
            observer: &Silent,
        };
        match begin(job, with, group).unwrap() {
            Begun::Staged(one) => staged.push(*one),
            Begun::Complete(_) => panic!("nothing was staged"),
        }
    }
    commit(staged, &[], &records, &options()).unwrap_err();
    let marks = manifests.iter().map(|manifest| {
        let drive = look_at(&klon.path("drive")).unwrap();
        let at = extent_of(&drive, &manifest.target);
        Mark::read(&Window::new(&drive, at).unwrap()).unwrap()
    });
    assert_eq!(marks.flatten().count(), 1, "the leader's");
}

/// The number of the drive's partition that bears a mark, or of the one that does not.
fn partition(klon: &Klon, is_marked: bool) -> String {
    let drive = look_at(&klon.path("drive")).unwrap();
    let mut found = partitions(&drive).into_iter().filter(|one| {
        let window = Window::new(&drive, one.extent).unwrap();
        Mark::read(&window).unwrap().is_some() == is_marked
    });
    format!("drive:{}", found.next().unwrap().number)
}

/// Both volumes are exact, and the next run reads nothing of the root but its metadata.
fn check(klon: &Klon) {
    klon.ok(&["verify", "plan"]);
    klon.ok(&["verify", "plan", "--against-source"]);
    let again = klon.json(&["clone", "plan"]);
    assert_eq!(again["rung"], "compare+digest", "{again:#}");
    assert_eq!(number(&again, "written_bytes"), 0, "{again:#}");
}

#[test]
fn a_boot_disk_is_updated_as_one() {
    let klon = changed();
    let lines = klon.ok(&["clone", "plan", "--json"]).lines();
    let at = |event: &str| {
        let all = lines.iter().enumerate();
        let all = all.filter(|(_, line)| line["event"] == event);
        all.map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(
        (at("staged").len(), at("finished").len()),
        (2, 2),
        "{lines:?}"
    );
    assert!(at("staged")[1] < at("finished")[0]);
    check(&klon);
}

#[test]
fn a_committed_group_is_finished_from_any_of_its_volumes_with_its_records() {
    let klon = changed();
    interrupt(&klon);
    klon.refused(&["verify", &partition(&klon, true)], &["was not finished"]);
    let both = klon.run(&["finish", "drive", "--alone"]).expect(2);
    both.says(&["for one volume"]);
    // One that bears no mark yet.
    let member = partition(&klon, false);
    let said = klon.ok(&["finish", &member]).stdout;
    assert_eq!(said.matches("is in place").count(), 2, "{said}");
    assert!(said.contains("of the same drive and group"), "{said}");
    let said = klon.ok(&["finish", "drive"]).stdout;
    assert_eq!(said.matches("nothing to finish").count(), 2, "{said}");
    check(&klon);
}

#[test]
fn records_that_were_elsewhere_are_taken_over_by_the_next_run() {
    let klon = changed();
    interrupt(&klon);
    fs::rename(klon.records(), klon.path("elsewhere")).unwrap();
    let said = klon.ok(&["finish", "drive"]).stdout;
    assert_eq!(said.matches("is in place").count(), 2, "{said}");
    let _ = fs::remove_dir_all(klon.records());
    fs::rename(klon.path("elsewhere"), klon.records()).unwrap();
    check(&klon);
}

/// Each partition has a node of its own there, and may be in use by itself.
#[test]
fn a_committed_group_is_finished_by_its_nodes_and_not_while_one_is_mounted() {
    if lacks_root() {
        return;
    }
    let klon = changed();
    interrupt(&klon);
    let number = |name: String| name.rsplit(':').next().unwrap().parse().unwrap();
    let (leader, member) = (partition(&klon, true), partition(&klon, false));
    let device = LoopDevice::new(&klon.path("drive"), 512);
    device.scan();
    let (leader, member) = (device.part(number(leader)), device.part(number(member)));
    {
        let _mount = Mount::new(&member, &klon.path("mnt"), "ro");
        klon.refused(&["finish", &leader], &["can't be a target", "Unmount"]);
    }
    let said = klon.ok(&["finish", &leader]).stdout;
    assert_eq!(said.matches("is in place").count(), 2, "{said}");
    drop(device);
    check(&klon);
}

#[test]
fn the_next_run_finishes_a_committed_group_first() {
    let klon = changed();
    interrupt(&klon);
    let outcome = klon.ok(&["clone", "plan", "--json"]);
    outcome.says(&["completed the update of 2 volumes"]);
    assert_eq!(outcome.last()["rung"], "compare+digest");
    assert_eq!(number(&outcome.last(), "written_bytes"), 0);
    check(&klon);
}

#[test]
fn what_can_not_be_staged_is_written_in_place_after_the_rest() {
    let klon = changed();
    // The clone of the root is gone, and its record with it.
    let drive = look_at(&klon.path("drive")).unwrap();
    let root = partitions(&drive)
        .into_iter()
        .max_by_key(|one| one.extent.len_bytes());
    let at = root.unwrap().extent.offset_bytes();
    let file = fs::OpenOptions::new().write(true).open(klon.path("drive"));
    let zeroes = vec![0; MIB as usize];
    file.unwrap().write_all_at(&zeroes, at).unwrap();
    let outcome = klon.ok(&["clone", "plan", "--json"]);
    outcome.says(&["can't be staged with the rest of the group"]);
    let volumes = outcome.last()["volumes"].clone();
    let staged: Vec<u64> = volumes
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| number(volume, "staged_bytes"))
        .collect();
    assert!(staged[0] > 0 && staged[1] == 0, "{staged:?}");
    check(&klon);
}
