//! FAT that is laid out anew: smaller, by klon itself. The source stays as it is.

use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, image, run};
use std::fs;
use std::path::Path;

fn digest(path: &Path) -> String {
    let said = run("sha256sum", &[path.to_str().unwrap()]);
    said.split(' ').next().unwrap().to_owned()
}

/// Everything in a FAT, as mtools reads it: names, attributes and times, and contents.
fn contents(klon: &Klon, volume: &str) -> (String, Vec<(String, Vec<u8>)>) {
    let listed = run("mdir", &["-/", "-a", "-i", &klon.text(volume), "::/"]);
    // It ends with what is free.
    let listed = listed.lines().filter(|line| !line.contains("bytes free"));
    let listed: Vec<&str> = listed.filter(|line| !line.contains("Volume")).collect();
    let files = ["a long name.txt", "big", "deep/er/file", "last"];
    let read = |name: &&str| {
        let to = klon.path("read");
        let _ = fs::remove_file(&to);
        let from = format!("::/{name}");
        run(
            "mcopy",
            &["-n", "-i", &klon.text(volume), &from, to.to_str().unwrap()],
        );
        ((*name).to_owned(), fs::read(&to).unwrap())
    };
    (listed.join("\n"), files.iter().map(read).collect())
}

/// A FAT with files at its start and at its end.
fn source(klon: &Klon, size_mib: u64, options: &[&str]) {
    image::sparse(&klon.path("source"), size_mib * MIB);
    let file = klon.text("source");
    let make = ["-i", "1234ABCD", "-n", "KLON", &file];
    run("mkfs.fat", &[options, &make].concat());
    let put = |name: &str, bytes: &[u8]| {
        fs::write(klon.path("piece"), bytes).unwrap();
        run(
            "mcopy",
            &[
                "-n",
                "-i",
                &file,
                &klon.text("piece"),
                &format!("::/{name}"),
            ],
        );
    };
    put("a long name.txt", b"text");
    let filler = usize::try_from(size_mib * MIB * 6 / 10).unwrap();
    put("filler", &noise(1, filler));
    run("mmd", &["-i", &file, "::/deep", "::/deep/er"]);
    put("deep/er/file", &noise(2, 70_000));
    put("big", &noise(3, 2_000_000));
    put("last", &noise(4, 300_000));
    run("mattrib", &["+h", "+s", "-i", &file, "::/last"]);
    run("mdel", &["-i", &file, "::/filler"]);
}

fn shrinks(options: &[&str], size_mib: u64, check_kind: &str) {
    let klon = Klon::new();
    source(&klon, size_mib, options);
    let (before, was) = (digest(&klon.path("source")), contents(&klon, "source"));
    let said = klon.json(&["map", "source", "--minimum"]);
    let minimum = &said["minimum"][0];
    assert_eq!(minimum["shrink_by"], "klon", "{said:#}");
    let least = number(minimum, "shrink_bytes");
    for (target, size_bytes) in [
        ("least", (least + least / 20).next_multiple_of(512)),
        ("half", (size_mib * MIB / 2).max(least)),
    ] {
        image::sparse(&klon.path(target), size_bytes);
        klon.refused(
            &["clone", "source", target],
            &["is too small", "lays it out anew", "--shrink"],
        );
        let outcome = klon.ok(&["clone", "source", target, "--shrink"]);
        outcome.says(&["is laid out anew in", "nothing is written to it"]);
        assert_eq!(fs::metadata(klon.path(target)).unwrap().len(), size_bytes);
        run("fsck.fat", &["-n", &klon.text(target)]);
        assert_eq!(contents(&klon, target), was);
        klon.ok(&["verify", target]);
        let seen = run("blkid", &["-p", &klon.text(target)]);
        assert!(
            seen.contains("1234-ABCD") && seen.contains("KLON"),
            "{seen}"
        );
        assert!(seen.contains(check_kind), "{seen}");
        // A second time little differs.
        let again = klon.json(&["clone", "source", target, "--shrink"]);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
    }
    image::sparse(&klon.path("small"), least / 2);
    let words = ["can't be laid out anew", "Nothing was written"];
    klon.refused(&["clone", "source", "small", "--shrink"], &words);
    assert_eq!(
        digest(&klon.path("source")),
        before,
        "the source was written to"
    );
}

#[test]
fn a_fat12_gets_smaller_and_keeps_all_of_its_files() {
    shrinks(&["-F", "12", "-s", "8"], 15, "FAT12");
}

#[test]
fn a_fat16_gets_smaller_and_keeps_all_of_its_files() {
    shrinks(&["-F", "16", "-s", "2"], 40, "FAT16");
}

#[test]
fn a_fat32_gets_smaller_and_keeps_all_of_its_files() {
    shrinks(&["-F", "32", "-s", "1"], 100, "FAT32");
}

#[test]
fn an_exfat_is_refused_by_name() {
    let klon = Klon::new();
    image::sparse(&klon.path("source"), 64 * MIB);
    run("mkfs.exfat", &[&klon.text("source")]);
    image::sparse(&klon.path("small"), 32 * MIB);
    let words = ["its exfat ends at", "klon can't shrink it"];
    klon.refused(&["clone", "source", "small"], &words);
    let words = ["can't be shrunk", "exfat", "Nothing was written"];
    klon.refused(&["clone", "source", "small", "--shrink"], &words[..1]);
    klon.refused(&["clone", "source", "small", "--shrink"], &words[2..]);
}

#[test]
fn clusters_of_no_file_are_refused() {
    let klon = Klon::new();
    source(&klon, 40, &["-F", "16", "-s", "2"]);
    // An entry of the FAT, in both copies, says that a cluster is the end of a chain.
    let layout = run("fsck.fat", &["-n", "-v", &klon.text("source")]);
    let value = |words: &str| -> u64 {
        let line = layout.lines().find(|line| line.contains(words)).unwrap();
        let line = line.trim_start_matches("First FAT starts at byte");
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let starts = value("First FAT starts");
    let fat_bytes = value("bytes per FAT");
    for start in [starts, starts + fat_bytes] {
        for at in [30_000, 30_001] {
            let at = start + at;
            use std::os::unix::fs::FileExt;
            let file = fs::OpenOptions::new()
                .write(true)
                .open(klon.path("source"))
                .unwrap();
            file.write_all_at(&[0xff], at).unwrap();
        }
    }
    image::sparse(&klon.path("small"), 20 * MIB);
    let words = ["belong to no file", "fsck.fat", "Nothing was written"];
    klon.refused(&["clone", "source", "small", "--shrink"], &words);
}
