//! What a device says of itself beside its bytes: where it is zero, and digests.

use super::Source;
use super::text::split;

/// The answers that have a default.
const ANSWERS: [&str; 2] = ["data", "sha256"];

/// Named as `path: Type lacks answer`.
pub(super) fn silent(sources: &[Source]) -> Vec<(String, String)> {
    let mut offenders = Vec::new();
    for source in sources.iter().filter(|source| source.is_production()) {
        let (code, _) = split(source.production_text());
        for (at, _) in code.match_indices("ReadAt for ") {
            let line_start = code[..at].rfind('\n').map_or(0, |before| before + 1);
            if !code[line_start..at].trim_start().starts_with("impl") {
                continue;
            }
            let rest = &code[at + "ReadAt for ".len()..];
            let end = rest.find(|character: char| "<{ ".contains(character));
            let name = &rest[..end.unwrap_or(rest.len())];
            let body = block(rest);
            for answer in ANSWERS {
                if !body.contains(&format!("fn {answer}(")) {
                    let text = format!("{}: {name} lacks {answer}", source.path);
                    offenders.push((text.clone(), text));
                }
            }
        }
    }
    offenders
}

/// What stands between the first brace and the one that closes it.
fn block(code: &str) -> &str {
    let start = code.find('{').unwrap_or(code.len());
    let mut depth = 0_usize;
    for (at, character) in code[start..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return &code[start..start + at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    &code[start..]
}
