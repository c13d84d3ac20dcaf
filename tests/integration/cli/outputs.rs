//! Standard output: closed, full, a terminal, nothing.

use crate::support::image::{ext4, flip, sparse};
use crate::support::{Klon, MIB, run};
fn imaged() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    klon.ok(&["image", "source", "x.klon"]);
    klon
}

/// Commands that send a backup to standard output.
const STREAMS: [&str; 3] = [
    "image source -",
    "export x.klon -",
    "extract x.klon - --range 0+1M",
];

#[test]
fn a_backup_goes_nowhere_but_to_where_it_is_kept() {
    let klon = imaged();
    for command in STREAMS {
        for closed in [">&-", "1<>/dev/null", "1<source"] {
            let line = format!("$K {command} {closed}");
            klon.shell(&line)
                .expect(3)
                .says(&["standard output is closed"]);
        }
        // On purpose, to a file, to a program.
        klon.shell(&format!("$K {command} >/dev/null")).expect(0);
        klon.shell(&format!("$K {command} >out.file")).expect(0);
        let piped = format!("set -o pipefail; $K {command} | cat >out.pipe");
        klon.shell(&piped).expect(0);
        if !command.starts_with("image") {
            run("cmp", &[&klon.text("out.file"), &klon.text("out.pipe")]);
        }
        klon.shell(&format!("$K {command} >>out.file")).expect(0);
        let full = klon.shell(&format!("$K {command} >/dev/full")).expect(4);
        full.says(&["standard output", "full"]);
        // Nobody reads it to its end.
        let cut = format!("set -o pipefail; $K {command} | head -c 10 >/dev/null");
        assert_ne!(klon.shell(&cut).code, 0, "{command}");
        let terminal = format!("script -q -e -c \"$K {command}\" /dev/null");
        klon.shell(&terminal).expect(2).shows(&["is a terminal"]);
    }
}

#[test]
fn what_can_not_be_printed_is_told_and_cuts_nothing_short() {
    let klon = imaged();
    for (command, words) in [
        ("clone source target --json", "the clone is complete"),
        ("clone source target", "the clone is complete"),
        ("image source x.klon --json", "the snapshot is complete"),
        ("export x.klon out.raw", "the file is complete"),
        ("restore x.klon target.restored", "the restore is complete"),
        ("verify x.klon", "nothing differs"),
        ("prune x.klon@1 --yes", "the prune is complete"),
        ("list x.klon --json", "nothing failed"),
        ("devices", "nothing failed"),
        ("clone source target.new --dry-run", "nothing failed"),
    ] {
        let run = klon.shell(&format!("$K {command} >/dev/full")).expect(4);
        run.says(&[words, "can't write its messages to standard output"]);
        // Closed, cut off, and open for reading only: no panic.
        for output in [">&-", "| true", "1</dev/null"] {
            let again = command.replace("out.raw", "out.again --force");
            let run = klon.shell(&format!("$K {again} {output}"));
            assert!(!run.stderr.contains("panic"), "{command}: {}", run.stderr);
            assert!(run.code <= 4, "{command} {output}: {}", run.stderr);
        }
    }
    klon.ok(&["verify", "target", "source"]);
    run("cmp", &[&klon.text("out.raw"), &klon.text("out.again")]);
    // The verdict is what matters.
    flip(&klon.path("target"), 1024);
    klon.shell("$K verify target source >/dev/full").expect(1);
}

#[test]
fn what_is_only_shown_is_not_shown_to_nobody() {
    let klon = imaged();
    for command in [
        "map source",
        "map source --json",
        "devices source",
        "list x.klon",
        "info x.klon",
        "plan --drive target A=source",
        "completions bash",
    ] {
        sparse(&klon.path("target"), 64 * MIB);
        for closed in [">&-", "1<>/dev/null", "1<source"] {
            let refused = klon.shell(&format!("$K {command} {closed}")).expect(3);
            refused.says(&["standard output is closed", "> /dev/null"]);
        }
        klon.shell(&format!("$K {command} >/dev/null")).expect(0);
        klon.shell(&format!("$K {command} | cat >/dev/null"))
            .expect(0);
    }
    // What writes a file, or has its answer as exit code, needs nobody to read along.
    for command in [
        "plan --drive target A=source -o plan.toml",
        "diff x.klon source",
        "verify x.klon",
        "clone source copy",
    ] {
        klon.shell(&format!("$K {command} >&-")).expect(0);
    }
    assert!(klon.path("plan.toml").exists());
}

#[test]
fn every_volume_is_cloned_though_nothing_can_be_printed() {
    let klon = Klon::new();
    for name in ["one", "two", "three"] {
        ext4(&klon.path(name), 24, 2);
    }
    sparse(&klon.path("drive"), 160 * MIB);
    let volumes = ["One=one", "Two=two", "Three=three"];
    let options = ["plan", "--drive", "drive", "-o", "plan.toml"];
    klon.ok(&[&options[..], &volumes].concat());
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan.toml", "--yes", "--confirm", &drive]);
    let run = klon.shell("$K clone plan.toml --json >/dev/full").expect(4);
    run.says(&["the clone is complete"]);
    klon.ok(&["verify", "plan.toml"]);
}
