//! The file of a ledger, which is replaced as a whole:
//!
//! ```text
//! klon ledger 1
//! {"machine":"…","unclean_count":0,…}
//! SHA-256 of both lines, their line feeds with them, as 64 hexadecimal digits
//! ```
//!
//! The second line is [`State`] as JSON. A file of another version, or with one byte that differs, is no
//! ledger.

use super::state::State;
use klon_imaging::{Digest, OwnFile};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const FIRST_LINE: &str = "klon ledger 1\n";
const MODE: u32 = 0o644;
/// A ledger that knows as many boots as one may is shorter.
const BYTES_MAX: u64 = 1 << 18;

/// What keeps a ledger from being read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("there is none")]
    Missing,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads a ledger.
pub fn read(path: &Path) -> Result<State, Unread> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Io(error),
    })?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    decode(&bytes).map_err(Unread::Damaged)
}

/// Puts it in the place of the one that is there, durably.
pub fn write(path: &Path, state: &State) -> io::Result<()> {
    let file = OwnFile::create(path)?;
    file.file().set_permissions(Permissions::from_mode(MODE))?;
    file.file().write_all(encode(state)?.as_bytes())?;
    file.file().sync_all()?;
    file.into_place(true)
}

fn encode(state: &State) -> io::Result<String> {
    let body = serde_json::to_string(state)?;
    let text = format!("{FIRST_LINE}{body}\n");
    let digest = Digest::of(text.as_bytes());
    Ok(format!("{text}{digest}\n"))
}

fn decode(bytes: &[u8]) -> Result<State, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let body = text
        .strip_prefix(FIRST_LINE)
        .ok_or("it does not begin as a ledger of this version")?;
    let (body, digest) = body.split_once('\n').ok_or("it is cut")?;
    let expected = Digest::of(format!("{FIRST_LINE}{body}\n").as_bytes());
    if digest != format!("{expected}\n") {
        return Err("its digest differs");
    }
    let state: State =
        serde_json::from_str(body).map_err(|_| "a field is missing or not as it must be")?;
    match state.boots.is_empty() {
        true => Err("it names no boot"),
        false => Ok(state),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Moment, State};
    use super::{Unread, decode, encode, read, write};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn state() -> State {
        let now = Moment {
            machine: "m".to_owned(),
            boot: "b".to_owned(),
            unix_milliseconds: 1_700_000_000_000,
            up_milliseconds: 5000,
        };
        State::new(&now).closed(&now)
    }

    #[test]
    fn it_comes_back_and_no_byte_may_differ() {
        let text = encode(&state()).unwrap();
        assert_eq!(decode(text.as_bytes()).unwrap(), state());
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            decode(&bytes).unwrap_err();
            decode(&text.as_bytes()[..index]).unwrap_err();
        }
        decode(format!("{text}x").as_bytes()).unwrap_err();
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        assert!(matches!(read(&path), Err(Unread::Missing)));
        write(&path, &state()).unwrap();
        write(&path, &state()).unwrap();
        assert_eq!(read(&path).unwrap(), state());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::write(&path, "klon ledger 2\n").unwrap();
        assert!(matches!(read(&path), Err(Unread::Damaged(_))));
    }
}
