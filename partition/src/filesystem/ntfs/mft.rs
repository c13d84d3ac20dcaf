//! The master file table: records by number, and attributes that are spread over records.
//!
//! Linux-NTFS documentation, "$MFT": <https://flatcap.github.io/linux-ntfs/ntfs/files/mft.html>.

use super::address::{RecordNumber, Vcn};
use super::attribute_list::{Entry, entries};
use super::boot::Geometry;
use super::record::{ATTRIBUTE_LIST, Attribute, BITMAP, DATA, Key, Record, Reference};
use super::runs::Run;
use super::stream::Stream;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

/// Record of the master file table itself.
pub(super) const MFT: RecordNumber = RecordNumber(0);
/// Record of the copy of its first records.
pub(super) const MIRROR: RecordNumber = RecordNumber(1);
/// Record of the log.
pub(super) const LOG_FILE: RecordNumber = RecordNumber(2);
/// Record of label, version and dirty flag.
pub(super) const VOLUME: RecordNumber = RecordNumber(3);
/// Record of the root directory.
pub(super) const ROOT: RecordNumber = RecordNumber(5);
/// Record of the map of clusters.
pub(super) const CLUSTER_BITMAP: RecordNumber = RecordNumber(6);
/// Record of the clusters that are bad.
pub(super) const BAD_CLUSTERS: RecordNumber = RecordNumber(8);
/// The first record that can be anybody's file.
pub(super) const FIRST_USER: RecordNumber = RecordNumber(24);

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
    /// [`crate::Error::Corrupt`] when record 0 or one that it is spread over fails its check.
    pub(super) fn open(device: &dyn ReadAt, geometry: Geometry) -> Result<Self> {
        let offset_bytes = geometry.bytes(geometry.mft_lcn.0);
        let bytes = read_vec(device, offset_bytes, geometry.record_bytes)?;
        let record = Record::parse(bytes, MFT, offset_bytes)?;
        check_in_use(&record)?;
        let Some(first) = record.find(Key::unnamed(DATA), Vcn(0))? else {
            let expected = "run list of $MFT";
            return Err(record.corrupt("$DATA", expected, "nothing").into());
        };
        let data = part(&geometry, &record, &first)?;
        let is_there = data.place(&geometry, 0) == Some(offset_bytes);
        if !is_there || data.written_bytes() < geometry.record_bytes as u64 {
            let expected = format!("records from cluster {}", geometry.mft_lcn);
            let found = format!("byte {:#x}", data.place_bytes(&geometry, 0));
            return Err(record.corrupt("$DATA", expected, found).into());
        }
        let mut mft = Self { geometry, data };
        if let Some(list) = record.find(Key::unnamed(ATTRIBUTE_LIST), Vcn(0))? {
            let list = mft.list(device, &record, &list)?;
            mft.complete(device, &record, &list)?;
        }
        mft.data = whole(&mft.geometry, &record, mft.data)?;
        if !mft.data.is_plain() {
            let expected = "runs without holes";
            return Err(record.corrupt("$DATA", expected, "a hole").into());
        }
        Ok(mft)
    }

    /// Appends the runs that are in other records. Each lies in the part known so far.
    fn complete(&mut self, device: &dyn ReadAt, record: &Record, list: &[u8]) -> Result<()> {
        let is_further =
            |entry: &Entry<'_>| entry.key == Key::unnamed(DATA) && entry.lowest_vcn > Vcn(0);
        for entry in entries(record, list) {
            let entry = entry?;
            if is_further(&entry) {
                let holder = self.holder(device, record, entry.reference)?;
                let found = entry.find_in(&holder)?;
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
        self.data.written_bytes() / self.geometry.record_bytes as u64
    }

    /// Position of a record on the volume, for messages; 0 when it is beyond the table.
    pub(super) fn record_offset_bytes(&self, number: RecordNumber) -> u64 {
        let in_table = self.geometry.record_byte(number);
        self.data.place_bytes(&self.geometry, in_table)
    }

    /// Reads one record that is in use.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it is beyond the table, fails its check or is not in use.
    pub(super) fn record(&self, device: &dyn ReadAt, number: RecordNumber) -> Result<Record> {
        let offset_bytes = self.record_offset_bytes(number);
        if number.0 >= self.records() {
            let (structure, field) = ("NTFS file reference", "number");
            let expected = format!("a record below {}", self.records());
            return Err(Corrupt::new(structure, field, offset_bytes, expected, number).into());
        }
        let mut bytes = vec![0; self.geometry.record_bytes];
        let in_table = self.geometry.record_byte(number);
        self.data
            .read(device, &self.geometry, in_table, &mut bytes)?;
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
        let (expected, found) = (reference.sequence, record.sequence_number());
        if found != expected {
            return Err(record.corrupt("sequence_number", expected, found).into());
        }
        Ok(record)
    }

    /// The value of an attribute of a base record, however many records it is spread over;
    /// `None` when the file has no such attribute.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when any of them fails its check or a part is missing.
    pub(super) fn stream(
        &self,
        device: &dyn ReadAt,
        record: &Record,
        key: Key<'_>,
    ) -> Result<Option<Stream>> {
        let geometry = &self.geometry;
        let Some(list) = record.find(Key::unnamed(ATTRIBUTE_LIST), Vcn(0))? else {
            let found = record.find(key, Vcn(0))?;
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
            let found = entry.find_in(&holder)?;
            match &mut stream {
                None => stream = Some(part(geometry, &holder, &found)?),
                Some(before) => extend(geometry, &holder, &found, before)?,
            }
        }
        stream
            .map(|stream| whole(geometry, record, stream))
            .transpose()
    }

    /// Calls `visit` with each value of a type that a file has in its records.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a record fails its check, after the values of those before it.
    pub(super) fn values(
        &self,
        device: &dyn ReadAt,
        record: &Record,
        code: u32,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        values_in(record, code, visit)?;
        let Some(list) = record.find(Key::unnamed(ATTRIBUTE_LIST), Vcn(0))? else {
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
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it is too long, or not all of it was written.
    pub(super) fn list(
        &self,
        device: &dyn ReadAt,
        record: &Record,
        list: &Attribute<'_>,
    ) -> Result<Vec<u8>> {
        let stream = part(&self.geometry, record, list)?;
        let stream = whole(&self.geometry, record, stream)?;
        let is_sound = stream.len_bytes() <= LIST_BYTES_MAX
            && stream.written_bytes() == stream.len_bytes()
            && stream.is_plain();
        if !is_sound {
            let expected = format!("at most {LIST_BYTES_MAX} bytes, all written");
            let found = stream.len_bytes();
            return Err(record.corrupt("attribute list", expected, found).into());
        }
        let mut bytes = vec![0; stream.len_bytes() as usize];
        stream.read(device, &self.geometry, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// The record in which a part lies: the base record or one that extends it.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it fails its check, or extends another one.
    pub(super) fn holder(
        &self,
        device: &dyn ReadAt,
        base: &Record,
        at: Reference,
    ) -> Result<Record> {
        if at.number == base.number {
            return Ok(base.clone());
        }
        let record = self.referenced(device, at)?;
        if record.base().map(|base| base.number) != Some(base.number) {
            let found = format!("{:?}", record.base());
            let corrupt = record.corrupt("base_mft_record", base.number, found);
            return Err(corrupt.into());
        }
        Ok(record)
    }

    /// The bits that say which records are in use.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when they can't be found.
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
    let corrupt = record.corrupt("flags", "a record in use", "a free one");
    Err(corrupt.into())
}

/// The first part of an attribute's value.
fn part(geometry: &Geometry, record: &Record, attribute: &Attribute<'_>) -> Result<Stream> {
    if let Some(value) = attribute.resident() {
        return Ok(Stream::Resident(value.to_vec()));
    }
    let lowest_vcn = attribute.lowest_vcn();
    if lowest_vcn != Vcn(0) {
        let expected = "0 in the first part";
        return Err(record.corrupt("lowest_vcn", expected, lowest_vcn).into());
    }
    let mut runs = Vec::new();
    decode(geometry, record, attribute, &mut runs)?;
    Ok(Stream::Nonresident {
        runs,
        data_bytes: attribute.data_bytes(),
        initialized_bytes: attribute.initialized_bytes(),
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
        let expected = "one resident part";
        return Err(record.corrupt("attribute list", expected, "two").into());
    };
    let next = runs.last().map_or(Vcn(0), Run::end);
    let lowest_vcn = attribute.lowest_vcn();
    if !attribute.is_nonresident() || lowest_vcn != next {
        return Err(record.corrupt("lowest_vcn", next, lowest_vcn).into());
    }
    decode(geometry, record, attribute, runs)
}

fn decode(
    geometry: &Geometry,
    record: &Record,
    attribute: &Attribute<'_>,
    runs: &mut Vec<Run>,
) -> Result<()> {
    let end = attribute.pairs().decode(geometry, runs)?;
    // The last cluster: -1 when there is none, and 0 when the writer does not say.
    let highest_vcn = attribute.highest_vcn();
    if highest_vcn != 0 && highest_vcn.checked_add(1) != i64::try_from(end.0).ok() {
        let expected = format!("runs up to cluster {highest_vcn}");
        let found = format!("{end} clusters");
        return Err(record.corrupt("highest_vcn", expected, found).into());
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
    let end = runs.last().map_or(Vcn(0), Run::end);
    let allocated_bytes = geometry.vcn_byte(end);
    if initialized_bytes <= data_bytes && *data_bytes <= allocated_bytes {
        return Ok(stream);
    }
    let expected = format!("at most the {allocated_bytes} bytes of its runs");
    let found = format!("{initialized_bytes} of {data_bytes}");
    Err(record.corrupt("data_size", expected, found).into())
}
