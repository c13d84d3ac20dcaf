//! The end of an image: its last commit, and what an interrupted run left behind it.

use super::catalog::Catalog;
use super::catalog::pages::{PageNode, Root};
use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, FrameType, MAGIC};
use super::header::{HEADER_LEN, Header};
use super::load::FrameFile;
use super::reference::Reference;
use crate::buffer::Pool;
use crate::chunk::Digest;
use klon_partition::bytes::{is_zero, le64};
use klon_partition::{Error, ReadAt, Result};

/// Length of a footer frame, and what its position is a multiple of: it lies in one sector, and so
/// is written whole or not at all.
pub(super) const FOOTER_BYTES: u64 = 128;
/// Behind a commit the next frame begins at a multiple of this, so that no block that a commit is
/// in is ever written again.
pub(super) const COMMIT_ALIGN: u64 = 4096;
/// How much is looked through at once.
const WINDOW_BYTES: usize = 1 << 20;

/// The last commit of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which snapshots there are.
    pub catalog: Catalog,
    /// Position of the footer; 0 when nothing was ever committed.
    pub footer: u64,
    /// How many commits there were.
    pub commits: u64,
    /// End of the commit, or of the header.
    pub end: u64,
    /// Why a later commit can't be read that left traces.
    pub damage: Option<String>,
    /// Whether only its footer is damaged.
    pub(super) is_footer_lost: bool,
    /// Its catalog; of no length when nothing was ever committed.
    pub(super) catalog_frame: Reference,
    /// Pages with its older entries.
    pub(super) catalog_pages: Vec<PageNode>,
    /// Position of the footer before it; 0 for none.
    pub(super) footer_before: u64,
}

impl Tail {
    /// Finds the last commit of an image with this `header`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn find(device: &dyn ReadAt, header: &Header) -> Result<Self> {
        let size_bytes = device.geometry().size_bytes;
        let mut damage = None;
        let mut tried = None;
        let mut try_at = |position: u64, damage: &mut Option<String>| -> Result<Option<Self>> {
            if tried == Some(position) {
                return Ok(None);
            }
            tried = Some(position);
            match read_footer(device, header, position) {
                Ok(found) => Ok(Some(found)),
                Err(error @ Error::Io { .. }) => Err(error),
                Err(error) => {
                    damage.get_or_insert(error.to_string());
                    Ok(None)
                }
            }
        };
        let last = size_bytes.saturating_sub(FOOTER_BYTES);
        if last >= HEADER_LEN as u64
            && size_bytes.is_multiple_of(FRAME_ALIGN)
            && header_at(device, header, last)?
                .is_some_and(|found| found.frame_type == FrameType::Footer)
            && let Some(found) = try_at(last, &mut damage)?
        {
            return Ok(found);
        }
        let mut frames = Backwards::new(device, header, size_bytes);
        while let Some((position, frame)) = frames.next()? {
            if damage.is_none()
                && frame.frame_type == FrameType::Catalog
                && let Some(found) = without_footer(device, header, position, &frame)?
            {
                return Ok(found);
            }
            let footer = match frame.frame_type {
                FrameType::Footer if position + FOOTER_BYTES <= size_bytes => position,
                _ => frame.last_footer,
            };
            if footer == 0 {
                break;
            }
            // Nothing that is before it names a later one.
            frames.below(footer);
            if let Some(found) = try_at(footer, &mut damage)? {
                return Ok(Self { damage, ..found });
            }
        }
        Ok(Self {
            catalog: Catalog {
                snapshots: Vec::new(),
                next_number: 1,
            },
            footer: 0,
            commits: 0,
            end: HEADER_LEN as u64,
            damage,
            is_footer_lost: false,
            catalog_frame: NOTHING,
            catalog_pages: Vec::new(),
            footer_before: 0,
        })
    }

    /// Where the next frame goes.
    #[must_use]
    pub const fn next_position(&self) -> u64 {
        self.end.next_multiple_of(COMMIT_ALIGN)
    }
}

