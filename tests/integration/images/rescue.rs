//! Images of sources with bad sectors.

use crate::support::image::ext4;
use crate::support::klon::number;
use crate::support::{BadDisk, Klon, lacks_root, run};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::os::unix::fs::symlink;

/// Where a file's first block lies in an ext4 volume.
fn first_block(volume: &str, path: &str) -> u64 {
    let text = run("debugfs", &["-R", &format!("bmap {path} 3"), volume]);
    text.trim().parse::<u64>().unwrap() * 4096
}

#[test]
fn what_can_be_read_is_imaged_and_the_rest_is_told() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 10);
    let at = first_block(&klon.text("source"), "/large");
    let bad: ExtentMap = Extent::new(at, 1024).into_iter().collect();
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let place = format!("has a bad sector at byte {at}");
    klon.run(&["image", disk.text(), "plain.klon"])
        .expect(4)
        .says(&[&place, "klon image --rescue copies"]);
    let run = klon.run(&["image", disk.text(), "i.klon", "--rescue", "--json"]);
    let lines = run.expect(1).lines();
    let rescued = lines
        .iter()
        .find(|line| line["event"] == "rescued")
        .unwrap();
    assert_eq!(number(rescued, "bad_bytes"), 1024);
    assert_eq!(rescued["files"][0]["path"], "/large");
    assert_eq!(lines.last().unwrap()["snapshot"], 1);
    assert_eq!(klon.names("i.klon"), ["i.klon"]);
    assert!(rescued["map"].is_null(), "{rescued:#}");
    let info = klon.json(&["info", "i.klon"]);
    assert_eq!(info["bad"], serde_json::json!([[at, 1024]]));
    let verified = klon.run(&["verify", "i.klon", "--json"]).expect(1).last();
    assert_eq!(
        (&verified["is_whole"], &verified["bad"][0]["bad_bytes"]),
        (&true.into(), &1024.into())
    );
    let against = klon
        .run(&["verify", "i.klon", "source", "--json"])
        .expect(1)
        .last();
    assert_eq!(
        (&against["is_equal"], &against["bad_bytes"]),
        (&true.into(), &1024.into())
    );
    // Whole, with other content where the image has nothing.
    let told = klon.run(&["verify", "i.klon", "source"]).expect(1);
    told.shows(&[
        "i.klon@1: equal to source",
        "1 KiB in 1 extent could not be read from the source when it was imaged (now zeroes), so klon can't \
         compare it",
        "bad: /large",
    ]);
    // The side that is named last may be the one that lacks something.
    klon.ok(&["image", "source", "whole.klon"]);
    let arguments = ["verify", "whole.klon", "i.klon", "--json"];
    let against = klon.run(&arguments).expect(1).last();
    assert_eq!(
        (&against["is_equal"], &against["bad"]),
        (&true.into(), &serde_json::json!([[at, 1024]]))
    );
    let restored = klon.run(&["restore", "i.klon", "target"]).expect(1);
    restored.says(&["1 KiB could not be read when snapshot 1 was taken"]);
    restored.shows(&["except 1 KiB in 1 place that i.klon lacks, too"]);
    let told = klon.run(&["verify", "i.klon", "target"]).expect(1);
    told.shows(&["equal to target", "1 KiB in 1 extent", "can't compare it"]);
    let listed = klon.ok(&["list", "i.klon"]);
    listed.shows(&["1 KiB could not be read"]);
    let mut expected = fs::read(klon.path("source")).unwrap();
    expected[at as usize..at as usize + 1024].fill(0);
    fs::write(klon.path("expected"), expected).unwrap();
    klon.ok(&["verify", "target", "expected"]);
    // What somebody else left there is not overwritten.
    fs::write(klon.path("i.klon.rescue"), "precious").unwrap();
    klon.refused(
        &["image", disk.text(), "i.klon", "--rescue"],
        &["i.klon.rescue exists"],
    );
    assert_eq!(fs::read(klon.path("i.klon.rescue")).unwrap(), b"precious");
}

#[test]
fn a_rescue_takes_no_name_that_is_somebody_elses() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    let at = first_block(&klon.text("source"), "/large");
    let bad: ExtentMap = Extent::new(at, 512).into_iter().collect();
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let rescue = ["image", disk.text(), "i.klon", "--rescue"];
    // A map that claims nothing, as anyone could write it.
    let map = "0x00000000     ?               1\n";
    let other = vec![7; fs::metadata(klon.path("source")).unwrap().len() as usize];
    for is_link in [true, false] {
        fs::write(klon.path("other"), &other).unwrap();
        fs::write(klon.path("i.klon.map"), map).unwrap();
        match is_link {
            true => symlink("other", klon.path("i.klon.rescue")).unwrap(),
            false => fs::rename(klon.path("other"), klon.path("i.klon.rescue")).unwrap(),
        }
        klon.refused(&rescue, &["i.klon.rescue exists", "Remove it"]);
        assert!(fs::read(klon.path("i.klon.rescue")).unwrap() == other);
        fs::remove_file(klon.path("i.klon.rescue")).unwrap();
    }
    for name in ["i.klon.map.domain", "i.klon.map.first"] {
        fs::write(klon.path(name), "precious").unwrap();
        klon.refused(&rescue, &[name, "klon has not written it"]);
        assert_eq!(fs::read(klon.path(name)).unwrap(), b"precious");
        fs::remove_file(klon.path(name)).unwrap();
    }
    klon.run(&rescue).expect(1);
    assert_eq!(klon.names("i.klon"), ["i.klon"]);
}
