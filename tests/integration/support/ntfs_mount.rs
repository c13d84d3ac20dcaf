//! NTFS volumes mounted by ntfs-3g.

use super::tool::command;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

/// A volume mounted by ntfs-3g, which has ended when this has been dropped.
pub(crate) struct NtfsMount {
    point: PathBuf,
    server: Child,
}

impl NtfsMount {
    pub(crate) fn new(image: &Path, point: &Path, options: &str) -> Self {
        fs::create_dir_all(point).unwrap();
        let before = fs::metadata(point).unwrap().dev();
        let mut server = command("ntfs-3g")
            .args(["-o", &format!("no_detach,{options}")])
            .args([image, point])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("ntfs-3g is needed for this test: {error}"));
        let start = Instant::now();
        while fs::metadata(point).unwrap().dev() == before {
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none(), "ntfs-3g -o {options}: {ended:?}");
            let is_late = start.elapsed() > Duration::from_secs(60);
            assert!(
                !is_late,
                "{} is not mounted after a minute",
                image.display()
            );
            sleep(Duration::from_millis(20));
        }
        Self {
            point: point.to_owned(),
            server,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for NtfsMount {
    fn drop(&mut self) {
        let unmounted = command("umount").arg(&self.point).status();
        let is_unmounted = unmounted.is_ok_and(|status| status.success());
        if is_unmounted {
            // What is in its memory is on the volume only when it has ended.
            let _ = self.server.wait();
        } else {
            let _ = self.server.kill();
        }
        assert!(
            is_unmounted || panicking(),
            "{} stays",
            self.point.display()
        );
    }
}
