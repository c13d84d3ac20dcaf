//! Clones on a terminal, with somebody who answers.

use super::Klon;
use super::tool::command;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

/// Clones `source` to `target` on a terminal; when the question comes, `change` happens, and then
/// `answer` is typed. The exit code and all that was shown.
pub(crate) fn typed(
    klon: &Klon,
    target: &str,
    answer: &str,
    change: impl FnOnce(),
) -> (i32, String) {
    typed_to(klon, &format!("clone source {target}"), answer, change)
}

/// The same of any command that asks.
pub(crate) fn typed_to(
    klon: &Klon,
    arguments: &str,
    answer: &str,
    change: impl FnOnce(),
) -> (i32, String) {
    let line = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_klon"));
    let mut child = command("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .current_dir(klon.directory())
        .env("KLON_RECORDS", klon.records())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is needed for this test");
    let mut terminal = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains("to go on:") {
        let len = output.read(&mut piece).unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend(&piece[..len]);
    }
    change();
    terminal
        .write_all(format!("{answer}\n").as_bytes())
        .unwrap();
    output.read_to_end(&mut shown).unwrap();
    let status = child.wait().unwrap();
    drop(terminal);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    (status.code().unwrap(), shown)
}
