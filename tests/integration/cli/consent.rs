//! Consent that is typed at a terminal.

use crate::support::Klon;
use crate::support::image::ext4;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs a clone over `target` on a terminal on which `answer` is typed; the exit code and all that
/// was shown.
fn typed(klon: &Klon, answer: &str) -> (i32, String) {
    let clone = format!("'{}' clone source target", env!("CARGO_BIN_EXE_klon"));
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &clone, "/dev/null"])
        .current_dir(klon.directory())
        .env("KLON_RECORDS", klon.records())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("script is needed for this test");
    let mut terminal = child.stdin.take().unwrap();
    terminal
        .write_all(format!("{answer}\n").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    drop(terminal);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), shown)
}

#[test]
fn only_the_identity_typed_at_the_terminal_is_consent() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 24, 1);
    let before = fs::read(klon.path("target")).unwrap();
    for answer in ["", "yes", "source"] {
        let (code, shown) = typed(&klon, answer);
        assert_eq!(code, 3, "{shown}");
        assert!(shown.contains("This will overwrite") && shown.contains("ext4 \"target\""));
        assert!(shown.contains("nothing was written"), "{shown}");
        assert!(fs::read(klon.path("target")).unwrap() == before, "{answer}");
    }
    let (code, shown) = typed(&klon, &klon.text("target"));
    assert_eq!(code, 0, "{shown}");
    klon.ok(&["verify", "target", "source"]);
}
