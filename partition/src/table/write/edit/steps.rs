//! Steps of an edit. A step that would change nothing is left out.

use crate::device::{ReadAt, read_vec};
use crate::table::write::Step;

/// The steps so far.
pub(super) struct Steps<'a> {
    disk: &'a dyn ReadAt,
    steps: Vec<Step>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(disk: &'a dyn ReadAt) -> Self {
        Self {
            disk,
            steps: Vec::new(),
        }
    }

    /// Writes whole sectors, unless they are there. What can't be read is written.
    pub(super) fn write(&mut self, offset_bytes: u64, bytes: Vec<u8>) {
        let earlier = self.steps.iter().rev().find_map(|step| match step {
            Step::Write(at, bytes) if *at == offset_bytes => Some(bytes),
            _ => None,
        });
        let is_there = match earlier {
            Some(earlier) => *earlier == bytes,
            None => read_vec(self.disk, offset_bytes, bytes.len()).is_ok_and(|now| now == bytes),
        };
        if !is_there {
            self.steps.push(Step::Write(offset_bytes, bytes));
        }
    }

    /// Waits until all of it is durable, if there is something to wait for.
    pub(super) fn sync(&mut self) {
        if matches!(self.steps.last(), Some(Step::Write(..))) {
            self.steps.push(Step::Sync);
        }
    }

    pub(super) fn finish(self) -> Vec<Step> {
        self.steps
    }
}
