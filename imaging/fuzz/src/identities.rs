//! What is kept of each file.

use super::{number, seal};
use klon_imaging::change::proven::{
    Counted, Entry, Horizon, Identities, IdentitiesError, IdentityWriter,
};

/// Reads `data` as a stream, as it is and with right checksums.
pub fn check(data: &[u8]) {
    read(data);
    read(&sealed(data.to_vec()));
}

/// A stream of a few files, some with a count of changes.
#[must_use]
pub fn of_files() -> Vec<u8> {
    let mut writer = IdentityWriter::begin(Vec::new(), Horizon::NEVER).expect("memory");
    for number in (12..90).chain([100_000, 100_001, 1 << 40]) {
        let entry = Entry {
            number,
            identity: [number.to_le_bytes()[0]; 16],
            mapping: [7; 16],
            counted: (number > 50).then_some(Counted {
                count: 3,
                accessed: 9,
            }),
        };
        writer.push(&entry).expect("memory");
    }
    writer.finish().expect("memory").0
}

/// With right checksums, as far as the frames can be told.
fn sealed(mut stream: Vec<u8>) -> Vec<u8> {
    let _ = seal(&mut stream, 0, 28);
    let mut at = 32;
    while let (Some(count), Some(flags)) = (number(&stream, at, 4), number(&stream, at + 4, 4)) {
        let entry_len = if flags & 1 == 0 { 34 } else { 40 };
        let end = at + 16 + count.min(1 << 20) * entry_len;
        if seal(&mut stream, at, end).is_none() {
            break;
        }
        at = end + 4;
    }
    stream
}

fn read(stream: &[u8]) {
    let Ok(entries) = entries(stream) else {
        return;
    };
    let is_ascending = entries.is_sorted_by(|one, other| one.number < other.number);
    assert!(is_ascending && entries.len() <= stream.len() / 34);
}

fn entries(stream: &[u8]) -> Result<Vec<Entry>, IdentitiesError> {
    let mut identities = Identities::begin(stream)?;
    let mut entries = Vec::new();
    while let Some(entry) = identities.take()? {
        entries.push(entry);
    }
    Ok(entries)
}
