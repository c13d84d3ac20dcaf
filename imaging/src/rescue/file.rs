//! The map file of a rescue, in the format of GNU ddrescue (its manual, "Mapfile structure").
//!
//! ```text
//! # klon: {"run":…,"source":…,"target":…,"source_bytes":…,"token":…,"record":…}
//! # current_pos  current_status  current_pass
//! 0x00000000     ?               1
//! #      pos        size  status
//! 0x00000000  0x00100000  +
//! ```
//!
//! Positions are those of the source, which are the target's too. Statuses: `?` not tried, `*` a
//! large read failed, `/` a smaller one failed, `-` bad sector, `+` on the target. What is not in
//! use stays `?`: nobody tried it. The domain file beside the map has what is in use as `+`, so
//! that `ddrescue --domain-mapfile` leaves out the rest as well.
//!
//! klon says in a comment whose map it is. ddrescue leaves such comments out of what it writes.

use super::own::{check_own, write_file};
use super::status::{RUNS_MAX, Status, StatusMap};
use crate::error::{Error, Result, corrupt, io_error};
use crate::hex::Hex;
use klon_partition::Shown;
use klon_partition::device::open_plain;
use klon_partition::error::Corrupt;
use klon_partition::{Extent, ExtentMap, Identity};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A map file is never longer than this.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Nor is one of its lines.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What a map is called in messages.
const NAME: &str = "map file";
/// How the files begin that klon writes.
const TITLE: &str = "# Mapfile of klon";
/// What begins the comment that says whose map it is.
const ORIGIN: &str = "# klon: ";

/// Which rescue a map is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The run, as in the mark on the target.
    pub(super) run: Uuid,
    /// What is rescued.
    pub(super) source: Identity,
    /// Where to.
    pub(super) target: Identity,
    /// Size of the source.
    pub(super) source_bytes: u64,
    /// The change token of the source.
    pub(super) token: Option<Hex>,
    /// SHA-256 of the record of the finished rescue that the target is from, as long as it does not
    /// bear the mark of the run.
    pub(super) record: Option<Hex>,
}

/// A map as a file has it.
#[derive(Debug)]
pub(super) struct MapFile {
    /// Which rescue it is of; `None` for one that another program wrote.
    pub(super) origin: Option<Origin>,
    /// How far that is.
    pub(super) statuses: StatusMap,
}

impl MapFile {
    /// The map at `path` of a source of `size_bytes`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::RecordIo`]; [`Error::RecordCorrupt`] for anything that is no such map.
    pub(super) fn load(path: &Path, size_bytes: u64) -> Result<Option<Self>> {
        let file = match open_plain(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error(path, "open the map", source)),
        };
        let mut reader = BufReader::new(file.take(FILE_BYTES_MAX));
        let mut parser = Parser::new(size_bytes);
        let (mut line, mut offset_bytes) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            let read = (&mut reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .map_err(|source| io_error(path, "read the map", source))?;
            if read == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            parser.line(text.trim()).map_err(|expected| {
                let found: String = text.trim().chars().take(80).collect();
                corrupt(
                    path,
                    Corrupt::new(NAME, "line", offset_bytes, expected, found),
                )
            })?;
            offset_bytes = offset_bytes.saturating_add(read as u64);
        }
        if !parser.has_state {
            let expected = "a map file of GNU ddrescue";
            let fault = Corrupt::new(NAME, "status line", offset_bytes, expected, "none");
            return Err(corrupt(path, fault));
        }
        Ok(Some(Self {
            origin: parser.origin,
            statuses: parser.statuses,
        }))
    }
}

struct Parser {
    origin: Option<Origin>,
    has_state: bool,
    end_bytes: u64,
    lines: usize,
    statuses: StatusMap,
}

impl Parser {
    fn new(size_bytes: u64) -> Self {
        Self {
            origin: None,
            has_state: false,
            end_bytes: 0,
            lines: 0,
            statuses: StatusMap::new(size_bytes),
        }
    }

    /// Takes a line; says what was expected instead.
    fn line(&mut self, line: &str) -> std::result::Result<(), String> {
        if let Some(origin) = line.strip_prefix(ORIGIN) {
            let origin = serde_json::from_str(origin).map_err(|error| error.to_string())?;
            self.origin = Some(origin);
            return Ok(());
        }
        let line = line.split('#').next().unwrap_or_default();
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match (self.has_state, &fields[..]) {
            (_, []) => Ok(()),
            (false, [position, state, ..]) if fields.len() <= 3 => {
                let is_state = state.len() == 1 && "?*/-FG+".contains(state);
                self.has_state = is_state && number(position).is_some();
                match self.has_state {
                    true => Ok(()),
                    false => Err("a position, a status and a pass".to_owned()),
                }
            }
            (true, &[position, size, status]) => self.block(position, size, status),
            _ => Err("a position, a size and a status".to_owned()),
        }
    }

    fn block(
        &mut self,
        position: &str,
        size: &str,
        status: &str,
    ) -> std::result::Result<(), String> {
        self.lines = self.lines.saturating_add(1);
        if self.lines > RUNS_MAX.saturating_mul(2) {
            return Err("fewer lines".to_owned());
        }
        let (Some(position), Some(size), Some(status)) =
            (number(position), number(size), Status::of(status))
        else {
            return Err("a position, a size and one of ? * / - +".to_owned());
        };
        if size == 0 {
            return Ok(());
        }
        let extent = Extent::new(position, size).filter(|e| e.offset_bytes() >= self.end_bytes);
        let extent = extent.ok_or_else(|| format!("a position from {:#x} on", self.end_bytes))?;
        self.end_bytes = extent.end_bytes();
        let size_bytes = self.statuses.size_bytes();
        // ddrescue lets the last block reach on where it does not know the size.
        if extent.end_bytes() > size_bytes && status != Status::NonTried {
            return Err(format!("blocks of a source of {size_bytes:#x} bytes"));
        }
        self.statuses.set(extent, status);
        Ok(())
    }
}

