//! What the replay of a journal comes to.

use crate::device::redirected::Redirection;

/// Whether the journal of a volume was replayed.
#[derive(Debug)]
pub enum Replay {
    /// Nothing awaits recovery; or recovery alone would not make the volume a clean one, or klon replays
    /// no such journal. The volume is taken as it is.
    Unneeded,
    /// It was. The volume is clean then, and its map can be believed.
    Done(Replayed),
    /// It can't be, for this reason. The volume is taken as it is.
    Impossible(String),
}

/// What the replay of a journal comes to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What has to be read from elsewhere on the volume, or has other bytes.
    pub redirection: Redirection,
    /// How many transactions were replayed.
    pub transactions: u32,
    /// How many bytes of the volume come from its log.
    pub replayed_bytes: u64,
}
