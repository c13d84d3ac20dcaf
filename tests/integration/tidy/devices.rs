//! What a device says of itself beside its bytes: where it is zero, and digests.

use super::Source;
use super::text::split;

/// Devices that leave an answer to the default, each with why.
pub(super) const SILENT: &[&str] = &[
    // They have bytes and keep no digests.
    "imaging/src/foreign/nbd.rs: NbdDisk lacks sha256",
    "imaging/src/image/import/plain.rs: PlainStream lacks sha256",
    "imaging/src/image/import/zeroes.rs: Zeroes lacks sha256",
    "partition/src/device/memory.rs: MemoryDevice lacks data",
    "partition/src/device/memory.rs: MemoryDevice lacks sha256",
    "partition/src/device/source.rs: Source lacks sha256",
    "partition/src/device/target.rs: Target lacks sha256",
    "src/foreign/qemu.rs: QemuDisk lacks sha256",
    // It is read in order, and never by a device's means.
    "imaging/src/image/capture/forward.rs: ForwardGeometry lacks data",
    "imaging/src/image/capture/forward.rs: ForwardGeometry lacks sha256",
    // Their chunks lie in pieces beneath, and are packed.
    "imaging/src/image/import/qcow2.rs: Qcow2 lacks sha256",
    "imaging/src/image/parts/joined.rs: Joined lacks sha256",
    // Reads may fail or be zeroes, so what the device beneath says does not hold.
    "partition/src/device/fault.rs: FaultAt lacks sha256",
    "partition/src/device/known_bad.rs: KnownBad lacks sha256",
    "partition/src/filesystem/owners/forgiving.rs: Forgiving lacks data",
    "partition/src/filesystem/owners/forgiving.rs: Forgiving lacks sha256",
    // It forgets writes.
    "partition/src/device/crash.rs: CrashDevice lacks data",
    "partition/src/device/crash.rs: CrashDevice lacks sha256",
];

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
