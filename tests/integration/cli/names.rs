//! Names that others gave: nothing of them steers a terminal or begins a line, none is shown as
//! another, and what is called so is found.

use crate::support::image::{ext4, sparse};
use crate::support::{Klon, MIB, Outcome, run, tree};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a line of klon's own would look like.
const FORGED: &str = "    partition 9 y";

/// Names that steer terminals, each in another way.
const HOSTILE: [&str; 5] = [
    "x\u{1b}[2J\n    partition 9 y",
    "\u{202e}gpj.exe\u{2066}",
    "a\u{9b}31mb\u{7f}\r",
    "back\\slash\\x1b",
    "a\tb\u{a0}c\u{200f}",
];

/// Checks that what was printed is lines of klon's own, and that they have all of `words`.
fn is_clean(said: &Outcome, words: &[&str]) {
    let all = format!("{}{}", said.stdout, said.stderr);
    let is_steering =
        |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200f}".contains(c);
    assert!(!all.contains(is_steering), "{}\n{all:?}", said.line);
    assert!(
        !all.lines().any(|line| line == FORGED),
        "{}\n{all}",
        said.line
    );
    for word in words {
        assert!(all.contains(word), "{}: {word} is not in\n{all}", said.line);
    }
}

/// Runs it with arguments that may be any bytes.
fn klon_os<S: AsRef<OsStr>>(klon: &Klon, arguments: &[S]) -> Outcome {
    let mut command = klon.command(&[]);
    let output = command.args(arguments).output().unwrap();
    Outcome::new(&[], &output)
}

fn disk(klon: &Klon) {
    sparse(&klon.path("disk"), 64 * MIB);
    for (index, name) in HOSTILE.iter().enumerate() {
        let number = index + 1;
        let new = format!("{number}:0:+4M");
        let named = format!("{number}:{name}");
        run("sgdisk", &["-n", &new, "-c", &named, &klon.text("disk")]);
    }
}

const SHOWN: [&str; 5] = [
    "x\\x1b[2J\\n    partition 9 y",
    "\\u{202e}gpj.exe\\u{2066}",
    "a\\u{9b}31mb\\x7f\\r",
    "back\\\\slash\\\\x1b",
    "a\\tb\\u{a0}c\\u{200f}",
];

