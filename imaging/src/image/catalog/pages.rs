//! Catalogs in pages: what a snapshot adds to them does not grow with the number of snapshots.
//!
//! The newest entries are in the catalog itself. Whenever there are [`ENTRIES_MAX`] of them they go
//! into a page, whenever there are as many pages of one level those go into one of the next. Pages
//! are never changed, and later catalogs refer to the same. Each is written twice, so that damage of
//! one frame takes no snapshot with it.

use super::{Catalog, CatalogEntry, ascending, wrong};
use crate::chunk::Digest;
use crate::hex::Hex;
use crate::image::frame::FrameType;
use crate::image::header::Header;
use crate::image::load::FrameFile;
use crate::image::reference::Reference;
use klon_partition::{ReadAt, Result};
use serde::{Deserialize, Serialize};

/// Entries of a page, and pages in one.
pub(in crate::image) const ENTRIES_MAX: usize = 32;
/// More levels than any number of snapshots needs.
const LEVELS_MAX: u8 = 32;

/// Where a page is, and which snapshots it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PageReference {
    /// 0 for one with entries, more for one with pages, which are of lower levels.
    level: u8,
    /// Numbers of its first and its last snapshot.
    first: u64,
    last: u64,
    /// Positions of its two frames.
    position: u64,
    copy: u64,
    stored_bytes: u32,
    plain_bytes: u32,
    sha256: Hex,
}

/// A page that is in the file, and those in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image) struct PageNode {
    place: PageReference,
    children: Vec<PageNode>,
}

impl PageNode {
    /// Its two frames.
    fn frames(&self) -> [Reference; 2] {
        let PageReference { position, copy, .. } = self.place;
        [position, copy].map(|position| Reference {
            position,
            stored_bytes: self.place.stored_bytes,
            plain_bytes: self.place.plain_bytes,
            digest: Digest(self.place.sha256.0),
        })
    }

    /// The frames of all of `nodes` and of those in them.
    pub(in crate::image) fn all_frames(nodes: &[Self]) -> Vec<Reference> {
        let mut frames = Vec::new();
        let mut pending: Vec<&Self> = nodes.iter().collect();
        while let Some(node) = pending.pop() {
            frames.extend(node.frames());
            pending.extend(&node.children);
        }
        frames
    }
}

/// What a catalog frame holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::image) struct Root {
    /// Pages with the older snapshots, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pages: Vec<PageReference>,
    /// The newest snapshots.
    snapshots: Vec<CatalogEntry>,
    next_number: u64,
}

/// What a page holds: pages or entries.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pages: Vec<PageReference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    snapshots: Vec<CatalogEntry>,
}

impl Root {
    /// The catalog whose older entries are in `pages` and whose others are `newest`.
    pub(in crate::image) fn new(
        pages: &[PageNode],
        newest: Vec<CatalogEntry>,
        next_number: u64,
    ) -> Self {
        Self {
            pages: pages.iter().map(|node| node.place).collect(),
            snapshots: newest,
            next_number,
        }
    }

    pub(in crate::image) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// From the plain bytes of the frame at `position`.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`].
    pub(in crate::image) fn parse(bytes: &[u8], position: u64) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| wrong("JSON", position, "a catalog", error.to_string()))
    }

    /// The whole catalog, and the pages that it is in.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when both frames of a page are damaged, or the entries are
    /// not in order; [`klon_partition::Error::Io`].
    pub(in crate::image) fn expand(
        self,
        device: &dyn ReadAt,
        file: &Header,
        position: u64,
    ) -> Result<(Catalog, Vec<PageNode>)> {
        let mut reader = Reader {
            device,
            file,
            entries: Vec::new(),
        };
        let pages = reader.pages(self.pages, LEVELS_MAX)?;
        let mut snapshots = reader.entries;
        snapshots.extend(self.snapshots);
        let catalog = Catalog {
            snapshots,
            next_number: self.next_number,
        };
        ascending(&catalog, position)?;
        Ok((catalog, pages))
    }
}

struct Reader<'a> {
    device: &'a dyn ReadAt,
    file: &'a Header,
    entries: Vec<CatalogEntry>,
}

impl Reader<'_> {
    /// Reads pages of levels below `level`. Each has entries with numbers above all before, so that
    /// no page can come twice.
    fn pages(&mut self, places: Vec<PageReference>, level: u8) -> Result<Vec<PageNode>> {
        let read = |place| self.page(place, level);
        places.into_iter().map(read).collect()
    }

    fn page(&mut self, place: PageReference, level: u8) -> Result<PageNode> {
        let mut node = PageNode {
            place,
            children: Vec::new(),
        };
        let at = place.position;
        if place.level >= level {
            let expected = format!("below {level}");
            return Err(wrong(
                "level of a page",
                at,
                &expected,
                place.level.to_string(),
            ));
        }
        let content = self.content(&node)?;
        let before = self.entries.last().map_or(0, |entry| entry.number);
        let start = self.entries.len();
        if place.level == 0 {
            self.entries.extend(content.snapshots);
        } else {
            node.children = self.pages(content.pages, place.level)?;
        }
        let added = self.entries.get(start..).unwrap_or_default();
        let ends = [added.first(), added.last()].map(|entry| entry.map_or(0, |it| it.number));
        let is_right = ends == [place.first, place.last]
            && before < place.first
            && added.is_sorted_by(|a, b| a.number < b.number);
        if !is_right {
            let expected = format!("snapshots {} to {}", place.first, place.last);
            let found = format!("{} to {} after {before}", ends[0], ends[1]);
            return Err(wrong("page", at, &expected, found));
        }
        Ok(node)
    }

    fn content(&self, node: &PageNode) -> Result<Content> {
        let [first, second] = node.frames();
        let bytes = read_page(self.device, self.file, &first)
            .or_else(|error| read_page(self.device, self.file, &second).map_err(|_| error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| wrong("JSON of a page", first.position, "one", error.to_string()))
    }
}

