//! What the suffixes of parts are made of, and which suffix follows another.

/// Longest suffix of a first part that is looked for.
const SUFFIX_LEN_MAX: usize = 8;

/// What suffixes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    Alphabet,
    Capitals,
    Digits,
    /// `split -x`.
    Hex,
    CapitalHex,
}

impl Letters {
    /// All of them, in order.
    const fn all(self) -> &'static [u8] {
        match self {
            Self::Alphabet => b"abcdefghijklmnopqrstuvwxyz",
            Self::Capitals => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Self::Digits => b"0123456789",
            Self::Hex => b"0123456789abcdef",
            Self::CapitalHex => b"0123456789ABCDEF",
        }
    }

    pub(super) fn first(self) -> u8 {
        self.all().first().copied().unwrap_or_default()
    }

    pub(super) fn last(self) -> u8 {
        self.all().last().copied().unwrap_or_default()
    }

    pub(super) fn has(self, suffix: &[u8]) -> bool {
        suffix.iter().all(|byte| self.all().contains(byte))
    }

    /// What a suffix may be made of, whatever is beside it.
    pub(super) fn possible(suffix: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let all = [
            Self::Alphabet,
            Self::Capitals,
            Self::Digits,
            Self::Hex,
            Self::CapitalHex,
        ];
        let is_one = (1..=SUFFIX_LEN_MAX).contains(&suffix.len());
        all.into_iter()
            .filter(move |letters| is_one && letters.has(suffix))
    }

    /// What a suffix is made of, when `beside` has the other suffixes of its length. Ten digits are the
    /// first of sixteen as soon as one beside them has a letter.
    pub(super) fn of(suffix: &[u8], beside: &[&[u8]]) -> Option<Self> {
        let found = Self::possible(suffix).next()?;
        // Letters alone are no sign for those who begin with a letter: `aa` may be beside `00`.
        let has_letter = |it: &[u8]| !Self::Digits.has(it);
        let has_digit = |it: &[u8]| it.iter().any(u8::is_ascii_digit);
        let is_mixed = |hex: Self| {
            let signs = |it: &&[u8]| {
                hex.has(it) && has_letter(it) && (found == Self::Digits || has_digit(it))
            };
            beside.iter().any(signs)
        };
        let hex = match found {
            Self::Alphabet => [Self::Hex].as_slice(),
            Self::Capitals => &[Self::CapitalHex],
            Self::Digits => &[Self::Hex, Self::CapitalHex],
            Self::Hex | Self::CapitalHex => &[],
        };
        // A set of sixteen letters begins with zeroes.
        let zero = Self::Digits.zero(suffix.len());
        let begins = found == Self::Digits || beside.contains(&zero.as_slice());
        let hex = (hex.iter()).find(|hex| begins && hex.has(suffix) && is_mixed(**hex));
        Some(hex.copied().unwrap_or(found))
    }

    /// The first suffix of `len` letters.
    pub(super) fn zero(self, len: usize) -> Vec<u8> {
        vec![self.first(); len]
    }

    /// Whether a set may begin with it: `aa`, `00`, or `01`, from which `--numeric-suffixes=1` counts.
    pub(super) fn is_first(self, suffix: &[u8]) -> bool {
        let (last, rest) = suffix.split_last().unwrap_or((&0, &[]));
        let is_start = *last == self.first() || (self.first() == b'0' && *last == b'1');
        is_start && rest.iter().all(|byte| *byte == self.first())
    }

    /// The suffix after one of the same length; `None` after the last.
    pub(super) fn following(self, suffix: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = suffix.to_vec();
        for byte in bytes.iter_mut().rev() {
            let at = self.all().iter().position(|letter| letter == byte)?;
            if let Some(next) = self.all().get(at + 1) {
                *byte = *next;
                return Some(bytes);
            }
            *byte = self.first();
        }
        None
    }

    /// The next suffix. After the last suffix of a first letter it is a longer one. The first suffix of the
    /// set had `len` letters.
    pub(super) fn growing(self, suffix: &[u8], len: usize) -> Option<Vec<u8>> {
        let last = self.last();
        let grown = suffix.iter().take_while(|&&letter| letter == last).count();
        let body = suffix
            .get(grown..)
            .filter(|body| body.len() == len + grown)?;
        let next = self.following(body)?;
        Some(match next.first() == Some(&last) {
            false => [&suffix[..grown], &next].concat(),
            true => [vec![last; grown + 1], self.zero(len + grown + 1)].concat(),
        })
    }
}