#[test]
fn names_of_partitions_are_escaped_wherever_they_are_shown() {
    let klon = Klon::new();
    disk(&klon);
    ext4(&klon.path("source"), 24, 1);
    is_clean(&klon.ok(&["devices", "disk"]), &SHOWN);
    is_clean(&klon.run(&["clone", "source", "disk"]).expect(3), &SHOWN);
    let plan = ["plan", "--drive", "disk", "Data=source", "-o", "plan"];
    // The list has no room for all of a name.
    is_clean(&klon.ok(&plan), &["1  x\\x1b[2J\\n", "2  \\u{202e}"]);
    is_clean(&klon.run(&["prepare", "plan"]).expect(3), &[]);
    fs::remove_file(klon.path("plan")).unwrap();
    let replaced = [&plan[..], &["--replace-table"]].concat();
    is_clean(&klon.ok(&replaced), &SHOWN);
    is_clean(&klon.run(&["prepare", "plan"]).expect(3), &SHOWN);
    klon.ok(&["image", "disk", "disk.klon"]);
    for command in ["info", "list", "verify"] {
        is_clean(&klon.ok(&[command, "disk.klon"]), &[]);
    }
    is_clean(&klon.ok(&["info", "disk.klon"]), &SHOWN);
    // JSON has them as they are.
    let found = klon.json(&["devices", "disk"]);
    let names: Vec<&str> = found["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["partition"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, HOSTILE);
    let text = klon.ok(&["devices", "disk", "--json"]);
    is_clean(&text, &[]);
}

#[test]
fn a_table_keeps_its_names_when_klon_writes_it() {
    let klon = Klon::new();
    disk(&klon);
    ext4(&klon.path("source"), 24, 1);
    klon.ok(&["plan", "--drive", "disk", "Data=source", "-o", "plan"]);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", "disk"]);
    let found = klon.json(&["devices", "disk"]);
    for (index, name) in HOSTILE.iter().enumerate() {
        assert_eq!(found["volumes"][index]["partition"]["name"], *name);
    }
    // As another program reads them.
    let info = run("sgdisk", &["-i", "4", &klon.text("disk")]);
    assert!(info.contains("'back\\slash\\x1b'"), "{info}");
    klon.ok(&["plan", "--drive", "disk", "Data=source", "-o", "plan"])
        .shows(&["as planned already"]);
}

#[test]
fn labels_notes_and_arguments_are_escaped() {
    let klon = Klon::new();
    for (index, label) in ["\u{1b}[2J\n  y", "a\" b\\", "\u{202e}x"]
        .iter()
        .enumerate()
    {
        let name = format!("v{index}");
        sparse(&klon.path(&name), 8 * MIB);
        run("mkfs.ext4", &["-q", "-F", "-L", label, &klon.text(&name)]);
        is_clean(&klon.ok(&["devices", &name]), &[]);
        is_clean(&klon.run(&["clone", "v0", &name]).expect(3), &[]);
        is_clean(&klon.ok(&["map", &name]), &[]);
    }
    is_clean(&klon.ok(&["devices", "v1"]), &["\"a\\\" b\\\\\""]);
    let note = "now\u{1b}[2J\nthen";
    klon.ok(&["image", "v0", "v.klon", "--note", note]);
    is_clean(&klon.ok(&["list", "v.klon"]), &["now\\x1b[2J\\nthen"]);
    is_clean(&klon.ok(&["info", "v.klon"]), &["now\\x1b[2J\\nthen"]);
    let entry = klon.json(&["list", "v.klon"]);
    assert!(
        entry.to_string().contains("now\\u001b[2J\\nthen"),
        "{entry}"
    );
    let odd = "no\u{1b}[2J\nsuch";
    for arguments in [
        &["devices", odd][..],
        &["clone", "v0", "v1", "--yes", "--confirm", odd],
        &["clone", odd, "v1"],
        &["verify", odd],
        &["list", odd],
        &["plan", "--drive", "v0", odd],
        &["restore", "v.klon", "--partition", odd],
        &[odd],
        &["clone", "v0", "v1", odd],
    ] {
        let said = klon.run(arguments);
        assert_ne!(said.code, 0, "{arguments:?}");
        is_clean(&said, &["no\\x1b[2J\\nsuch"]);
    }
}

#[test]
fn two_different_names_are_never_shown_as_one() {
    let klon = Klon::new();
    let names = [
        &b"\xff"[..],
        b"\xfe",
        b"\\xff",
        b"\n",
        b"\\n",
        "\u{fffd}".as_bytes(),
        b"\x1b[31m",
        "\u{10feff}".as_bytes(),
        "u\u{308}".as_bytes(),
        "\u{fc}".as_bytes(),
    ];
    let directory = klon.path("tree");
    fs::create_dir(&directory).unwrap();
    for (index, name) in names.iter().enumerate() {
        let name = Path::new(OsStr::from_bytes(name));
        fs::write(directory.join(name), tree::noise(index as u64, 9000)).unwrap();
    }
    sparse(&klon.path("volume"), 24 * MIB);
    let make = ["-q", "-F", "-d", &klon.text("tree"), &klon.text("volume")];
    run("mkfs.ext4", &make);
    klon.ok(&["image", "volume", "v.klon"]);
    // Every file is overwritten in place.
    let mut bytes = fs::read(klon.path("volume")).unwrap();
    for index in 0..names.len() {
        let content = tree::noise(index as u64, 4096);
        let at = bytes
            .windows(4096)
            .position(|window| window == content)
            .unwrap();
        bytes[at + 5] ^= 1;
    }
    fs::write(klon.path("volume"), bytes).unwrap();
    klon.ok(&["image", "volume", "v.klon", "--rung", "compare"]);
    let said = klon.run(&["diff", "v.klon@1", "v.klon@2"]).expect(1);
    is_clean(&said, &[]);
    let shown: std::collections::BTreeSet<&str> = said
        .stdout
        .lines()
        .filter(|line| line.contains("v.klon@2: /"))
        .collect();
    assert_eq!(shown.len(), names.len(), "{shown:?}");
    let answer = klon.run(&["diff", "v.klon@1", "v.klon@2", "--json"]).last();
    let files = answer["second_files"]["files"].as_array().unwrap();
    let mut found: Vec<Vec<u8>> = files
        .iter()
        .map(|file| match file["path_bytes"].as_str() {
            Some(hex) => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            None => file["path"].as_str().unwrap().as_bytes().to_vec(),
        })
        .map(|path| path[1..].to_vec())
        .collect();
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Names of files that are no UTF-8 or have what shells, mountinfo and terminals treat in a way of
/// their own.
fn odd_names() -> Vec<OsString> {
    let names: [&[u8]; 5] = [
        b"\xe9t\xe9 1",
        b"line\nfeed\ttab",
        b"back\\040slash\\n",
        b"\x1b[31m'quo\"te'",
        b"\xff\xfe:x@y",
    ];
    names
        .iter()
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect()
}

#[test]
fn sources_targets_and_records_may_be_called_anything() {
    for name in odd_names() {
        let klon = Klon::new();
        let home = klon.directory().join(&name);
        fs::create_dir(&home).unwrap();
        ext4(&klon.path("plain"), 24, 2);
        let at = |what: &str| -> PathBuf {
            let mut file = name.clone();
            file.push(what);
            home.join(file)
        };
        fs::rename(klon.path("plain"), at("source")).unwrap();
        let (source, target) = (at("source"), at("target"));
        let records: OsString = home.join("records").into();
        let run = |arguments: &[&OsStr]| {
            let records = [OsStr::new("--records"), &records];
            let said = klon_os(&klon, &[arguments, &records].concat());
            is_clean(&said, &[]);
            said
        };
        let word = OsStr::new;
        let pair = [word("clone"), source.as_os_str(), target.as_os_str()];
        run(&pair).expect(0);
        assert!(fs::read(&source).unwrap() == fs::read(&target).unwrap());
        let again = run(&[&pair[..], &[word("--json")]].concat()).expect(0);
        assert_eq!(again.last()["rung"], "digest", "{name:?}");
        run(&[word("verify"), target.as_os_str()]).expect(0);
        run(&[word("verify"), target.as_os_str(), source.as_os_str()]).expect(0);
        // Against the direction, and consent as it is printed, pasted into a shell.
        let back = [word("clone"), target.as_os_str(), source.as_os_str()];
        let refused = run(&[&back[..], &[word("--force-direction")]].concat()).expect(3);
        let consent = refused.stderr.split("add: ").nth(1).unwrap().trim();
        let script = format!("exec \"$@\" {consent}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_klon")]);
        shell
            .args(back)
            .arg("--force-direction")
            .arg("--records")
            .arg(&records);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}\n{output:?}", refused.stderr);
    }
}

