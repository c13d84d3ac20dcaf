//! NTFS, whose file records are a heuristic: what they show, and what they can't.

mod clones;
mod limits;
mod sound;

use super::changes::{On, all};
use super::past;
use super::state::State;
use super::volumes::{changes, failed, in_folder, preparation};
use crate::support::tool::run_command;
use crate::support::{MIB, NtfsMount, run, scratch};
use klon_imaging::change::proven::Rule;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Writes of a byte each take long through ntfs-3g, so `pieces` makes large ones.
const PIECES: &str = r#"
pieces() {
    local arguments=() i
    for ((i = 0; i < $2; i++)); do arguments+=(-c "pwrite -q $((i * 16384)) 3000"); done
    xfs_io -f "${arguments[@]}" "$1"
}"#;

/// A volume in a file in memory.
struct Made {
    directory: TempDir,
    name: &'static str,
    mount: &'static str,
}

impl Made {
    fn new(name: &'static str, mkfs: &[&str], mount: &'static str) -> Self {
        let made = Self {
            directory: scratch::in_memory(),
            name,
            mount,
        };
        let path = made.image();
        let path = path.to_str().unwrap();
        run("truncate", &["-s", "112M", path]);
        run("mkfs.ntfs", &[&["-F", "-q", "-f"], mkfs, &[path]].concat());
        made
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.image()).unwrap()
    }

    fn mounted(&self) -> NtfsMount {
        NtfsMount::new(
            &self.image(),
            &self.directory.path().join("mnt"),
            self.mount,
        )
    }

    /// Runs a script in the mounted volume.
    fn script(&self, text: &str) {
        script(self.mounted().path(), text);
    }

    /// Fills it with what stays, and prepares all changes.
    fn prepare(&self, first: &str) {
        self.script(&format!("{PIECES}\n{first}\n{}", preparation(On::Ntfs)));
    }

    /// Makes all changes; how many, and the names of those that can't be made.
    fn change(&self) -> (usize, Vec<&'static str>) {
        let mount = self.mounted();
        let at = mount.path().to_str().unwrap();
        let said = run("bash", &["-c", &changes(On::Ntfs), "bash", at]);
        let made = all(On::Ntfs).filter(|change| !change.make.is_empty());
        let failed = failed(On::Ntfs, &said);
        (made.count() - failed.len(), failed)
    }

    /// The numbers of the files in a folder.
    fn records(&self, folder: &str) -> BTreeMap<String, u64> {
        let mount = self.mounted();
        let entries = fs::read_dir(mount.path().join(folder)).unwrap();
        let entries = entries.map(|entry| entry.unwrap());
        let number = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().ino())
        };
        entries.map(number).collect()
    }

    /// Writes to a file's clusters behind the back of its record.
    fn write_past(&self, record: u64, offset_bytes: u64, what: &str) {
        past::write(&self.image(), (record, offset_bytes), what);
    }
}

/// Runs a script in a folder.
fn script(at: &Path, text: &str) {
    let text = in_folder(text);
    run_command(Command::new("bash").args(["-c", &text]).current_dir(at));
}

/// Fails when a proven byte is not what it was, or less than so much is proven.
fn assert_sound(made: &Made, (before, after): (&State, &State), proven_mib: u64, what: &str) {
    let missed = after.missed(before);
    let name = made.name;
    if !missed.is_empty() {
        let owners = after.owners(&missed);
        panic!("{name}, {what}: {missed:?} missed of {owners:?}");
    }
    let proven = &after.found.proven;
    assert!(proven.difference(&after.used).is_empty(), "{name}, {what}");
    let bytes = proven.total_bytes();
    let files = &after.found.files;
    assert!(
        bytes >= proven_mib * MIB,
        "{name}, {what}: {bytes} bytes proven: {files:?}"
    );
}

/// The first run over a volume, or the next one.
fn state(made: &Made, previous: Option<&State>) -> State {
    let horizon = klon_imaging::change::proven::Horizon::unmounted(super::state::now());
    State::of_bytes(made.bytes(), previous, &Rule::default(), horizon)
}
