//! Identifiers that a clone has for itself: each is made of the one that its source has, so that a run that
//! is repeated makes the same ones.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What the identifiers of a clone are made of, beside those of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnIds([u8; 16]);

impl OwnIds {
    /// Those of a clone at this place, for as long as no record keeps them.
    #[must_use]
    pub fn at(place: &str) -> Self {
        Self(first_half(&[b"klon own identity 1", place.as_bytes()]))
    }

    /// 16 bytes that stand for `old`. Other clones have others.
    #[must_use]
    pub fn bytes(&self, old: &[u8]) -> [u8; 16] {
        first_half(&[&self.0, old])
    }

    /// A UUID (RFC 9562, version 8) that stands for `old`; a nil one stays.
    #[must_use]
    pub fn uuid(&self, old: Uuid) -> Uuid {
        match old.is_nil() {
            true => old,
            false => uuid::Builder::from_custom_bytes(self.bytes(old.as_bytes())).into_uuid(),
        }
    }

    /// A number that stands for `old`; 0 stays, and nothing else becomes 0.
    #[must_use]
    pub fn number(&self, old: u32) -> u32 {
        let [a, b, c, d, ..] = self.bytes(&old.to_le_bytes());
        match old {
            0 => 0,
            _ => u32::from_le_bytes([a, b, c, d]).max(1),
        }
    }
}

/// The first half of the SHA-256 of parts, none of which can be taken for another.
fn first_half(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

impl fmt::Display for OwnIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Uuid::from_bytes(self.0).simple())
    }
}

impl FromStr for OwnIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Uuid::try_parse(text).map_err(|error| error.to_string())?;
        Ok(Self(found.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::OwnIds;
    use uuid::Uuid;

    #[test]
    fn the_same_place_makes_the_same_ids_and_another_place_others() {
        let (old, one, other) = (Uuid::from_u128(7), OwnIds::at("a"), OwnIds::at("b"));
        assert_eq!(one.uuid(old), OwnIds::at("a").uuid(old));
        assert_ne!(one.uuid(old), other.uuid(old));
        assert_ne!(one.uuid(old), one.uuid(Uuid::from_u128(8)));
        assert_ne!(one.number(7), other.number(7));
    }

    #[test]
    fn what_has_no_id_gets_none() {
        let ids = OwnIds::at("a");
        assert!(ids.uuid(Uuid::nil()).is_nil());
        assert_eq!(ids.number(0), 0);
    }

    #[test]
    fn text_round_trips() {
        let ids = OwnIds::at("a");
        assert_eq!(ids.to_string().parse::<OwnIds>().unwrap(), ids);
        assert!("x".parse::<OwnIds>().is_err());
    }
}
