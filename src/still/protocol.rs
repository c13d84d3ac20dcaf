//! What klon and its watchdog tell each other, over a socket: frames of 16 bytes, each sent by one call.
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | the kind: `A` arm, `H` hold, `E` entered, `L` let go, `D` disarm; from the watchdog `R` ready, `A` armed, `L` let go |
//! | 4 to 7 | the number of the arming, or the index of the volume; little-endian |
//! | 8 to 15 | arm: the time until the watchdog lets go, in milliseconds; little-endian |

use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long each frame is.
pub const FRAME_BYTES: usize = 16;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The watchdog is in place.
    Ready,
    /// The time begins. The watchdog answers with the same frame once its clock runs.
    Arm {
        /// Counts the armings.
        number: u32,
        /// How long the volumes may be held.
        max: Duration,
    },
    /// klon is about to hold the volume with this index, or holds it.
    Hold(u32),
    /// All are held. If one is not from now on, someone else let go of it.
    Entered,
    /// The volume is not held by who sends this, or not any more.
    LetGo(u32),
    /// The time is over.
    Disarm,
}

impl Frame {
    /// As bytes.
    pub fn encode(self) -> [u8; FRAME_BYTES] {
        let (kind, index, value) = match self {
            Self::Ready => (b'R', 0, 0),
            Self::Arm { number, max } => {
                let millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
                (b'A', number, millis)
            }
            Self::Hold(index) => (b'H', index, 0),
            Self::Entered => (b'E', 0, 0),
            Self::LetGo(index) => (b'L', index, 0),
            Self::Disarm => (b'D', 0, 0),
        };
        let mut bytes = [0; FRAME_BYTES];
        let (head, value_bytes) = bytes.split_at_mut(8);
        value_bytes.copy_from_slice(&u64::to_le_bytes(value));
        let (kind_bytes, index_bytes) = head.split_at_mut(4);
        index_bytes.copy_from_slice(&u32::to_le_bytes(index));
        kind_bytes.copy_from_slice(&[kind, 0, 0, 0]);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no frame.
    pub fn decode(bytes: [u8; FRAME_BYTES]) -> io::Result<Self> {
        let [kind, 0, 0, 0, a, b, c, d, value @ ..] = bytes else {
            return Err(ErrorKind::InvalidData.into());
        };
        let index = u32::from_le_bytes([a, b, c, d]);
        let max = Duration::from_millis(u64::from_le_bytes(value));
        match kind {
            b'R' => Ok(Self::Ready),
            b'A' => Ok(Self::Arm { number: index, max }),
            b'H' => Ok(Self::Hold(index)),
            b'E' => Ok(Self::Entered),
            b'L' => Ok(Self::LetGo(index)),
            b'D' => Ok(Self::Disarm),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// When the other side is gone, or has not read for very long.
    pub fn send(self, mut to: impl io::Write) -> io::Result<()> {
        match to.write(&self.encode())? {
            FRAME_BYTES => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Receives one; `None` when the other side is gone.
    ///
    /// # Errors
    /// What the system says, or when something else was sent.
    pub fn receive(mut from: impl io::Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; FRAME_BYTES];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(FRAME_BYTES) => return Self::decode(bytes).map(Some),
                Ok(_) => return Err(ErrorKind::InvalidData.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;
    use std::time::Duration;

    #[test]
    fn every_frame_comes_back_and_nothing_else_is_one() {
        let max = Duration::from_millis(12_345);
        let arm = Frame::Arm { number: 7, max };
        for frame in [
            Frame::Ready,
            arm,
            Frame::Hold(3),
            Frame::Entered,
            Frame::LetGo(9),
            Frame::Disarm,
        ] {
            assert_eq!(Frame::decode(frame.encode()).unwrap(), frame);
            assert_eq!(Frame::receive(&frame.encode()[..]).unwrap(), Some(frame));
        }
        Frame::decode([0; 16]).unwrap_err();
        Frame::decode([b'R'; 16]).unwrap_err();
        Frame::receive(&[b'R', 0, 0][..]).unwrap_err();
        assert_eq!(Frame::receive(&[][..]).unwrap(), None);
    }
}
