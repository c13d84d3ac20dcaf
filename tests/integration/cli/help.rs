//! Help, completions, man pages, and readers that have seen enough.

use crate::support::image::{ext4, flip, sparse};
use crate::support::{Klon, MIB, run};
use std::io::Read as _;
use std::process::Stdio;

#[test]
fn the_help_of_every_command_tells_its_options() {
    let klon = Klon::new();
    let general = klon.ok(&["--help"]).stdout;
    for (command, options) in [
        ("devices", &[][..]),
        (
            "plan",
            &[
                "--drive",
                "--size",
                "--table",
                "--replace-table",
                "--date-stamp",
                "--output",
            ],
        ),
        ("prepare", &["--dry-run", "--yes", "--confirm"]),
        (
            "clone",
            &[
                "--only",
                "--rung",
                "--rewrite",
                "--freed",
                "--strict",
                "--verify",
                "--threads",
                "--dry-run",
                "--yes",
                "--confirm",
            ],
        ),
        ("verify", &["--against-source", "--only", "--threads"]),
        (
            "export",
            &[
                "--format",
                "--compress",
                "--force",
                "--skip-damaged",
                "--threads",
            ],
        ),
        (
            "extract",
            &["--range", "--force", "--skip-damaged", "--threads"],
        ),
        ("restore", &["--partition", "--in-place", "--skip-damaged"]),
        ("import", &["--disk", "--note", "--level", "--threads"]),
        ("map", &[]),
        ("ledger", &["--ledger"]),
        ("thaw", &["MOUNTPOINT"]),
        ("serve", &["--listen", "--socket", "--open-to-all"]),
        ("mount", &["--background", "--allow-other"]),
    ] {
        assert!(general.contains(&format!("\n  {command} ")), "{general}");
        let help = klon.ok(&[command, "--help"]).stdout;
        for option in options.iter().chain(&["--json", "--quiet", "--records"]) {
            assert!(help.contains(option), "{command}: {option}\n{help}");
        }
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
    assert!(general.contains("3 refused for safety") && general.contains("130 interrupted"));
    assert!(klon.ok(&["--version"]).stdout.starts_with("klon 0."));
}

#[test]
fn completions_and_man_pages_are_made() {
    let klon = Klon::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = klon.ok(&["completions", shell]).stdout;
        assert!(
            script.contains("klon") && script.contains("prepare"),
            "{shell}"
        );
    }
    std::fs::write(klon.path("bash"), klon.ok(&["completions", "bash"]).stdout).unwrap();
    run("bash", &["-n", &klon.text("bash")]);
    klon.ok(&["man", "pages"]);
    for (page, word) in [("klon", "130 interrupted"), ("klon-clone", "rung")] {
        let text = std::fs::read_to_string(klon.path(&format!("pages/{page}.1"))).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH "), "{page}");
        assert!(text.contains(word), "{page}: {word}");
    }
}

/// Closes its standard output after `len` bytes of it.
fn read_a_little(klon: &Klon, arguments: &[&str], len: usize) {
    let mut command = klon.command(arguments);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut start = vec![0; len];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?}: {} {errors}",
        output.status
    );
    assert!(
        !errors.contains("panic") && !errors.contains("pipe"),
        "{errors}"
    );
}

#[test]
fn a_reader_that_went_away_is_a_quiet_end() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 2);
    sparse(&klon.path("drive"), 64 * MIB);
    read_a_little(&klon, &["map", "volume"], 0);
    read_a_little(&klon, &["map", "volume", "--json"], 0);
    read_a_little(&klon, &["completions", "zsh"], 10);
    read_a_little(&klon, &["devices", "volume"], 0);
    read_a_little(&klon, &["--help"], 10);
    read_a_little(&klon, &["plan", "--drive", "drive", "A=volume"], 0);
}

#[test]
fn a_reader_that_went_away_stops_no_work() {
    let klon = Klon::new();
    ext4(&klon.path("one"), 24, 2);
    ext4(&klon.path("two"), 24, 2);
    sparse(&klon.path("drive"), 64 * MIB);
    klon.ok(&["plan", "--drive", "drive", "A=one", "B=two", "-o", "plan"]);
    read_a_little(
        &klon,
        &["prepare", "plan", "--yes", "--confirm", "drive"],
        0,
    );
    read_a_little(&klon, &["clone", "plan"], 0);
    klon.ok(&["verify", "plan"]);
    read_a_little(&klon, &["clone", "plan", "--json", "--rung", "full"], 1);
    klon.ok(&["verify", "plan", "--against-source"]);
    flip(&klon.path("drive"), 26 * MIB);
    let text = "\"$0\" verify plan --against-source | true; exit ${PIPESTATUS[0]}";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", text, env!("CARGO_BIN_EXE_klon")]);
    let status = command
        .current_dir(klon.directory())
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(1));
}

#[test]
fn quiet_prints_nothing_when_all_is_well() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    for arguments in [&["clone", "source", "target"][..], &["verify", "target"]] {
        let outcome = klon.ok(&[arguments, &["--quiet"]].concat());
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.is_empty(), "{arguments:?}: {said}");
    }
}
