//! The master file table: records by number, and attributes that are spread over records.

use super::boot::Geometry;
use super::record::{Attribute, BITMAP, DATA, Key, Record, Reference, STANDARD_ATTRIBUTE_LIST};
use super::runs::Run;
use super::stream::Stream;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};

/// Record of the master file table itself.
pub(super) const MFT: u64 = 0;
/// Record of the copy of its first records.
pub(super) const MIRROR: u64 = 1;
/// Record of the log.
pub(super) const LOG_FILE: u64 = 2;
/// Record of label, version and dirty flag.
pub(super) const VOLUME: u64 = 3;
/// Record of the root directory.
pub(super) const ROOT: u64 = 5;
/// Record of the map of clusters.
pub(super) const CLUSTER_BITMAP: u64 = 6;
/// Record of the clusters that are bad.
pub(super) const BAD_CLUSTERS: u64 = 8;
/// The first record that can be anybody's file.
pub(super) const FIRST_USER: u64 = 24;

/// NTFS has no longer attribute lists.
const LIST_BYTES_MAX: u64 = 256 << 10;

/// The master file table of a volume.
#[derive(Clone, Debug)]
pub(super) struct Mft {
    pub(super) geometry: Geometry,
    data: Stream,
}

impl Mft {
    /// Reads record 0 and everything that says where the table lies.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when record 0 or one that it is spread over fails its check.
    pub(super) fn open(device: &dyn ReadAt, geometry: Geometry) -> Result<Self> {
        let offset_bytes = geometry.mft_lcn.saturating_mul(geometry.cluster_bytes);
        let bytes = read_vec(device, offset_bytes, geometry.record_bytes)?;
        let record = Record::parse(bytes, MFT, offset_bytes)?;
        check_in_use(&record)?;
        let Some(first) = record.find(Key::unnamed(DATA), 0)? else {
            return Err(record
                .corrupt("$DATA", "run list of $MFT", "nothing")
                .into());
        };
        let data = part(&geometry, &record, &first)?;
        let is_there = data.place_bytes(&geometry, 0) == offset_bytes && offset_bytes != 0;
        if !is_there || data.written_bytes() < geometry.record_bytes as u64 {
            let expected = format!("records from cluster {}", geometry.mft_lcn);
            let found = data.place_bytes(&geometry, 0);
            return Err(record
                .corrupt("$DATA", expected, format!("byte {found:#x}"))
                .into());
        }
        let mut mft = Self { geometry, data };
        if let Some(list) = record.find(Key::unnamed(STANDARD_ATTRIBUTE_LIST), 0)? {
            let list = mft.list(device, &record, &list)?;
            mft.complete(device, &record, &list)?;
        }
        mft.data = whole(&mft.geometry, &record, mft.data)?;
        if !mft.data.is_plain() {
            return Err(record
                .corrupt("$DATA", "runs without holes", "a hole")
                .into());
        }
        Ok(mft)
    }

    /// Appends the runs that are in other records. Each lies in the part known so far.
    fn complete(&mut self, device: &dyn ReadAt, record: &Record, list: &[u8]) -> Result<()> {
        let is_further =
            |entry: &Entry<'_>| entry.key == Key::unnamed(DATA) && entry.lowest_vcn > 0;
        for entry in entries(record, list) {
            let entry = entry?;
            if is_further(&entry) {
                let holder = self.holder(device, record, entry.reference)?;
                let found = listed(&holder, &entry)?;
                extend(&self.geometry, &holder, &found, &mut self.data)?;
            }
        }
        Ok(())
    }

    /// The value of the table.
    pub(super) const fn data(&self) -> &Stream {
        &self.data
    }

    /// How many records have ever been written.
    pub(super) fn records(&self) -> u64 {
        self.data
            .written_bytes()
            .checked_div(self.geometry.record_bytes as u64)
            .unwrap_or(0)
    }

    /// Position of a record on the volume.
    pub(super) fn record_offset_bytes(&self, number: u64) -> u64 {
        let in_table = number.saturating_mul(self.geometry.record_bytes as u64);
        self.data.place_bytes(&self.geometry, in_table)
    }

    /// Reads one record that is in use.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is beyond the table, fails its check or is not in use.
    pub(super) fn record(&self, device: &dyn ReadAt, number: u64) -> Result<Record> {
        let offset_bytes = self.record_offset_bytes(number);
        if number >= self.records() {
            let expected = format!("a record below {}", self.records());
            return Err(Corrupt::new(
                "NTFS file reference",
                "number",
                offset_bytes,
                expected,
                number,
            )
            .into());
        }
        let mut bytes = vec![0; self.geometry.record_bytes];
        let in_table = number.saturating_mul(self.geometry.record_bytes as u64);
        self.data
            .read(device, &self.geometry, (in_table, &mut bytes))?;
        let record = Record::parse(bytes, number, offset_bytes)?;
        check_in_use(&record)?;
        Ok(record)
    }