/// The plain bytes of a page.
///
/// # Errors
/// [`klon_partition::Error::Corrupt`], [`klon_partition::Error::Io`].
pub(in crate::image) fn read_page(
    device: &dyn ReadAt,
    file: &Header,
    reference: &Reference,
) -> Result<Vec<u8>> {
    let len = reference
        .plain_bytes
        .min(FrameType::CatalogPage.plain_bytes_max());
    let mut bytes = vec![0; len as usize];
    let file = FrameFile {
        device,
        header: file,
    };
    file.read(reference, FrameType::CatalogPage, &mut bytes)?;
    Ok(bytes)
}

/// A page that is yet to be written.
pub(in crate::image) struct NewPage {
    level: u8,
    first: u64,
    last: u64,
    children: Vec<PageNode>,
    content: Content,
}

impl NewPage {
    fn of_entries(entries: &[CatalogEntry]) -> Self {
        let number = |entry: Option<&CatalogEntry>| entry.map_or(0, |entry| entry.number);
        Self {
            level: 0,
            first: number(entries.first()),
            last: number(entries.last()),
            children: Vec::new(),
            content: Content {
                snapshots: entries.to_vec(),
                ..Content::default()
            },
        }
    }

    /// One with other pages.
    pub(in crate::image) fn of_pages(children: Vec<PageNode>) -> Self {
        let places: Vec<PageReference> = children.iter().map(|node| node.place).collect();
        let level = places.iter().map(|place| place.level).max();
        Self {
            level: level.unwrap_or(0).saturating_add(1),
            first: places.first().map_or(0, |place| place.first),
            last: places.last().map_or(0, |place| place.last),
            children,
            content: Content {
                pages: places,
                ..Content::default()
            },
        }
    }

    pub(in crate::image) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.content)
    }

    /// The same once its frames are there.
    pub(in crate::image) fn written(self, first: Reference, copy_position: u64) -> PageNode {
        PageNode {
            place: PageReference {
                level: self.level,
                first: self.first,
                last: self.last,
                position: first.position,
                copy: copy_position,
                stored_bytes: first.stored_bytes,
                plain_bytes: first.plain_bytes,
                sha256: Hex(first.digest.0),
            },
            children: self.children,
        }
    }
}

/// A page of the next catalog.
pub(in crate::image) enum Slot {
    /// One that is there.
    Kept(PageNode),
    /// One that is new.
    New(NewPage),
}

/// How the entries `now` are put into pages, when the entries `before` are in `pages`. Returns the
/// pages that stay or are new, in order, and the newest entries, which are in no page.
pub(in crate::image) fn arrange(
    pages: &[PageNode],
    before: &[CatalogEntry],
    now: &[CatalogEntry],
) -> (Vec<Slot>, Vec<CatalogEntry>) {
    let mut arranged = Arranged {
        before,
        now,
        slots: Vec::new(),
        loose: Vec::new(),
    };
    let covered = pages.last().map_or(0, |node| node.place.last);
    arranged.nodes(pages);
    let newest = now.partition_point(|entry| entry.number <= covered);
    let Arranged {
        mut slots,
        mut loose,
        ..
    } = arranged;
    loose.extend(now.get(newest..).unwrap_or_default().iter().cloned());
    let (full, rest) = loose.as_chunks::<ENTRIES_MAX>();
    slots.extend(full.iter().map(|page| Slot::New(NewPage::of_entries(page))));
    (slots, rest.to_vec())
}

struct Arranged<'a> {
    before: &'a [CatalogEntry],
    now: &'a [CatalogEntry],
    slots: Vec<Slot>,
    /// Entries behind the slots that are in none yet.
    loose: Vec<CatalogEntry>,
}

impl Arranged<'_> {
    fn nodes(&mut self, nodes: &[PageNode]) {
        for node in nodes {
            let then = of_numbers(self.before, node.place);
            let now = of_numbers(self.now, node.place);
            if then == now {
                let loose = std::mem::take(&mut self.loose);
                let pages = loose.chunks(ENTRIES_MAX);
                self.slots
                    .extend(pages.map(|page| Slot::New(NewPage::of_entries(page))));
                self.slots.push(Slot::Kept(node.clone()));
            } else if node.children.is_empty() {
                self.loose.extend_from_slice(now);
            } else {
                self.nodes(&node.children);
            }
        }
    }
}

/// Those with the numbers of a page.
fn of_numbers(entries: &[CatalogEntry], place: PageReference) -> &[CatalogEntry] {
    let start = entries.partition_point(|entry| entry.number < place.first);
    let end = entries.partition_point(|entry| entry.number <= place.last);
    entries.get(start..end).unwrap_or_default()
}

/// Which neighboring pages go into a page of the next level, if any: as many of one level as it
/// holds, or the lowest ones, where pruning has left many pages of different levels.
pub(in crate::image) fn to_join(nodes: &[PageNode]) -> Option<std::ops::Range<usize>> {
    let level = |node: &PageNode| node.place.level;
    let mut windows = nodes.windows(ENTRIES_MAX).enumerate();
    let alike =
        windows.find(|(_, window)| window.iter().all(|node| level(node) == level(&window[0])));
    let highest = |window: &[PageNode]| window.iter().map(level).max();
    let found = alike.or_else(|| {
        let windows = nodes.windows(ENTRIES_MAX).enumerate();
        let lowest = windows.min_by_key(|(_, window)| highest(window));
        lowest.filter(|_| nodes.len() > 2 * ENTRIES_MAX)
    });
    found.map(|(start, _)| start..start.saturating_add(ENTRIES_MAX))
}
