//! Only what nobody can miss is removed.

use super::remove_left_over;
use crate::durable;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn what_a_killed_run_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [
        (".record-Ab3xYz", "klonrec\n and more"),
        (".record-000000", ""),
        (".log-Ab3xYz", "klonlog\n and more"),
        (
            ".map-Ab3xYz",
            "# Mapfile of klon, in the format of GNU ddrescue\n",
        ),
        (".map-abcdef", "# klon-first: {}\n"),
        (".map-ABCDEF", ""),
    ] {
        fs::write(directory.path().join(name), content).unwrap();
    }
    remove_left_over(directory.path());
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn what_may_be_anyone_elses_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, content) in [
        (".record-Ab3xYz", "klonre"),
        (".record-Ab3xY1", "klonlog\n and more"),
        (".record-Ab3xY", ""),
        (".record-Ab3xYzz", "klonrec\n"),
        (".record-Ab3x-z", "klonrec\n"),
        ("record-Ab3xYz", "klonrec\n"),
        (".log-Ab3xYz", "klonrec\n"),
        (".map-Ab3xYz", "# Mapfile. Created by GNU ddrescue\n"),
        (".other-Ab3xYz", ""),
        ("path-x.klonrec", "klonrec\n"),
        ("twice", "klonrec\n"),
    ] {
        fs::write(path(name), content).unwrap();
    }
    fs::hard_link(path("twice"), path(".record-twotwo")).unwrap();
    symlink("path-x.klonrec", path(".record-linkto")).unwrap();
    fs::create_dir(path(".record-folder")).unwrap();
    nix::unistd::mkfifo(&path(".record-pipepi"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = names(directory.path());
    remove_left_over(directory.path());
    assert_eq!(names(directory.path()), before);
}

#[test]
fn what_is_being_written_stays() {
    let directory = tempfile::tempdir().unwrap();
    let begun = durable::begin(&directory.path().join("x.klonrec"), ".record-").unwrap();
    remove_left_over(directory.path());
    assert_eq!(names(directory.path()).len(), 1);
    assert!(begun.path().exists());

    // The same file when its writer is gone and could not remove it.
    let (file, path) = begun.keep().unwrap();
    drop(file);
    remove_left_over(directory.path());
    assert!(!path.exists());

    let of_another = directory.path().join(".log-Ab3xYz");
    let writer = File::create(&of_another).unwrap();
    writer.lock().unwrap();
    remove_left_over(directory.path());
    assert!(of_another.exists());
}
