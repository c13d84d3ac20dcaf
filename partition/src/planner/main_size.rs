//! What the size of a source means for its main volume.

use super::minimum::Minimum;
use super::placement::Claim;
use super::size::{Growth, SizePolicy, human_size, human_size_at_least};
use crate::error::{Error, Result};

/// A claim of exactly so many bytes.
pub(super) const fn fixed(bytes: u64) -> Claim {
    Claim {
        min_bytes: bytes,
        max_bytes: bytes,
        weight: 0,
        padding_bytes: 0,
    }
}

/// The main volume of a source, of which a size is asked.
pub(super) struct MainSize<'a> {
    /// The name of the source.
    pub(super) name: &'a str,
    /// The size of the volume.
    pub(super) own_bytes: u64,
    /// Where its filesystem ends.
    pub(super) end_bytes: u64,
    /// How small that can be made.
    pub(super) minimum: &'a Minimum,
    /// What is in use of it, where that is known.
    pub(super) used_bytes: Option<u64>,
    /// What the other volumes of the source take.
    pub(super) others_bytes: u64,
    /// The drive's sector.
    pub(super) sector_bytes: u64,
}

impl MainSize<'_> {
    /// The policy and the claim of the volume.
    pub(super) fn claim(&self, size: SizePolicy) -> Result<(SizePolicy, Claim)> {
        match size {
            SizePolicy::Match => Ok((size, fixed(self.own_bytes))),
            SizePolicy::Fit => Ok((size, fixed(self.fit()?))),
            SizePolicy::Fixed { size_bytes } => {
                let size_bytes = self.own(size_bytes)?;
                Ok((SizePolicy::Fixed { size_bytes }, fixed(size_bytes)))
            }
            SizePolicy::Grow(growth) => self.grow(growth),
        }
    }

    fn fit(&self) -> Result<u64> {
        let fit_bytes = self.minimum.fit_bytes(self.end_bytes);
        if let Some(whole) = fit_bytes.and_then(|bytes| self.in_sectors(bytes)) {
            return Ok(whole.min(self.own_bytes));
        }
        let why = match self.minimum {
            Minimum::Never(why) => why.clone(),
            Minimum::Unknown(why) => format!("it is not known how small it can be made: {why}"),
            Minimum::Known(_) => "its size is out of range".to_owned(),
        };
        let least_bytes = self.end_bytes.saturating_add(self.others_bytes);
        Err(Error::Refused(format!(
            "{}: size \"fit\" makes the filesystem smaller: {why}. Or use \"match\", \"grow\" or a size of at least \
             {}",
            self.name,
            human_size_at_least(least_bytes)
        )))
    }

    fn in_sectors(&self, bytes: u64) -> Option<u64> {
        bytes.checked_next_multiple_of(self.sector_bytes)
    }

    fn grow(&self, growth: Growth) -> Result<(SizePolicy, Claim)> {
        let size_min_bytes = growth.size_min_bytes.map(|b| self.own(b)).transpose()?;
        let size_max_bytes = growth.size_max_bytes.map(|b| self.own(b)).transpose()?;
        let min_bytes = size_min_bytes.unwrap_or(self.own_bytes);
        let max_bytes = size_max_bytes.unwrap_or(u64::MAX);
        if min_bytes > max_bytes || growth.weight == 0 {
            return Err(Error::Invalid(format!(
                "{}: grow from {} to {} with weight {} is impossible",
                self.name,
                human_size(min_bytes),
                human_size(max_bytes),
                growth.weight
            )));
        }
        let policy = SizePolicy::Grow(Growth {
            size_min_bytes,
            size_max_bytes,
            ..growth
        });
        let claim = Claim {
            min_bytes,
            max_bytes,
            weight: growth.weight,
            padding_bytes: growth.padding_bytes,
        };
        Ok((policy, claim))
    }

    /// What a size for the whole source leaves for its main volume.
    fn own(&self, total_bytes: u64) -> Result<u64> {
        let floor_bytes = self.floor_bytes();
        let own = self.in_sectors(total_bytes);
        let own = own.and_then(|total| total.checked_sub(self.others_bytes));
        own.filter(|own| *own >= floor_bytes).ok_or_else(|| {
            let least_bytes = floor_bytes.saturating_add(self.others_bytes);
            let problem = match self.minimum {
                Minimum::Known(_) => "what its filesystem can be shrunk to".to_owned(),
                Minimum::Unknown(_) => "what is in use of the source".to_owned(),
                Minimum::Never(why) => {
                    format!("the source's {}: {why}", human_size(least_bytes))
                }
            };
            Error::Refused(format!(
                "{}: {} is less than {problem}. Use \"match\", or a size of at least {}",
                self.name,
                human_size(total_bytes),
                human_size_at_least(least_bytes)
            ))
        })
    }

    /// The least size that can be asked for.
    fn floor_bytes(&self) -> u64 {
        let floor_bytes = match self.minimum {
            Minimum::Known(bytes) => *bytes,
            Minimum::Unknown(_) => self.used_bytes.unwrap_or(self.end_bytes),
            Minimum::Never(_) => self.end_bytes,
        };
        self.in_sectors(floor_bytes)
            .unwrap_or(u64::MAX)
            .min(self.end_bytes)
    }
}
