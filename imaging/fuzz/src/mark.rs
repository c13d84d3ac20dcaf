//! Marks of unfinished clones.

use super::seal;
use klon_imaging::mark::{MARK_LEN, Mark};

/// Reads `data` as a mark, as it is and with a right checksum.
pub fn check(data: &[u8]) {
    read(data);
    let mut bytes = data.to_vec();
    let _ = seal(&mut bytes, 0, MARK_LEN - 4);
    read(&bytes);
}

fn read(bytes: &[u8]) {
    if let Some(mark) = Mark::parse(bytes) {
        assert!(bytes.starts_with(b"klon-unfinished\n"));
        let again = Mark::parse(&mark.to_bytes()).expect("a mark that was just written");
        assert_eq!(again.staged, mark.staged);
        assert_eq!(again.run, mark.run);
    }
}
