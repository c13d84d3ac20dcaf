//! Volumes that are made read-only for the moment.

use super::{Hold, Volume};
use crate::support::{Klon, lacks_root};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::Duration;

/// What mountinfo says of the volume, options included.
fn options(volume: &Volume) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut lines = mounts.lines();
    let line = lines.find(|line| line.split(' ').nth(4) == Some(volume.at()));
    line.unwrap().to_owned()
}

fn becomes_writable(volume: &Volume) -> bool {
    (0..1200).any(|_| {
        fs::write(volume.path("probe"), b"x").is_ok() || {
            sleep(Duration::from_millis(50));
            false
        }
    })
}

#[test]
fn a_volume_is_read_only_for_the_moment_and_as_it_was_afterwards() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(
        &klon,
        "ext4",
        "volume",
        "rw,noatime,nodev,commit=7,lazytime",
    );
    let before = options(&volume);
    let open = File::create(volume.path("open")).unwrap();
    let arguments = [
        volume.at(),
        "--still",
        "read-only",
        "--for",
        "100s",
        "--freeze-max",
        "100s",
    ];
    let command = [&["hold"], &arguments[..]].concat();
    klon.refused(
        &command,
        &[
            "a file on it is open for writing",
            "Open are",
            "integration",
        ],
    );
    assert_eq!(options(&volume), before);
    drop(open);
    let mut hold = Hold::at_rest(&klon, &arguments);
    let error = fs::write(volume.path("x"), b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    hold.signal(Signal::SIGINT);
    let (code, said) = hold.ended();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(options(&volume), before);
    assert!(becomes_writable(&volume));
    // Whatever happens to klon.
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let limit = if signal == Signal::SIGKILL {
            "100s"
        } else {
            "1s"
        };
        let arguments = [
            volume.at(),
            "--still",
            "read-only",
            "--for",
            "100s",
            "--freeze-max",
            limit,
        ];
        let hold = Hold::at_rest(&klon, &arguments);
        hold.signal(signal);
        assert!(becomes_writable(&volume), "{signal}");
        assert_eq!(options(&volume), before);
    }
}
