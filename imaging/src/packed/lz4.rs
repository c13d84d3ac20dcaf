//! lz4 frames one after the other, each of them whole.
//!
//! The decoder takes an end of the input between two blocks for the end of a frame (LZ4 Frame Format 1.6.4,
//! "EndMark": a frame ends with a block size of zero, and its checksum). Here the end of the input is an
//! error to the decoder, and is looked for only where a frame has ended.

use crate::packed::Unexpected;
use lz4_flex::frame::{Error, FrameDecoder};
use std::io::{self, BufRead, Read};

/// The plain bytes of all frames.
pub(super) struct Frames<R: BufRead> {
    decoder: FrameDecoder<NoEnd<R>>,
    is_over: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            decoder: FrameDecoder::new(NoEnd(input)),
            is_over: false,
        }
    }

    /// Leaves out what a skippable frame holds; its size was read.
    fn skip(&mut self, len_bytes: u32) -> io::Result<()> {
        let mut content = self.decoder.get_mut().take(len_bytes.into());
        io::copy(&mut content, &mut io::sink()).map(|_| ())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.is_over {
            match self.decoder.read(buffer) {
                Ok(0) => {}
                Ok(len) => return Ok(len),
                Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(&Error::SkippableFrame(len_bytes)) => self.skip(len_bytes)?,
                    _ => return Err(error),
                },
            }
            self.is_over = self.decoder.get_mut().0.fill_buf()?.is_empty();
        }
        Ok(0)
    }
}

/// An input whose end is an error.
struct NoEnd<R>(R);

impl<R: Read> Read for NoEnd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(Unexpected {
                expected: "the rest of an lz4 frame",
                found: "the end of the file, which is cut,".to_owned(),
            }
            .into()),
            len => Ok(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    use std::io::{Read, Write};

    fn frame(plain: &[u8], has_checksums: bool) -> Vec<u8> {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .block_checksums(has_checksums)
            .content_checksum(has_checksums);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Frames::new(packed).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn no_frame_is_whole_without_its_end() {
        let plain: Vec<u8> = (0..200_000_u64)
            .map(|at| ((at * at) >> 7).to_le_bytes()[0])
            .collect();
        for has_checksums in [false, true] {
            let one = frame(&plain, has_checksums);
            assert_eq!(unpacked(&one).unwrap(), plain);
            // Where it can end: never within, byte by byte at both ends and in steps between them.
            let near = |len: usize| len < 40 || len + 40 > one.len() || len.is_multiple_of(97);
            for len in (1..one.len()).filter(|&len| near(len)) {
                assert!(unpacked(&one[..len]).is_err(), "{len} of {}", one.len());
                let second = [&one, &one[..len]].concat();
                assert!(unpacked(&second).is_err(), "second, {len} of {}", one.len());
            }
            // At the ends of blocks, and within the size of the next one.
            let mut at = 7;
            let check_bytes = if has_checksums { 4 } else { 0 };
            loop {
                let size = u32::from_le_bytes(one[at..at + 4].try_into().unwrap());
                for len in at..at + 4 {
                    assert!(unpacked(&one[..len]).is_err(), "{len} of {}", one.len());
                }
                if size == 0 {
                    break;
                }
                at += 4 + (size & 0x7fff_ffff) as usize + check_bytes;
            }
        }
    }

    #[test]
    fn skippable_frames_are_left_out() {
        let one = frame(b"one", true);
        let skippable = [&b"\x53\x2a\x4d\x18\x05\0\0\0"[..], b"abcde"].concat();
        let all = [&one[..], &skippable, &one, &skippable].concat();
        assert_eq!(unpacked(&all).unwrap(), b"oneone");
        for len in one.len() + 1..one.len() + skippable.len() {
            assert!(unpacked(&all[..len]).is_err(), "{len}");
        }
        assert!(unpacked(&[&one[..], &[0; 8]].concat()).is_err());
    }
}
