//! The house rules that a machine can check. Each test names the offender and the rule's reason;
//! what may stand for now is listed in [`allowed`], and that list may only shrink.

mod allowed;
mod circles;
mod devices;
mod floors;
mod lengths;
mod named;
mod options;
mod planted;
mod text;

use std::path::{Path, PathBuf};

/// A source file of the workspace.
pub(super) struct Source {
    /// From the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    /// Whether it is code that people run: no tests, no fuzz targets.
    fn is_production(&self) -> bool {
        let is_under = |part: &str| self.path.starts_with(part);
        let has_source = ["src/", "imaging/src/", "partition/src/"];
        has_source.into_iter().any(is_under)
            && !self.path.ends_with("/tests.rs")
            && !self.path.contains("/tests/")
    }

    /// The text before the unit tests that stand in the same file.
    fn production_text(&self) -> &str {
        let tests = self.text.find("\n#[cfg(test)]\nmod tests {");
        self.text.get(..tests.unwrap_or(self.text.len())).unwrap()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of the workspace, by path.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "imaging/src", "partition/src", "tests"] {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        path: path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with the offenders that are not allowed, and with allowances that nothing needs.
fn assert_only_allowed(offenders: &[(String, String)], allowed: &[&str], reason: &str) {
    let is_allowed = |offender: &str| allowed.contains(&offender);
    let found: Vec<&str> = offenders
        .iter()
        .filter(|(offender, _)| !is_allowed(offender))
        .map(|(_, text)| text.as_str())
        .collect();
    assert!(found.is_empty(), "{reason}\n{}", found.join("\n"));
    let is_needed = |allowed: &&&str| offenders.iter().any(|(offender, _)| offender == **allowed);
    let idle: Vec<_> = allowed
        .iter()
        .filter(|allowed| !is_needed(allowed))
        .collect();
    assert!(
        idle.is_empty(),
        "these allowances are not needed any more; take them from tidy/allowed.rs: {idle:?}"
    );
}

#[test]
fn allowances_only_shrink() {
    let count: usize = allowed::ALL.iter().map(|list| list.len()).sum();
    let max = allowed::ALLOWED_MAX;
    assert!(
        count <= max,
        "{count} allowances stand in tidy/allowed.rs, and {max} may: keep the rule instead"
    );
    assert!(
        count >= max,
        "{count} allowances are left in tidy/allowed.rs: lower ALLOWED_MAX to that"
    );
}

#[test]
fn every_file_says_in_its_first_line_what_it_is() {
    let offenders = lengths::without_first_line(&sources());
    let reason =
        "A file's first line says what it is (//! …), so that nobody has to read on to know:";
    assert_only_allowed(&offenders, &[], reason);
}

#[test]
fn files_are_short() {
    let offenders = lengths::long_files(&sources());
    let reason = "A file is one idea; over 430 lines it is two. Split it:";
    assert_only_allowed(&offenders, allowed::LONG_FILES, reason);
}

#[test]
fn functions_are_short() {
    let offenders = lengths::long_functions(&sources());
    let reason = "A function over 70 lines can't be seen at once. Split it:";
    assert_only_allowed(&offenders, allowed::LONG_FUNCTIONS, reason);
}

#[test]
fn modules_import_in_no_circle() {
    let sources = sources();
    let offenders = circles::circles(&sources, allowed::ARROWS);
    let reason = "Files that import each other can't be read one after the other. Move what both \
                  need below them:";
    assert_only_allowed(&offenders, &[], reason);
    let is_idle = |arrow: &&&str| {
        let others = allowed::ARROWS.iter().filter(|other| other != arrow);
        let others: Vec<&str> = others.copied().collect();
        circles::circles(&sources, &others).is_empty()
    };
    let idle: Vec<_> = allowed::ARROWS.iter().filter(is_idle).collect();
    assert!(
        idle.is_empty(),
        "these close no circle any more; take them from tidy/allowed.rs: {idle:?}"
    );
}

#[test]
fn rooms_import_no_room_above_them() {
    let offenders = floors::upward(&sources(), floors::HOUSES);
    let reason = "A room stands on those below it and knows none above, so that it can be read and \
                  tested without them. Move what both need down, or hand it over:";
    assert_only_allowed(&offenders, allowed::UPWARD, reason);
}

#[test]
fn libraries_know_no_options_of_the_program() {
    let offenders = options::in_libraries(&sources(), &options::of_klon());
    let reason = "A library doesn't know the program's options. Put the advice into src/error.rs:";
    assert_only_allowed(&offenders, allowed::OPTIONS, reason);
}

#[test]
fn decorators_of_devices_hand_on_what_is_known_beneath() {
    let offenders = devices::silent(&sources());
    let reason = "A decorator that leaves an answer of ReadAt to the default loses what the device \
                  beneath knows: holes, digests. Hand it on, or say in tidy/allowed.rs why not:";
    assert_only_allowed(&offenders, allowed::SILENT, reason);
}

#[test]
fn tests_that_safety_names_exist() {
    let safety = std::fs::read_to_string(root().join("SAFETY.md")).unwrap();
    let offenders = named::missing_tests(&safety, &sources());
    let reason = "SAFETY.md names a test for each promise; these are no tests:";
    assert_only_allowed(&offenders, &[], reason);
}

#[test]
fn images_are_in_their_index() {
    let index = std::fs::read_to_string(root().join("images/INDEX.md")).unwrap();
    let files = std::fs::read_dir(root().join("images")).unwrap();
    let files: Vec<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let offenders = named::missing_images(&index, &files);
    let reason = "images/INDEX.md says how each golden image was made; these are not in it:";
    assert_only_allowed(&offenders, &[], reason);
}
