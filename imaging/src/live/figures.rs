//! How the source of a run was at rest, in figures.

use crate::record::manifest::Consistency;
use serde::Serialize;

/// How the source of a run was at rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RestFigures {
    /// How it was while it was read.
    pub consistency: Consistency,
    /// The longest that it was frozen at once, in seconds; 0 when it never was.
    pub frozen_seconds: f64,
    /// Each time that it was frozen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
}

/// One time that a source was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Freeze {
    /// How long.
    pub seconds: f64,
    /// Bytes in use that nothing showed to be as they were copied before.
    pub unproven_bytes: u64,
    /// The part of them that was read before it went on.
    pub read_bytes: u64,
}

impl RestFigures {
    /// The figures for a source that was not frozen.
    pub(crate) fn of(consistency: Consistency) -> Self {
        Self {
            consistency,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, freeze: Freeze) {
        self.consistency = Consistency::Frozen;
        self.frozen_seconds = self.frozen_seconds.max(freeze.seconds);
        self.freezes.push(freeze);
    }
}
