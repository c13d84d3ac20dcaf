//! Every key of every command's JSON is named in JSON.md.

use crate::support::image::{boot_disk, ext4, golden, sparse};
use crate::support::{Klon, MIB};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// All words between backticks.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("JSON.md");
    let text = fs::read_to_string(path).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The keys of a value and of all in it, with where they were seen. Bytes of a text that is no UTF-8 stand
/// under the key of the text.
fn collect(value: &Value, line: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let twin = key.strip_suffix("_bytes");
                let is_twin = twin.is_some_and(|twin| object.contains_key(twin));
                if !(is_twin && value.is_string()) {
                    found.entry(key.clone()).or_insert_with(|| line.to_owned());
                }
                collect(value, line, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, line, found)),
        _ => {}
    }
}

fn scribble(path: &Path, offset_bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xa5; 4096], offset_bytes).unwrap();
}

const RUNS: &[&str] = &[
    "map volume",
    "map disk",
    "map volume --minimum",
    "clone volume wide",
    "grow wide --dry-run",
    "grow wide --yes",
    "map lvm",
    "devices",
    "devices disk volume lvm",
    "plan --drive drive Boot=disk Data=volume -o plan",
    "plan --drive small --table mbr Boot=disk",
    "prepare plan --dry-run",
    "prepare plan --yes --confirm drive",
    "clone plan --dry-run",
    "clone plan",
    "clone plan",
    "verify plan",
    "verify plan --against-source",
    "finish plan",
    "devices drive",
    "clone disk copy --verify",
    "clone disk larger",
    "verify larger disk",
    "clone volume edges --outside none",
    "verify edges",
    "clone volume rescued --rescue",
    "clone volume again",
    "clone volume again --dry-run --explain",
    "clone volume again --explain --assume-clean-since-record --audit 100%",
    "image disk i.klon --name N --note T",
    "image disk i.klon",
    "image disk i.klon --outside none",
    "image disk i.klon --explain --assume-clean-since-record --audit 100%",
    "list i.klon",
    "info i.klon@1",
    "info i.klon",
    "verify i.klon",
    "verify i.klon disk",
    "diff i.klon@1 i.klon@2",
    "diff i.klon disk",
    "restore i.klon@1 restored",
    "restore i.klon@1 restored --dry-run",
    "export i.klon@1 out",
    "extract i.klon@1:3 part",
    "import volume v.klon",
    "prune i.klon --keep-last 1 --dry-run",
    "prune i.klon@2 --yes",
    "prune i.klon --compact --yes",
    "ledger status",
];

#[test]
fn every_key_is_documented() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 32, 4);
    boot_disk(&klon.path("disk"), 512);
    // In no partition, so that there is something to leave out.
    scribble(&klon.path("disk"), 199 * MIB);
    golden("lvm2", &klon.path("lvm"));
    sparse(&klon.path("drive"), 400 * MIB);
    sparse(&klon.path("small"), 300 * MIB);
    sparse(&klon.path("larger"), 230 * MIB);
    sparse(&klon.path("wide"), 64 * MIB);
    let mut found = BTreeMap::new();
    let mut run = |line: &str, code| {
        let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        let lines = klon.run(&words).expect(code).lines();
        assert!(!lines.is_empty() || line == "devices", "{line}");
        lines
            .iter()
            .for_each(|value| collect(value, line, &mut found));
    };
    RUNS.iter().for_each(|line| run(line, 0));
    // What differs, and what is damaged.
    run("verify wide", 1);
    run("check-boot disk", 1);
    let disk = klon.json(&["devices", "disk"]);
    let root_bytes = disk["volumes"][1]["extent"][0].as_u64().unwrap();
    scribble(&klon.path("restored"), root_bytes + 4096);
    run("verify i.klon restored", 1);
    run("diff i.klon restored", 1);
    scribble(&klon.path("v.klon"), MIB);
    run("verify v.klon", 1);
    run("restore v.klon damaged --skip-damaged", 1);
    run("export v.klon damaged.raw --skip-damaged", 5);
    let documented = documented();
    let missing: Vec<_> = found
        .iter()
        .filter(|(key, _)| !documented.contains(*key))
        .map(|(key, line)| format!("{key} (klon {line} --json)"))
        .collect();
    assert!(found.len() > 100, "{found:?}");
    assert!(missing.is_empty(), "JSON.md does not name {missing:#?}");
}

/// The fields of structs that only other machines show: mounts, swap, what stands on a disk.
#[test]
fn keys_that_only_other_machines_show_are_documented() {
    let documented = documented();
    let mut missing = Vec::new();
    for name in ["uses", "mounts", "disk"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("partition/src/system/{name}.rs"));
        let text = fs::read_to_string(path).unwrap();
        let bodies: Vec<&str> = text.split("Serialize)]\n").skip(1).collect();
        assert!(!bodies.is_empty(), "{name}");
        for body in bodies {
            let body = body.split("\n}\n").next().unwrap();
            let unknown = fields(body).filter(|key| !documented.contains(*key));
            missing.extend(unknown.map(str::to_owned));
        }
    }
    assert!(missing.is_empty(), "JSON.md does not name {missing:?}");
}

/// The names of fields in the body of a struct or an enum.
fn fields(body: &str) -> impl Iterator<Item = &str> {
    body.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let (name, _) = line.split_once(": ")?;
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        name.chars().all(is_name).then_some(name)
    })
}
