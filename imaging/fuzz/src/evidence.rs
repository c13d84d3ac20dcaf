//! Evidence: what is kept beside a record.

use super::{SCRATCH, number, seal};
use klon_imaging::change::evidence::{Belonging, Draft, Evidence, EvidenceMeta, Findings, Spool};
use klon_imaging::change::proven::{Entry, Horizon, IdentityWriter, Stamped};
use klon_partition::{Extent, ExtentMap};
use std::path::Path;

const SIZE_BYTES: u64 = 1 << 30;
const HEADER_LEN: usize = 96;

/// Reads `data` as evidence, as it is and with right checksums.
pub fn check(data: &[u8]) {
    SCRATCH.with(|directory| {
        let path = directory.path().join("fuzzed.evidence");
        read(&path, data);
        read(&path, &sealed(data.to_vec()));
    });
}

/// Evidence of a few files.
#[must_use]
pub fn of_files() -> Vec<u8> {
    SCRATCH.with(|directory| {
        let path = directory.path().join("seed.evidence");
        let spool = Spool::begin(&path).expect("a scratch file");
        let mut writer = IdentityWriter::begin(spool, Horizon::NEVER).expect("a scratch file");
        for number in 12..60 {
            let entry = Entry {
                number,
                identity: [1; 16],
                mapping: [2; 16],
                counted: None,
            };
            writer.push(&entry).expect("a scratch file");
        }
        let (spool, kept) = writer.finish().expect("a scratch file");
        let meta = EvidenceMeta {
            stamped: Stamped {
                instance: None,
                age: Some(7),
                is_clean: true,
                seen: 3,
                continuity: None,
                written_by: Vec::new(),
                session: None,
            },
            said_clean_unix_seconds: Some(3),
            trusts_file_records: false,
            audit_cursor_bytes: 1 << 20,
            full_unix_seconds: 3,
            runs_since_full: 1,
            tracked_runs_since_full: 1,
            bitmap: None,
            disabled: None,
        };
        let area: ExtentMap = Extent::new(4096, 8192).into_iter().collect();
        let draft = Draft::new(spool, kept.len_bytes, area.clone(), meta);
        let draft = draft.expect("a spool that is kept");
        let belonging = Belonging::Record([5; 32]);
        let findings = Findings {
            signatures: area.clone(),
            damaged: area,
        };
        draft.keep(belonging, &findings).expect("a scratch file");
        std::fs::read(&path).expect("a scratch file")
    })
}

fn read(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a scratch file");
    let Ok(Some(evidence)) = Evidence::open(path, SIZE_BYTES) else {
        return;
    };
    assert!(evidence.signatures.end_bytes() <= SIZE_BYTES);
    assert!(evidence.written_past.end_bytes() <= SIZE_BYTES);
    assert!(evidence.damaged.end_bytes() <= SIZE_BYTES);
    if let Ok(identities) = evidence.identities() {
        // What is wrong with it is said, and nothing else happens.
        let _ = identities.read_to_end();
    }
    if let Ok(extents) = evidence.extents() {
        let _ = extents.read_to_end();
    }
}

/// The evidence with right lengths and checksums, or no input would ever get past them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let _ = seal_all(&mut bytes);
    bytes
}

fn seal_all(bytes: &mut [u8]) -> Option<()> {
    let len_bytes = u64::try_from(bytes.len()).ok()?;
    bytes
        .get_mut(72..80)?
        .copy_from_slice(&len_bytes.to_le_bytes());
    seal(bytes, 0, HEADER_LEN - 4)?;
    let mut at = number(bytes, 64, 8)?.checked_add(HEADER_LEN)?;
    loop {
        let start = at.checked_add(16)?;
        let end = start.checked_add(number(bytes, at.checked_add(8)?, 8)?)?;
        seal(bytes, at, end)?;
        at = end.checked_add(4)?;
    }
}