    /// The record that a reference names, which must not have been used again since.
    ///
    /// # Errors
    /// As for [`Self::record`].
    pub(super) fn referenced(&self, device: &dyn ReadAt, reference: Reference) -> Result<Record> {
        let record = self.record(device, reference.number)?;
        let sequence = record.sequence_number();
        if sequence != reference.sequence {
            return Err(record
                .corrupt("sequence_number", reference.sequence, sequence)
                .into());
        }
        Ok(record)
    }

    /// The value of an attribute of a base record, however many records it is spread over;
    /// `None` when the file has no such attribute.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when any of them fails its check or a part is missing.
    pub(super) fn stream(
        &self,
        device: &dyn ReadAt,
        record: &Record,
        key: Key<'_>,
    ) -> Result<Option<Stream>> {
        let geometry = &self.geometry;
        let Some(list) = record.find(Key::unnamed(STANDARD_ATTRIBUTE_LIST), 0)? else {
            let found = record.find(key, 0)?;
            let stream = found.map(|found| part(geometry, record, &found));
            return stream
                .transpose()?
                .map(|stream| whole(geometry, record, stream))
                .transpose();
        };
        let list = self.list(device, record, &list)?;
        let mut stream: Option<Stream> = None;
        for entry in entries(record, &list) {
            let entry = entry?;
            if entry.key != key {
                continue;
            }
            let holder = self.holder(device, record, entry.reference)?;
            let found = listed(&holder, &entry)?;
            match &mut stream {
                None => stream = Some(part(geometry, &holder, &found)?),
                Some(before) => extend(geometry, &holder, &found, before)?,
            }
        }
        stream
            .map(|stream| whole(geometry, record, stream))
            .transpose()
    }

    /// Calls `visit` with each value of that type that a file has in its records.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a record fails its check, after the values of those before it.
    pub(super) fn values(
        &self,
        device: &dyn ReadAt,
        record: &Record,
        code: u32,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        values_in(record, code, visit)?;
        let Some(list) = record.find(Key::unnamed(STANDARD_ATTRIBUTE_LIST), 0)? else {
            return Ok(());
        };
        let list = self.list(device, record, &list)?;
        let mut visited = vec![record.number];
        for entry in entries(record, &list) {
            let Entry { key, reference, .. } = entry?;
            if key.code == code && !visited.contains(&reference.number) {
                visited.push(reference.number);
                let holder = self.holder(device, record, reference)?;
                values_in(&holder, code, visit)?;
            }
        }
        Ok(())
    }

    /// The value of an attribute list.
    fn list(&self, device: &dyn ReadAt, record: &Record, list: &Attribute<'_>) -> Result<Vec<u8>> {
        let stream = part(&self.geometry, record, list)?;
        let stream = whole(&self.geometry, record, stream)?;
        let is_sound = stream.len_bytes() <= LIST_BYTES_MAX
            && stream.written_bytes() == stream.len_bytes()
            && stream.is_plain();
        if !is_sound {
            let expected = format!("at most {LIST_BYTES_MAX} bytes, all written");
            return Err(record
                .corrupt("attribute list", expected, stream.len_bytes())
                .into());
        }
        let mut bytes = vec![0; usize::try_from(stream.len_bytes()).unwrap_or(0)];
        stream.read(device, &self.geometry, (0, &mut bytes))?;
        Ok(bytes)
    }

    /// The record in which a part lies: the base record or one that extends it.
    fn holder(&self, device: &dyn ReadAt, base: &Record, at: Reference) -> Result<Record> {
        if at.number == base.number {
            return Ok(base.clone());
        }
        let record = self.referenced(device, at)?;
        if record.base().map(|base| base.number) != Some(base.number) {
            let found = format!("{:?}", record.base());
            return Err(record
                .corrupt("base_file_record", base.number, found)
                .into());
        }
        Ok(record)
    }

    /// The bits that say which records are in use.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they can't be found.
    pub(super) fn record_bitmap(&self, device: &dyn ReadAt) -> Result<Stream> {
        let record = self.record(device, MFT)?;
        let bitmap = self.stream(device, &record, Key::unnamed(BITMAP))?;
        bitmap.ok_or_else(|| {
            record
                .corrupt("$BITMAP", "bits of records", "nothing")
                .into()
        })
    }
}

fn values_in(record: &Record, code: u32, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    for attribute in record.attributes() {
        let attribute = attribute?;
        if let Some(value) = attribute.resident().filter(|_| attribute.key.code == code) {
            visit(value);
        }
    }
    Ok(())
}

