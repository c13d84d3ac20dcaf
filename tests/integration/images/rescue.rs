//! Images of sources with bad sectors.

use crate::support::image::ext4;
use crate::support::klon::number;
use crate::support::{BadDisk, Klon, lacks_root, run};
use klon_partition::{Extent, ExtentMap};
use std::fs;

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
    klon.run(&["image", disk.text(), "plain.klon"]).expect(4);
    let run = klon.run(&["image", disk.text(), "i.klon", "--rescue", "--json"]);
    let lines = run.expect(1).lines();
    let rescued = lines
        .iter()
        .find(|line| line["event"] == "rescued")
        .unwrap();
    assert_eq!(number(rescued, "bad_bytes"), 1024);
    assert_eq!(rescued["files"][0]["path"], "/large");
    assert_eq!(lines.last().unwrap()["snapshot"], 1);
    for left in ["i.klon.rescue", "i.klon.map"] {
        assert!(!klon.path(left).exists(), "{left}");
    }
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
    klon.ok(&["restore", "i.klon", "target"])
        .says(&["1024 bytes could not be read"]);
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
}
