//! gzip members one after the other, and zeroes behind the last one, as tapes and devices leave them.

use crate::packed::Unexpected;
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// The first byte of every member (RFC 1952, ID1).
const ID1: u8 = 0x1f;

/// The plain bytes of all members.
pub(super) struct Members<R: BufRead> {
    /// `None` behind the last one.
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: Some(GzDecoder::new(input)),
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(decoder) = &mut self.decoder {
            let len = decoder.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            let Some(mut input) = self.decoder.take().map(GzDecoder::into_inner) else {
                break;
            };
            match input.fill_buf()?.first() {
                Some(&ID1) => self.decoder = Some(GzDecoder::new(input)),
                Some(_) => only_zeroes(&mut input)?,
                None => {}
            }
        }
        Ok(0)
    }
}

/// Reads what follows the last member.
fn only_zeroes(input: &mut impl BufRead) -> io::Result<()> {
    let (mut len_bytes, mut is_zero) = (0_u64, true);
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            found => found?,
        };
        if bytes.is_empty() {
            break;
        }
        is_zero &= klon_partition::bytes::is_zero(bytes);
        let len = bytes.len();
        len_bytes += len as u64;
        input.consume(len);
    }
    match is_zero {
        true => Ok(()),
        false => Err(Unexpected {
            expected: "the end of the file, or zeroes up to it",
            found: format!("{len_bytes} bytes that follow the end of the packed stream"),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
    use flate2::{Compression, write::GzEncoder};
    use std::io::{BufReader, Read, Write};

    fn member(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// By a buffer so small that every end lies at one of its ends once.
    fn unpacked(packed: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let mut members = Members::new(BufReader::with_capacity(3, packed));
        members.read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn zeroes_may_follow_and_nothing_else() {
        let both = [member(b"one"), member(b"two")].concat();
        for zeroes in [0, 1, 2, 511, 5000] {
            let padded = [&both[..], &vec![0; zeroes]].concat();
            assert_eq!(unpacked(&padded).unwrap(), b"onetwo");
        }
        for (tail, len) in [(&b"junk"[..], 4), (b"\0\0\0x", 4), (b"x\0\0", 3)] {
            let error = unpacked(&[&both[..], tail].concat()).unwrap_err();
            let says = format!("{len} bytes that follow the end of the packed stream");
            assert!(error.to_string().contains(&says), "{error}");
        }
        let hidden = [&both[..], &[0; 9], &member(b"three")].concat();
        assert!(unpacked(&hidden).is_err());
        for len in 1..both.len() {
            assert!(unpacked(&both[..len]).is_err() || len == member(b"one").len());
        }
    }
}
