//! Sizes as people write them, and the policies that say how large a clone volume becomes.
//!
//! The words are those of systemd-repart (repart.d(5)): `SizeMin`, `SizeMax`, `Weight`,
//! `Padding`. Units are powers of 1024 as there, whether written `G` or `GiB`.

use crate::error::{Error, Result};
use crate::text::quoted;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The weight of a volume that names none, as in repart.d(5).
pub const WEIGHT_DEFAULT: u32 = 1000;

/// The largest weight, as in repart.d(5).
pub const WEIGHT_MAX: u32 = 1_000_000;

const UNITS: [(&str, u64); 5] = [
    ("P", 1 << 50),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
];

/// How large the clone of a source becomes.
///
/// Written `match`, `fit`, a size as in `40G`, or `grow`, which takes options as in
/// `grow:weight=2000,min=40G,max=1T,padding=10G`. For a disk as source, sizes are those of all
/// its volumes together, and its main volume takes what the others leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SizePolicy {
    /// The source's size.
    #[default]
    Match,
    /// What is used on the source, and some headroom.
    Fit,
    /// This many bytes.
    Fixed {
        /// The size.
        size_bytes: u64,
    },
    /// At least the source's size, and a share of what remains.
    Grow(Growth),
}

/// How a volume shares in what remains on the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// `Weight`: the share in proportion to other volumes' weights, 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// `SizeMin`, where more than the source's size.
    pub size_min_bytes: Option<u64>,
    /// `SizeMax`.
    pub size_max_bytes: Option<u64>,
    /// `Padding`: free space kept after the volume.
    pub padding_bytes: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            weight: WEIGHT_DEFAULT,
            size_min_bytes: None,
            size_max_bytes: None,
            padding_bytes: 0,
        }
    }
}

/// Reads a size: a number of bytes, or a number (`1.5` too) with a unit `K`, `M`, `G`, `T` or `P`,
/// also written `KiB`, `MiB` and so on. Powers of 1024.
///
/// # Errors
/// [`Error::Invalid`] saying what is expected. `kB`, `MB`, `GB` are refused, as they mean powers
/// of 1000 to some and of 1024 to others.
pub fn parse_size(text: &str) -> Result<u64> {
    let invalid = |why: &str| {
        Error::Invalid(format!(
            "{} is not a size: {why}; expected bytes, or a number and K, M, G, T or P (powers of 1024), \
             as in 40G or 1.5T",
            quoted(text)
        ))
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_bytes = unit_bytes(unit.trim()).ok_or_else(|| invalid("unknown unit"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| invalid("no number"))?;
    let is_pointed = number.contains('.');
    if is_pointed && (unit_bytes == 1 || fraction.is_empty() || fraction.len() > 9) {
        return Err(invalid("a fraction needs a unit and at most 9 digits"));
    }
    fraction_bytes(fraction, unit_bytes)
        .zip(whole.checked_mul(unit_bytes))
        .and_then(|(fraction, whole)| whole.checked_add(fraction))
        .ok_or_else(|| invalid("out of range"))
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Some(1);
    }
    let letter = unit.strip_suffix("iB").unwrap_or(unit);
    UNITS
        .iter()
        .find(|(name, _)| letter.eq_ignore_ascii_case(name))
        .map(|&(_, bytes)| bytes)
}

fn fraction_bytes(digits: &str, unit_bytes: u64) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    let value: u128 = digits.parse().ok()?;
    let scale = 10u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    u64::try_from(value.checked_mul(u128::from(unit_bytes))? / scale).ok()
}

/// Writes a size so that [`parse_size`] gives exactly it back: in the largest unit that divides it.
#[must_use]
pub(super) fn exact_size(size_bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, unit)| size_bytes > 0 && size_bytes.is_multiple_of(*unit))
        .map_or_else(
            || size_bytes.to_string(),
            |(name, unit)| format!("{}{name}", size_bytes / unit),
        )
}

/// Writes a size for people, in three significant digits: `931 GiB`, `1.82 TiB`.
#[must_use]
pub fn human_size(size_bytes: u64) -> String {
    let Some((name, unit)) = UNITS.iter().find(|(_, unit)| size_bytes >= *unit) else {
        return format!("{size_bytes} B");
    };
    let (whole, rest) = (size_bytes / unit, u128::from(size_bytes % unit));
    let hundredths = rest * 100 / u128::from(*unit);
    match (whole, hundredths) {
        (_, 0) | (100.., _) => format!("{whole} {name}iB"),
        (10..=99, _) => format!("{whole}.{} {name}iB", hundredths / 10),
        _ => format!("{whole}.{hundredths:02} {name}iB"),
    }
}

/// As [`human_size`], for the least size that is needed: it is never rounded down.
#[must_use]
pub(in crate::planner) fn human_size_at_least(size_bytes: u64) -> String {
    let Some((_, unit)) = UNITS.iter().find(|(_, unit)| size_bytes >= *unit) else {
        return human_size(size_bytes);
    };
    // As many as are shown of a unit.
    let parts: u128 = match size_bytes / unit {
        100.. => 1,
        10..=99 => 10,
        _ => 100,
    };
    let unit = u128::from(*unit);
    let count = (u128::from(size_bytes) * parts).div_ceil(unit);
    let shown_bytes = (count * unit).div_ceil(parts);
    human_size(u64::try_from(shown_bytes).unwrap_or(u64::MAX))
}