fn header_at(device: &dyn ReadAt, file: &Header, position: u64) -> Result<Option<FrameHeader>> {
    let mut bytes = [0; FRAME_HEADER_LEN];
    device.read_exact_at(&mut bytes, position)?;
    Ok(FrameHeader::parse(&bytes, file.uuid, position).ok())
}

/// The commit whose footer is at `position`.
pub(super) fn read_footer(device: &dyn ReadAt, file: &Header, position: u64) -> Result<Tail> {
    let Some(header) = header_at(device, file, position)? else {
        let what = "a footer frame".to_owned();
        return Err(klon_partition::error::Corrupt::new(
            "image",
            "last commit",
            position,
            what,
            "none".to_owned(),
        )
        .into());
    };
    let mut plain = [0; 64];
    let reference = header.reference(position);
    let frames = FrameFile {
        device,
        header: file,
    };
    frames.read(&reference, FrameType::Footer, &mut plain)?;
    let catalog_frame = Reference::parse(&plain);
    let (catalog, catalog_pages) = read_catalog(device, file, &catalog_frame)?;
    Ok(Tail {
        catalog,
        footer: position,
        commits: le64(&plain, 48),
        end: position.saturating_add(FOOTER_BYTES),
        damage: None,
        is_footer_lost: false,
        catalog_frame,
        catalog_pages,
        footer_before: header.last_footer,
    })
}

fn read_catalog(
    device: &dyn ReadAt,
    file: &Header,
    reference: &Reference,
) -> Result<(Catalog, Vec<PageNode>)> {
    let len = reference
        .plain_bytes
        .min(FrameType::Catalog.plain_bytes_max());
    let mut bytes = vec![0; len as usize];
    let frames = FrameFile {
        device,
        header: file,
    };
    frames.read(reference, FrameType::Catalog, &mut bytes)?;
    Root::parse(&bytes, reference.position)?.expand(device, file, reference.position)
}

/// The commit of the catalog in `frame`, when its footer was written and is damaged now. What is
/// before a footer was durable before it was written, so the commit is whole; an append that was
/// torn has nothing or zeroes in the footer's place.
fn without_footer(
    device: &dyn ReadAt,
    file: &Header,
    position: u64,
    frame: &FrameHeader,
) -> Result<Option<Tail>> {
    let catalog_frame = frame.reference(position);
    let behind = position
        .saturating_add(FRAME_HEADER_LEN as u64)
        .saturating_add(frame.stored_bytes.into());
    let footer = behind.next_multiple_of(FOOTER_BYTES);
    let end = footer.saturating_add(FOOTER_BYTES);
    if end > device.geometry().size_bytes {
        return Ok(None);
    }
    let mut bytes = [0; FOOTER_BYTES as usize];
    device.read_exact_at(&mut bytes, footer)?;
    if is_zero(&bytes) {
        return Ok(None);
    }
    let (catalog, catalog_pages) = match read_catalog(device, file, &catalog_frame) {
        Ok(found) => found,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    Ok(Some(Tail {
        catalog,
        footer,
        commits: 0,
        end,
        damage: Some(format!(
            "the footer at {footer:#x} is damaged; everything before it is whole"
        )),
        is_footer_lost: true,
        catalog_frame,
        catalog_pages,
        footer_before: frame.last_footer,
    }))
}

const NOTHING: Reference = Reference {
    position: 0,
    stored_bytes: 0,
    plain_bytes: 0,
    digest: Digest([0; Digest::LEN]),
};

impl Tail {
    /// The catalog of the commit before the last one and its footer, where that commit still
    /// stands: all that it lists is in the last one too. It is what is read if the last one is
    /// damaged.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn before(&self, device: &dyn ReadAt, file: &Header) -> Result<Option<Self>> {
        if self.footer_before == 0 || self.footer_before >= self.footer {
            return Ok(None);
        }
        let before = match read_footer(device, file, self.footer_before) {
            Ok(before) => before,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(None),
        };
        let mut entries = before.catalog.snapshots.iter();
        let stands = entries.all(|entry| self.catalog.find(Some(entry.number)) == Some(entry));
        Ok(stands.then_some(before))
    }
}

