//! An XFS on a target that is smaller than it: its files on a new one. The source stays as it is.

use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, MIB, Mount, image, lacks_root, run};
use std::fs;
use std::path::Path;

fn digest(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
}

fn mounted(klon: &Klon, name: &str) -> Mount {
    Mount::new(klon.path(name), &klon.path("mnt"), "loop,ro,nouuid")
}

/// Projects, flags and features, as the tools for XFS say.
fn facts(klon: &Klon, name: &str) -> String {
    let mount = mounted(klon, name);
    let root = mount.path().to_str().unwrap().to_owned();
    // Each by its name: a pipe would wait to be opened.
    let named = ["fixed", "project", "shared"].map(|name| format!("{root}/{name}"));
    let flags = named.map(|path| run("xfs_io", &["-r", "-c", "lsattr", &path]));
    let flags = flags.map(|line| line.split(' ').next().unwrap().to_owned());
    let project = run("xfs_io", &["-r", "-c", "stat", &format!("{root}/project")]);
    let project = project
        .lines()
        .find(|line| line.contains("projid"))
        .unwrap();
    let info = run("xfs_info", &[&root]);
    let features = [
        "crc", "finobt", "sparse", "rmapbt", "reflink", "bigtime", "isize",
    ];
    let words = info.split([' ', ',', '\n']);
    let words = words.filter(|word| {
        features
            .iter()
            .any(|it| word.starts_with(&format!("{it}=")))
    });
    let words: Vec<&str> = words.collect();
    let holes = run("du", &["-k", &format!("{root}/hole")]);
    let named = run("xfs_admin", &["-lu", &klon.text(name)]);
    format!("{flags:?}\n{project}\n{words:?}\n{holes}\n{named}")
}

#[test]
fn the_files_of_an_xfs_go_to_a_smaller_one() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::sparse(&klon.path("source"), 700 * MIB);
    let features = ["-q", "-m", "rmapbt=1", "-i", "size=1024", "-L", "a label"];
    run(
        "mkfs.xfs",
        &[&features[..], &[&klon.text("source")]].concat(),
    );
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    fill(mount.path(), 3, 20);
    add_specials(mount.path());
    let at = |name: &str| mount.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("project")).unwrap();
    run(
        "xfs_io",
        &["-c", "chproj 42", "-c", "chattr +P", &at("project")],
    );
    fs::write(at("project/file"), "of a project").unwrap();
    let hole = fs::File::create(at("hole")).unwrap();
    hole.set_len(64 * MIB).unwrap();
    use std::os::unix::fs::FileExt;
    hole.write_all_at(&noise(7, 8192), 30 * MIB).unwrap();
    fs::write(at("fixed"), "not to be changed").unwrap();
    run("xfs_io", &["-c", "chattr +i", &at("fixed")]);
    fs::write(at("shared"), noise(8, 4 << 20)).unwrap();
    run(
        "cp",
        &["--reflink=always", &at("shared"), &at("shared too")],
    );
    drop((hole, mount));
    let before = digest(&klon.path("source"));
    let whole = {
        let mount = mounted(&klon, "source");
        Tree::read(mount.path()).without_numbers()
    };
    whole.assert_rich();
    let own = facts(&klon, "source");
    image::sparse(&klon.path("half"), 350 * MIB);
    klon.refused(
        &["clone", "source", "half"],
        &["is too small", "--shrink", "copies its files"],
    );
    let said = [
        "were copied to a new one",
        "a copy of files and not of blocks",
    ];
    klon.ok(&["clone", "source", "half", "--shrink"])
        .says(&said);
    run("xfs_repair", &["-n", &klon.text("half")]);
    {
        let mount = mounted(&klon, "half");
        Tree::read(mount.path())
            .without_numbers()
            .assert_same(&whole);
    }
    assert_eq!(facts(&klon, "half"), own);
    klon.ok(&["verify", "half"]);
    klon.ok(&[
        "clone",
        "source",
        "half",
        "--shrink",
        "--yes",
        "--confirm",
        &klon.text("half"),
    ]);
    run("xfs_repair", &["-n", &klon.text("half")]);
    // mkfs.xfs makes none of this size, and the files of the other have no room.
    image::sparse(&klon.path("small"), 200 * MIB);
    let words = ["can't be copied", "Nothing was written"];
    klon.refused(&["clone", "source", "small", "--shrink"], &words);
    assert!(
        digest(&klon.path("source")) == before,
        "the source was written to"
    );
    assert_nothing_stays();
}