#[test]
fn plans_images_and_exports_may_be_called_anything() {
    for name in odd_names() {
        let klon = Klon::new();
        ext4(&klon.path("plain"), 24, 2);
        let at = |what: &str| {
            let mut file = name.clone();
            file.push(what);
            file
        };
        let content = fs::read(klon.path("plain")).unwrap();
        fs::rename(klon.path("plain"), klon.directory().join(at("source"))).unwrap();
        sparse(&klon.directory().join(at("drive")), 64 * MIB);
        let run = |arguments: &[&OsStr]| {
            let said = klon_os(&klon, arguments).expect(0);
            is_clean(&said, &[]);
        };
        let word = OsStr::new;
        let mut asked = OsString::from("Data=");
        asked.push(at("source"));
        let (drive, plan, image) = (at("drive"), at("plan.toml"), at("image.klon"));
        run(&[
            word("plan"),
            word("--drive"),
            &drive,
            &asked,
            word("-o"),
            &plan,
        ]);
        run(&[word("prepare"), &plan]);
        run(&[word("clone"), &plan]);
        run(&[word("clone"), &plan]);
        run(&[word("verify"), &plan]);
        run(&[word("verify"), &plan, word("--against-source")]);
        run(&[word("devices"), &drive]);
        run(&[word("image"), &at("source"), &image]);
        run(&[word("image"), &at("source"), &image]);
        let mut first = image.clone();
        first.push("@1");
        run(&[word("export"), &first, &at("raw")]);
        run(&[word("restore"), &first, &at("restored")]);
        run(&[word("diff"), &first, &at("source")]);
        run(&[word("verify"), &first, &at("source")]);
        for copy in [at("raw"), at("restored")] {
            assert!(
                fs::read(klon.directory().join(copy)).unwrap() == content,
                "{name:?}"
            );
        }
    }
}

#[test]
fn names_as_long_as_the_filesystem_has_them_are_exported_and_compacted() {
    for name in ["x".repeat(250), "ü".repeat(125), "x".repeat(255)] {
        let klon = Klon::new();
        ext4(&klon.path("source"), 24, 2);
        klon.ok(&["image", "source", "i.klon"]);
        klon.ok(&["image", "source", "i.klon"]);
        fs::rename(klon.path("i.klon"), klon.path(&name)).unwrap();
        klon.ok(&["prune", &name, "--keep-last", "1", "--compact", "--yes"]);
        klon.ok(&["verify", &name]);
        fs::rename(klon.path(&name), klon.path("i.klon")).unwrap();
        klon.ok(&["export", "i.klon", &name, "--format", "raw"]);
        assert!(fs::read(klon.path(&name)).unwrap() == fs::read(klon.path("source")).unwrap());
        klon.ok(&["export", "i.klon", &name, "--format", "qcow2", "--force"]);
        klon.ok(&["extract", "i.klon", &name, "--force"]);
        klon.ok(&["clone", "source", &name, "--yes", "--confirm", &name]);
        klon.ok(&["clone", "source", &name]);
        let left = fs::read_dir(klon.directory()).unwrap().count();
        assert_eq!(left, 4, "source, image, records and this file");
    }
}

#[test]
fn what_is_there_to_be_read_is_said_once_and_without_numbers() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 1);
    File::create(klon.path("empty.klon")).unwrap();
    for arguments in [
        &["list", "nothere.klon"][..],
        &["verify", "nothere"],
        &["info", "nothere.klon"],
        &["clone", "source", "nodirectory/target"],
        &[
            "plan",
            "--drive",
            "source",
            "Data=source",
            "-o",
            "nodirectory/plan",
        ],
    ] {
        let said = klon.run(arguments);
        assert_ne!(said.code, 0, "{arguments:?}");
        assert!(!said.stderr.contains("os error"), "{}", said.stderr);
        let name = *arguments.last().unwrap();
        assert!(said.stderr.matches(name).count() <= 1, "{}", said.stderr);
    }
}
