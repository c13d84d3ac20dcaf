//! The digests in a record, read as they are asked for.

use super::Record;
use crate::chunk::{self, Digest, Pieces};
use crate::error::{Error, Result, io_error};
use crate::record::reader::Metadata;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

impl Record {
    /// Whether `device` has the first chunk as it was recorded: where the volume or the disk is told, its
    /// boot sector or its partition table.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], and [`Error::Source`] when the device can't be read.
    pub fn has_first_chunk_of(&self, device: &dyn ReadAt) -> Result<bool> {
        let Some((chunk, digest)) = self.digests()?.next().transpose()? else {
            return Ok(false);
        };
        if chunk.end_bytes() > device.geometry().size_bytes {
            return Ok(false);
        }
        let extents: Vec<Extent> = self.data.within(chunk).collect();
        let mut content = vec![0; chunk::to_len(chunk.len_bytes())];
        chunk::read_chunk(device, chunk, &extents, &mut content).map_err(Error::Source)?;
        Ok(self.digested.of(&content) == digest)
    }

    /// The digest of each chunk that holds a byte of [`wanted`](Self::wanted), in order, read as
    /// they are asked for.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn digests(&self) -> Result<impl Iterator<Item = Result<(Extent, Digest)>> + Send + '_> {
        self.digests_at(self.digests, &self.wanted())
    }

    /// The digests of the pieces of each chunk, as [`digests`](Self::digests) goes through them, where they are
    /// known; `None` when the record has none. The digest of the chunk shows whether they are right.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    #[allow(clippy::type_complexity)] // An alias can't say `impl Iterator`.
    pub fn pieces(
        &self,
    ) -> Result<Option<impl Iterator<Item = Result<(Extent, Option<Pieces>)>> + Send + '_>> {
        let Some(pieces) = self.pieces else {
            return Ok(None);
        };
        let stored = self.entries::<{ Pieces::LEN }>(Some(pieces), &self.wanted())?;
        Ok(Some(stored.map(|item| {
            let (chunk, bytes) = item?;
            Ok((chunk, Pieces::parse(&bytes)))
        })))
    }

    /// Where the filesystem's metadata lies, and for each chunk that holds some the digest of that metadata.
    /// The digests come in order and are read as they are asked for. `None` when the record keeps none.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    #[allow(clippy::type_complexity)] // An alias can't say `impl Iterator`.
    pub fn metadata(
        &self,
    ) -> Result<
        Option<(
            &ExtentMap,
            impl Iterator<Item = Result<(Extent, Digest)>> + Send + '_,
        )>,
    > {
        let Some(Metadata { map, digests }) = &self.metadata else {
            return Ok(None);
        };
        Ok(Some((map, self.digests_at(Some(*digests), map)?)))
    }

    fn digests_at(
        &self,
        digests: Option<Extent>,
        map: &ExtentMap,
    ) -> Result<impl Iterator<Item = Result<(Extent, Digest)>> + Send + use<'_>> {
        let stored = self.entries(digests, map)?;
        Ok(stored.map(|item| item.map(|(chunk, digest)| (chunk, Digest(digest)))))
    }

    /// What is stored at `place` of each chunk of `map`, in order.
    fn entries<const LEN: usize>(
        &self,
        place: Option<Extent>,
        map: &ExtentMap,
    ) -> Result<impl Iterator<Item = Result<(Extent, [u8; LEN])>> + Send + use<'_, LEN>> {
        let open = || -> io::Result<_> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(place.map_or(0, Extent::offset_bytes)))?;
            Ok(BufReader::new(file))
        };
        // Opened anew for a position of its own; the record is replaced by renaming, so if it
        // was, the digests would be another record's.
        let mut reader = open().map_err(|source| io_error(&self.path, "open", source))?;
        same_file(&self.file, reader.get_ref())
            .map_err(|source| io_error(&self.path, "read", source))?;
        let chunks: Vec<Extent> = chunk::chunks(map, self.manifest.source_bytes).collect();
        Ok(chunks.into_iter().map(move |chunk| {
            let mut entry = [0; LEN];
            reader
                .read_exact(&mut entry)
                .map_err(|source| io_error(&self.path, "read", source))?;
            Ok((chunk, entry))
        }))
    }
}

fn same_file(a: &File, b: &File) -> io::Result<()> {
    use klon_partition::device::FileId;
    let (a, b) = (a.metadata()?, b.metadata()?);
    if FileId::of(&a) == FileId::of(&b) {
        return Ok(());
    }
    Err(io::Error::other(
        "the record was replaced by another run meanwhile",
    ))
}
