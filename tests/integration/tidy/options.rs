//! Options of the program in texts of the libraries.

use super::Source;
use super::text::split;
use std::collections::BTreeSet;
use std::process::Command;

/// All long options of klon, by what its completions know.
pub(super) fn of_klon() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_klon"))
        .args(["completions", "bash"])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let options: BTreeSet<String> = words(&text).collect();
    assert!(options.len() > 20, "{options:?}");
    options
}

/// What begins with two dashes and a letter.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices("--").filter_map(|(at, _)| {
        let is_start =
            !text[..at].ends_with(|before: char| before == '-' || before.is_alphanumeric());
        let name: String = text[at + 2..]
            .chars()
            .take_while(|&character| character.is_ascii_lowercase() || character == '-')
            .collect();
        (is_start && !name.is_empty()).then(|| format!("--{name}"))
    })
}

/// Named as `path: option`.
pub(super) fn in_libraries(
    sources: &[Source],
    options: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let is_library = |source: &&Source| source.is_production() && !source.path.starts_with("src/");
    let mut offenders = Vec::new();
    for source in sources.iter().filter(is_library) {
        let (_, literals) = split(source.production_text());
        for literal in literals {
            // Arguments for other programs stand alone.
            if literal.text.starts_with("--") && !literal.text.contains(' ') {
                continue;
            }
            for option in words(&literal.text).filter(|option| options.contains(option)) {
                let text = format!(
                    "{}:{}: {option} in {:?}",
                    source.path, literal.line, literal.text
                );
                offenders.push((format!("{}: {option}", source.path), text));
            }
        }
    }
    offenders
}
