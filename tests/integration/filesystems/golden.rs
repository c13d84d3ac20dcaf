//! Used maps of the golden images, whose answers come from the filesystems' own tools.

use klon_partition::ExtentMap;
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{Basis, Usage, usage};
use serde::Deserialize;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the tools say of an image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    kind: String,
    label: String,
    uuid: String,
    used: ExtentMap,
    #[serde(default)]
    hazard: Option<String>,
}

#[test]
fn golden_images_are_read_as_their_own_tools_read_them() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let answers: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".used.json"))
        .collect();
    assert!(!answers.is_empty());
    for path in answers {
        let name = path.to_str().unwrap().trim_end_matches(".used.json");
        let answers: Answers = serde_json::from_reader(File::open(&path).unwrap()).unwrap();
        let image = zstd::decode_all(File::open(format!("{name}.img.zst")).unwrap()).unwrap();
        let usage = usage(&MemoryDevice::new(image, 512)).unwrap();
        compare(name, &usage, &answers);
    }
}

fn compare(name: &str, usage: &Usage, answers: &Answers) {
    let summary = usage.summary.as_ref().expect(name);
    assert_eq!(summary.kind.to_string(), answers.kind, "{name}");
    assert_eq!(
        summary.label.as_deref().unwrap_or_default(),
        answers.label,
        "{name}"
    );
    assert_eq!(
        summary.uuid.as_deref().unwrap_or_default(),
        answers.uuid,
        "{name}"
    );
    assert_eq!(usage.used(), answers.used, "{name}");
    assert_eq!(
        usage.basis == Basis::Map,
        answers.hazard.is_none(),
        "{name}"
    );
    let hazards: Vec<String> = summary
        .hazards
        .iter()
        .map(|hazard| {
            serde_json::to_value(hazard).unwrap()["hazard"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(hazards.first(), answers.hazard.as_ref(), "{name}");
}
