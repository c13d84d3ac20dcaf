//! The table of mutants is complete: each part of the rule stands there with a test that breaks it.

use klon_imaging::change::proven::Guard;

const SOURCES: [&str; 3] = [
    include_str!("../mutants.rs"),
    include_str!("btrfs.rs"),
    include_str!("../ntfs/limits.rs"),
];
const RULE: &str = include_str!("../../../../imaging/src/change/proven/rule.rs");

/// The rows of the table: the part, what notices that it is missing, and the tests.
fn rows() -> Vec<(String, String, Vec<String>)> {
    let lines = SOURCES[0]
        .lines()
        .map_while(|line| line.strip_prefix("//!"));
    let rows = lines.filter_map(|line| {
        let cells: Vec<&str> = line.trim().strip_prefix("| `")?.split('|').collect();
        let [part, _, change, tests, ..] = cells[..] else {
            panic!("{line} has too few cells");
        };
        let tests = tests
            .split(',')
            .map(|test| test.trim().trim_matches('`').to_owned());
        Some((
            part.trim().trim_matches('`').to_owned(),
            change.trim().to_owned(),
            tests.collect(),
        ))
    });
    rows.collect()
}

/// The text of a test.
fn body(name: &str) -> &'static str {
    let start = format!("#[test]\nfn {name}()");
    let found = SOURCES.iter().find_map(|source| source.split_once(&start));
    let (_, rest) = found.unwrap_or_else(|| panic!("there is no test {name}"));
    rest.split_once("\n}\n").unwrap().0
}

#[test]
fn each_part_of_the_rule_has_a_test_that_breaks_it() {
    let rows = rows();
    for guard in Guard::ALL {
        let name = format!("{guard:?}");
        let mut of_guard = rows.iter().filter(|row| row.0 == name);
        let (_, change, tests) = of_guard
            .next()
            .unwrap_or_else(|| panic!("no row of {name}"));
        assert!(of_guard.next().is_none(), "{name} has two rows");
        assert!(!change.is_empty() && !tests.is_empty(), "{name}");
        for test in tests {
            let breaks = format!("Rule::without(Guard::{name})");
            assert!(body(test).contains(&breaks), "{test} does not break {name}");
        }
    }
    assert_eq!(rows.len(), Guard::ALL.len(), "rows of no part");
}

#[test]
fn all_parts_of_the_rule_are_known() {
    let (_, rest) = RULE.split_once("pub enum Guard {\n").unwrap();
    let (variants, _) = rest.split_once("\n}\n").unwrap();
    let variants = variants.lines().map(str::trim);
    let variants: Vec<&str> = variants
        .filter(|line| !line.starts_with("///"))
        .map(|line| line.trim_end_matches(','))
        .collect();
    let all: Vec<String> = Guard::ALL
        .iter()
        .map(|guard| format!("{guard:?}"))
        .collect();
    assert_eq!(variants, all);
}