impl fmt::Display for SizePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::Fit => f.write_str("fit"),
            Self::Fixed { size_bytes } => f.write_str(&exact_size(*size_bytes)),
            Self::Grow(growth) => {
                let options = growth.options();
                let separator = if options.is_empty() { "" } else { ":" };
                write!(f, "grow{separator}{}", options.join(","))
            }
        }
    }
}

impl Growth {
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        if self.weight != WEIGHT_DEFAULT {
            options.push(format!("weight={}", self.weight));
        }
        let min = self.size_min_bytes.map(|bytes| ("min", bytes));
        let max = self.size_max_bytes.map(|bytes| ("max", bytes));
        let padding = (self.padding_bytes > 0).then_some(("padding", self.padding_bytes));
        let sizes = [min, max, padding].into_iter().flatten();
        options.extend(sizes.map(|(key, bytes)| format!("{key}={}", exact_size(bytes))));
        options
    }

    fn set(&mut self, option: &str) -> Result<()> {
        match option.split_once('=') {
            Some(("weight", value)) => self.weight = parse_weight(value)?,
            Some(("min", value)) => self.size_min_bytes = Some(parse_size(value)?),
            Some(("max", value)) => self.size_max_bytes = Some(parse_size(value)?),
            Some(("padding", value)) => self.padding_bytes = parse_size(value)?,
            _ => {
                return Err(Error::Invalid(format!(
                    "{} is not an option of grow: expected weight=, min=, max= or padding=",
                    quoted(option)
                )));
            }
        }
        Ok(())
    }
}

fn parse_weight(text: &str) -> Result<u32> {
    text.parse()
        .ok()
        .filter(|weight| (1..=WEIGHT_MAX).contains(weight))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "{} is not a weight: expected 1 to {WEIGHT_MAX}; {WEIGHT_DEFAULT} is usual",
                quoted(text)
            ))
        })
}

impl FromStr for SizePolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("match", "") => Ok(Self::Match),
            ("fit", "") => Ok(Self::Fit),
            ("grow", options) => {
                let mut growth = Growth::default();
                for option in options.split(',').filter(|option| !option.is_empty()) {
                    growth.set(option)?;
                }
                Ok(Self::Grow(growth))
            }
            (size, "") if size.starts_with(|c: char| c.is_ascii_digit()) => Ok(Self::Fixed {
                size_bytes: parse_size(size)?,
            }),
            _ => Err(Error::Invalid(format!(
                "{} is not a size policy: expected match, fit, grow or a size as in 40G",
                quoted(text)
            ))),
        }
    }
}

impl TryFrom<String> for SizePolicy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SizePolicy> for String {
    fn from(policy: SizePolicy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, SizePolicy, exact_size, human_size, human_size_at_least, parse_size};

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("40G", 40 << 30),
            ("40 GiB", 40 << 30),
            ("1.5T", 3 << 39),
            ("512MiB", 512 << 20),
            ("7k", 7 << 10),
            ("2P", 2 << 50),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_what_is() {
        for text in [
            "",
            "G",
            "-1",
            "1.G",
            "1.5",
            "40GB",
            "1.2.3G",
            "99999999P",
            "4X",
        ] {
            let message = parse_size(text).unwrap_err().to_string();
            assert!(message.contains("as in 40G"), "{text}: {message}");
        }
    }

    #[test]
    fn exact_sizes_come_back() {
        for bytes in [0, 1, 512, 1536, 1 << 30, 3 << 39, u64::MAX] {
            assert_eq!(parse_size(&exact_size(bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn people_read_three_digits() {
        let shown: Vec<String> = [999, 1 << 20, 1_000_204_886_016, 2_000_398_934_016, 40 << 30]
            .map(human_size)
            .into();
        assert_eq!(shown, ["999 B", "1 MiB", "931 GiB", "1.81 TiB", "40 GiB"]);
    }

    #[test]
    fn the_least_is_never_rounded_down() {
        for bytes in [
            999,
            1 << 20,
            (1 << 20) + 1,
            64_963_477_504,
            1_000_204_886_016,
        ] {
            let shown = parse_size(&human_size_at_least(bytes)).unwrap();
            assert!(
                (bytes..=bytes + bytes / 99).contains(&shown),
                "{bytes}: {shown}"
            );
        }
        assert_eq!(human_size_at_least(64_963_477_504), "60.6 GiB");
        assert_eq!(human_size_at_least(1 << 30), "1 GiB");
    }

    #[test]
    fn policies_are_written_as_they_are_read() {
        for text in [
            "match",
            "fit",
            "40G",
            "grow",
            "grow:weight=2000,min=40G,max=1T,padding=10G",
        ] {
            assert_eq!(text.parse::<SizePolicy>().unwrap().to_string(), text);
        }
        let grow: SizePolicy = "grow".parse().unwrap();
        assert_eq!(grow, SizePolicy::Grow(Growth::default()));
        for text in ["", "shrink", "grow:weight=0", "grow:more", "match:1"] {
            assert!(text.parse::<SizePolicy>().is_err(), "{text}");
        }
    }
}
