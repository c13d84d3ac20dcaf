//! Tests and images that documents name.

use super::Source;

/// The tests that `safety` names in code marks, as `loops::drift` or `imaging: stage::group::tests`,
/// and that are no module or function of the tests.
pub(super) fn missing_tests(safety: &str, sources: &[Source]) -> Vec<(String, String)> {
    // Of the tables, only one has tests.
    let table = safety.split("\n\n").find(|part| part.contains("| tests |"));
    let rows = table
        .unwrap_or(safety)
        .lines()
        .filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end_matches('|').trim_end().rsplit('|').next());
    let mut missing = Vec::new();
    for name in last.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        if !exists(name, sources) {
            missing.push((name.to_owned(), name.to_owned()));
        }
    }
    missing
}

fn exists(name: &str, sources: &[Source]) -> bool {
    let (folder, path) = match name.split_once(": ") {
        Some(("imaging", path)) => ("imaging/src/", path),
        Some(("partition", path)) => ("partition/src/", path),
        Some(("klon", path)) => ("src/", path),
        Some(_) => return false,
        None => ("tests/integration/", name),
    };
    let path = path.trim_end_matches("::*").replace("::", "/");
    let has = |module: &str, text: Option<&str>| {
        sources.iter().any(|source| {
            let is_file = source.path == format!("{folder}{module}.rs");
            is_file && text.is_none_or(|text| source.text.contains(text))
        })
    };
    let (module, function) = path.rsplit_once('/').unwrap_or(("", &path));
    let above = module.rsplit_once('/').map_or(module, |(above, _)| above);
    has(&path, None)
        || has(module, Some(&format!("fn {function}(")))
        || has(module, Some(&format!("mod {function} {{")))
        // A function of the tests that stand at the end of the file that they test.
        || has(above, Some(&format!("fn {function}(")))
}

/// The images of `files` that `index` does not name.
pub(super) fn missing_images(index: &str, files: &[String]) -> Vec<(String, String)> {
    let is_separator = |character: char| character.is_whitespace() || "|,:`()".contains(character);
    let patterns: Vec<&str> = index
        .split(is_separator)
        .filter(|word| !word.is_empty())
        .collect();
    let is_missing = |file: &&String| {
        let stem = file.split('.').next().unwrap_or(file);
        *file != "INDEX.md" && !patterns.iter().any(|pattern| matches(pattern, stem))
    };
    let offender = |file: &String| (file.clone(), file.clone());
    files.iter().filter(is_missing).map(offender).collect()
}

/// Whether a pattern, in which a star stands for anything, is that name or that with its ending.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.split('.').next().unwrap_or(pattern);
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut ends = true;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        ends = part.is_empty();
    }
    rest.is_empty() || pattern.contains('*') && ends
}