/// Frame headers, from the end on backwards.
struct Backwards<'a> {
    device: &'a dyn ReadAt,
    file: &'a Header,
    /// Everything from here on was looked at.
    end: u64,
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
}

impl<'a> Backwards<'a> {
    fn new(device: &'a dyn ReadAt, file: &'a Header, size_bytes: u64) -> Self {
        Self {
            device,
            file,
            end: size_bytes / FRAME_ALIGN * FRAME_ALIGN,
            window: Vec::new(),
            start: u64::MAX,
        }
    }

    /// Goes on below `position` only.
    fn below(&mut self, position: u64) {
        self.end = self.end.min(position / FRAME_ALIGN * FRAME_ALIGN);
    }

    /// The last frame before those that were seen.
    fn next(&mut self) -> Result<Option<(u64, FrameHeader)>> {
        while self.end > HEADER_LEN as u64 {
            if self.end <= self.start || self.window.is_empty() {
                self.load()?;
            }
            let position = self.end.saturating_sub(FRAME_ALIGN);
            self.end = position;
            let at = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
            let bytes = self.window.get(at..).unwrap_or_default();
            if bytes.starts_with(MAGIC)
                && let Ok(found) = FrameHeader::parse(bytes, self.file.uuid, position)
            {
                return Ok(Some((position, found)));
            }
        }
        Ok(None)
    }

    fn load(&mut self) -> Result<()> {
        let floor = HEADER_LEN as u64;
        self.start = self.end.saturating_sub(WINDOW_BYTES as u64).max(floor);
        let len = usize::try_from(self.end - self.start).unwrap_or(0);
        self.window.resize(len, 0);
        self.device.read_exact_at(&mut self.window, self.start)
    }
}

/// The intact frames that an interrupted append left behind the last commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Its data frames.
    pub chunks: Vec<Reference>,
    /// Where the intact frames end.
    pub end: u64,
}

impl Adopted {
    /// Goes through the frames behind the last commit, as far as they are intact.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn find(device: &dyn ReadAt, file: &Header, tail: &Tail) -> Result<Self> {
        let size_bytes = device.geometry().size_bytes;
        let pool = Pool::new(WINDOW_BYTES);
        let mut adopted = Self {
            chunks: Vec::new(),
            end: tail.next_position(),
        };
        while size_bytes.saturating_sub(adopted.end) >= FRAME_ALIGN {
            let position = adopted.end;
            let Some(header) = header_at(device, file, position)? else {
                break;
            };
            let end = position.saturating_add(header.room_bytes());
            let is_own = header.last_footer == tail.footer && end <= size_bytes;
            if !is_own || payload_crc(device, &header, position, &pool)? != header.payload_crc {
                break;
            }
            if header.frame_type == FrameType::Data {
                adopted.chunks.push(header.reference(position));
            }
            adopted.end = end;
        }
        Ok(adopted)
    }
}

fn payload_crc(
    device: &dyn ReadAt,
    header: &FrameHeader,
    position: u64,
    pool: &Pool,
) -> Result<u32> {
    let mut at = position.saturating_add(FRAME_HEADER_LEN as u64);
    let mut left = header.stored_bytes as usize;
    let mut buffer = pool.take();
    let mut crc = 0;
    while left > 0 {
        let len = left.min(buffer.len());
        device.read_exact_at(&mut buffer[..len], at)?;
        crc = crc32c::crc32c_append(crc, &buffer[..len]);
        at = at.saturating_add(len as u64);
        left -= len;
    }
    Ok(crc)
}