/// A number in C's notation.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text {
        "0" => (text, 10),
        _ => match (
            text.strip_prefix("0x").or(text.strip_prefix("0X")),
            text.strip_prefix('0'),
        ) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) => (digits, 8),
            (None, None) => (text, 10),
        },
    };
    u64::from_str_radix(digits, radix).ok()
}

/// Durably replaces the map at `path`; `is_whole` when nothing is left to be tried.
///
/// # Errors
/// [`Error::RecordIo`].
pub(super) fn save(
    path: &Path,
    origin: &Origin,
    statuses: &StatusMap,
    is_whole: bool,
) -> Result<()> {
    write(path, |output| {
        writeln!(output, "{ORIGIN}{}", serde_json::to_string(origin)?)?;
        body(output, if is_whole { '+' } else { '?' }, statuses)
    })
}

/// Where the domain file of a map is.
#[must_use]
pub fn domain_path(map: &Path) -> PathBuf {
    let mut name = map.as_os_str().to_owned();
    name.push(".domain");
    name.into()
}

/// Durably replaces the domain file beside `map`: `wanted` as `+`.
///
/// # Errors
/// [`Error::RecordIo`].
pub(super) fn save_domain(map: &Path, wanted: &ExtentMap, size_bytes: u64) -> Result<()> {
    let mut statuses = StatusMap::new(size_bytes);
    for extent in wanted.iter() {
        statuses.set(extent, Status::Finished);
    }
    let path = domain_path(map);
    check_own(&path, TITLE)?;
    write(&path, |output| body(output, '+', &statuses))
}

fn body(output: &mut dyn Write, state: char, statuses: &StatusMap) -> io::Result<()> {
    writeln!(output, "# current_pos  current_status  current_pass")?;
    writeln!(output, "0x00000000     {state}               1")?;
    writeln!(output, "#      pos        size  status")?;
    for (extent, status) in statuses.runs() {
        let (offset, len) = (extent.offset_bytes(), extent.len_bytes());
        writeln!(output, "{offset:#010x}  {len:#010x}  {}", status.symbol())?;
    }
    Ok(())
}

fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    write_file(path, |output| {
        writeln!(output, "{TITLE}, in the format of GNU ddrescue")?;
        fill(output)
    })
}

/// What `error` is about: the map can't be used.
pub(super) fn of_another(path: &Path, why: &str) -> Error {
    Error::Refused(format!(
        "klon can't go on with the map {}: {why}. Name another map file, or delete this one to \
         begin anew",
        path.shown()
    ))
}

#[cfg(test)]
mod tests {
    use super::{MapFile, Origin, number, save};
    use crate::rescue::status::{Status, StatusMap};
    use klon_partition::{Extent, Identity};
    use proptest::prelude::{any, proptest};
    use std::fs;

    fn parse(text: &[u8]) -> crate::Result<Option<MapFile>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("map");
        fs::write(&path, text).unwrap();
        MapFile::load(&path, 1 << 20)
    }

    #[test]
    fn a_map_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("map");
        assert!(MapFile::load(&path, 5).unwrap().is_none());
        let mut statuses = StatusMap::new(1 << 20);
        statuses.set(Extent::new(512, 1024).unwrap(), Status::Bad);
        statuses.set(Extent::new(8192, 4096).unwrap(), Status::Finished);
        let origin = Origin {
            run: uuid::Uuid::from_u128(7),
            source: Identity::Path(klon_partition::text::sealed("/so\nurce")),
            target: Identity::Serial("X # 1".to_owned()),
            source_bytes: 1 << 20,
            token: None,
            record: None,
        };
        save(&path, &origin, &statuses, false).unwrap();
        let found = MapFile::load(&path, 1 << 20).unwrap().unwrap();
        assert_eq!(found.origin, Some(origin));
        assert_eq!(found.statuses, statuses);
        assert!(MapFile::load(&path, 8192).is_err());
    }

    #[test]
    fn what_ddrescue_writes_is_understood() {
        let text = b"# Mapfile. Created by GNU ddrescue version 1.27\n# Command line: x\n\
            0x00010000     *               2\n0x00000000  0x00010000  +\n65536 01000 /\n\
            66048  0x7ffffffffffefe00  ?\n";
        let found = parse(text).unwrap().unwrap();
        assert_eq!(found.origin, None);
        let scraped = found.statuses.with(Status::NonScraped);
        assert_eq!(scraped, Extent::new(65536, 512).unwrap().into());
        // Without the pass, as older versions wrote it.
        assert!(parse(b"0 ?\n0 512 -\n").unwrap().is_some());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in [
            "",
            "hello world this is text",
            "0 x 1\n",
            "0 ? 1\n0 512 x\n",
            "0 ? 1\n0 512 +\n256 512 +\n",
            "0 ? 1\n0 0x200000 +\n",
            "0 ? 1\n0xffffffffffffffff 2 ?\n",
            "# klon: {}\n0 ? 1\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(number("0x10"), Some(16));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("10"), Some(10));
        assert_eq!(number("-1"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text);
        }

        #[test]
        fn any_lines_are_read_without_panic(text in "(0 \\? 1\n)?([0-9x]{1,20} [0-9x]{1,20} [?*/+-]\n){0,5}") {
            let _ = parse(text.as_bytes());
        }
    }
}
