//! How long files and functions are, and how files begin.

use super::Source;
use super::text::split;

const FILE_LINES_MAX: usize = 430;
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn without_first_line(sources: &[Source]) -> Vec<(String, String)> {
    // A document of its own may say it.
    let begins = ["//! ", "#![doc = include_str!("];
    let lacks = |source: &&Source| !begins.iter().any(|begin| source.text.starts_with(begin));
    let offender = |source: &Source| (source.path.clone(), source.path.clone());
    sources.iter().filter(lacks).map(offender).collect()
}

pub(super) fn long_files(sources: &[Source]) -> Vec<(String, String)> {
    let offender = |source: &Source| {
        let lines = source.production_text().lines().count();
        let text = format!("{}: {lines} lines", source.path);
        (lines > FILE_LINES_MAX).then(|| (source.path.clone(), text))
    };
    sources.iter().filter_map(offender).collect()
}

/// Named as `path::function`.
pub(super) fn long_functions(sources: &[Source]) -> Vec<(String, String)> {
    let mut offenders = Vec::new();
    for source in sources.iter().filter(|source| source.is_production()) {
        let (code, _) = split(source.production_text());
        for (name, line, lines) in functions(&code) {
            if lines > FUNCTION_LINES_MAX {
                let text = format!("{}:{line}: {name} has {lines} lines", source.path);
                offenders.push((format!("{}::{name}", source.path), text));
            }
        }
    }
    offenders
}

/// Name, first line and number of lines of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && is_name(bytes[at - 1]) {
            continue;
        }
        let name: String = code[at + 3..]
            .chars()
            .take_while(|&character| character.is_alphanumeric() || character == '_')
            .collect();
        let body = body(&code[at..]).filter(|_| !name.is_empty());
        let Some(len) = body else { continue };
        let line = code[..at].matches('\n').count() + 1;
        let lines = code[at..at + len].matches('\n').count() + 1;
        found.push((name, line, lines));
    }
    found
}

/// How long a function is, from its `fn` to the brace that ends it; none for one without a body.
fn body(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.checked_sub(1)?,
            b';' if braces == 0 && others == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
