//! A file whose server runs a script at the first request from a position on: what happens in the
//! middle of a run happens there every time.

use super::tool::{command, output};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The file, served until dropped.
pub(crate) struct Hooked {
    path: PathBuf,
    server: Child,
}

impl Hooked {
    /// Serves the content of `backing` as a file beside it, and runs `script` at the first write
    /// that begins at `from_bytes` or later; the write fails if that does.
    pub(crate) fn at_write(backing: &Path, from_bytes: u64, script: &str) -> Self {
        Self::new(
            backing,
            "pwrite",
            &format!("[ $4 -ge {from_bytes} ]"),
            script,
        )
    }

    /// Serves the content of `backing` as a file beside it, and runs `script` at the first read
    /// after `target` was marked as unfinished.
    pub(crate) fn while_writing(backing: &Path, target: &Path, script: &str) -> Self {
        let when = format!(
            "head -c 15 '{}' | grep -q klon-unfinished",
            target.display()
        );
        Self::new(backing, "pread", &when, script)
    }

    fn new(backing: &Path, on: &str, when: &str, script: &str) -> Self {
        let path = backing.with_extension("served");
        let done = backing.with_extension("done");
        File::create(&path).unwrap();
        let size = fs::metadata(backing).unwrap().len();
        let (backing, done) = (backing.display(), done.display());
        let hook = format!(
            "if ! [ -e '{done}' ] && {when} 2>/dev/null; then touch '{done}'; {script}; fi; "
        );
        let of = |operation: &str| if operation == on { hook.as_str() } else { "" };
        let read = format!(
            "pread={}dd if='{backing}' iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=1M status=none",
            of("pread")
        );
        let write = format!(
            "pwrite={}dd of='{backing}' oflag=seek_bytes conv=notrunc seek=$4 bs=1M iflag=fullblock \
             status=none",
            of("pwrite")
        );
        let server = command("nbdfuse")
            .arg(&path)
            .args(["--command", "nbdkit", "-s", "--exit-with-parent", "eval"])
            .args([format!("get_size=echo {size}"), read, write])
            .arg("can_write=true")
            .env("TMPDIR", path.parent().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("nbdfuse is needed for this test");
        let served = Self { path, server };
        let is_served = || fs::metadata(&served.path).is_ok_and(|found| found.len() == size);
        let is_there = (0..200).any(|_| {
            is_served() || {
                sleep(Duration::from_millis(50));
                false
            }
        });
        assert!(is_there, "nbdfuse does not serve {}", served.path.display());
        served
    }

    /// The file as text.
    pub(crate) fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        for _ in 0..100 {
            if output("umount", &[self.text()]).status.success() {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.server.wait();
    }
}
