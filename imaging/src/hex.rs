//! Digests and tokens as JSON has them.

use klon_partition::filesystem::ChangeToken;
use serde::{Deserialize, Serialize};

/// 32 bytes as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub [u8; 32]);

impl From<ChangeToken> for Hex {
    fn from(token: ChangeToken) -> Self {
        Self(token.0)
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("expected 64 hexadecimal digits, found {text:?}"));
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self(bytes))
    }
}