fn check_in_use(record: &Record) -> Result<()> {
    if record.is_in_use() {
        return Ok(());
    }
    Err(record
        .corrupt("flags", "a record in use", "a free one")
        .into())
}

/// The first part of an attribute's value.
fn part(geometry: &Geometry, record: &Record, attribute: &Attribute<'_>) -> Result<Stream> {
    if let Some(value) = attribute.resident() {
        return Ok(Stream::Resident(value.to_vec()));
    }
    if attribute.lowest_vcn() != 0 {
        let lowest = attribute.lowest_vcn();
        return Err(record
            .corrupt("lowest_vcn", "0 in the first part", lowest)
            .into());
    }
    let mut runs = Vec::new();
    decode(geometry, record, attribute, &mut runs)?;
    let (data_bytes, initialized_bytes) = attribute.sizes();
    Ok(Stream::Nonresident {
        runs,
        data_bytes,
        initialized_bytes,
        flags: attribute.flags(),
    })
}

/// Appends a further part, which must follow the last.
fn extend(
    geometry: &Geometry,
    record: &Record,
    attribute: &Attribute<'_>,
    stream: &mut Stream,
) -> Result<()> {
    let Stream::Nonresident { runs, .. } = stream else {
        return Err(record
            .corrupt("attribute list", "one resident part", "two")
            .into());
    };
    let next = runs.last().map_or(0, Run::end_vcn);
    if !attribute.is_nonresident() || attribute.lowest_vcn() != next {
        let found = attribute.lowest_vcn();
        return Err(record.corrupt("lowest_vcn", next, found).into());
    }
    decode(geometry, record, attribute, runs)
}

/// The part that an entry of an attribute list names.
fn listed<'a>(holder: &'a Record, entry: &Entry<'_>) -> Result<Attribute<'a>> {
    let found = holder.find(entry.key, entry.lowest_vcn)?;
    found.ok_or_else(|| {
        let expected = format!("a part from cluster {}", entry.lowest_vcn);
        holder.corrupt("attribute list", expected, "none").into()
    })
}

fn decode(
    geometry: &Geometry,
    record: &Record,
    attribute: &Attribute<'_>,
    runs: &mut Vec<Run>,
) -> Result<()> {
    let end = attribute.pairs().decode(geometry, runs)?;
    let highest = attribute.highest_vcn();
    // 0 is written by some for "not said".
    if highest != 0 && highest.wrapping_add(1) != end {
        let expected = format!("runs up to cluster {}", highest.cast_signed());
        return Err(record
            .corrupt("highest_vcn", expected, format!("{end} clusters"))
            .into());
    }
    Ok(())
}

/// A value whose runs reach its size.
fn whole(geometry: &Geometry, record: &Record, stream: Stream) -> Result<Stream> {
    let Stream::Nonresident {
        runs,
        data_bytes,
        initialized_bytes,
        ..
    } = &stream
    else {
        return Ok(stream);
    };
    let clusters = runs.last().map_or(0, Run::end_vcn);
    let allocated_bytes = clusters.saturating_mul(geometry.cluster_bytes);
    if initialized_bytes <= data_bytes && *data_bytes <= allocated_bytes {
        return Ok(stream);
    }
    let expected = format!("at most the {allocated_bytes} bytes of its runs");
    let found = format!("{initialized_bytes} of {data_bytes}");
    Err(record.corrupt("data_size", expected, found).into())
}

/// An entry of an attribute list (`ATTRIBUTE_LIST_ENTRY`).
struct Entry<'a> {
    key: Key<'a>,
    lowest_vcn: u64,
    reference: Reference,
}

fn entries<'a>(record: &'a Record, list: &'a [u8]) -> impl Iterator<Item = Result<Entry<'a>>> + 'a {
    const HEADER: usize = 0x1a;
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bad = |found: usize| -> Error {
            record
                .corrupt("attribute list entry", "inside the list", found)
                .into()
        };
        let left = rest.len();
        let len = if left < HEADER {
            0
        } else {
            usize::from(le16(rest, 4))
        };
        let split = rest.split_at_checked(len).filter(|_| len >= HEADER);
        let Some((entry, after)) = split else {
            rest = &[];
            return Some(Err(bad(left)));
        };
        let name_len = usize::from(u8_at(entry, 6)).saturating_mul(2);
        let name_start = if name_len == 0 {
            0
        } else {
            usize::from(u8_at(entry, 7))
        };
        let Some(name) = entry.get(name_start..name_start.saturating_add(name_len)) else {
            rest = &[];
            return Some(Err(bad(name_len)));
        };
        rest = after;
        Some(Ok(Entry {
            key: Key {
                code: le32(entry, 0),
                name,
            },
            lowest_vcn: le64(entry, 8),
            reference: Reference::parse(le64(entry, 16)),
        }))
    })
}
