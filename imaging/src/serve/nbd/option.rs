//! Options of a client that is not reading yet, taken apart.

use super::{OPTION_BYTES_MAX, STRING_BYTES_MAX};
use crate::nbd::{GO, LIST, OPTION_MAGIC, SET_META_CONTEXT, STRUCTURED_REPLY};

pub(super) const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const LIST_META_CONTEXT: u32 = 9;

/// What comes before an option's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// Which option.
    pub option: u32,
    /// Length of its data.
    pub len_bytes: u32,
}

impl OptionHeader {
    /// Length of it.
    pub const LEN: usize = 16;

    /// From its bytes; `None` without the magic number.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let is_option = fields.be64()? == OPTION_MAGIC;
        let header = Self {
            option: fields.be32()?,
            len_bytes: fields.be32()?,
        };
        is_option.then_some(header)
    }

    /// Whether its data is short enough to be read.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.len_bytes <= OPTION_BYTES_MAX
    }
}

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOption<'a> {
    /// Read this export, with no answer if there is none.
    ExportName(&'a str),
    /// Leave.
    Abort,
    /// Name the exports.
    List,
    /// Say what an export is.
    Info(InfoRequest<'a>),
    /// The same, and read it.
    Go(InfoRequest<'a>),
    /// Answer reads in chunks.
    StructuredReply,
    /// Name what can be told of extents.
    ListMetaContext(ContextQueries<'a>),
    /// Tell that of extents.
    SetMetaContext(ContextQueries<'a>),
    /// One that is not known.
    Unknown,
}

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest<'a> {
    /// Of the export.
    pub name: &'a str,
    /// What shall be told.
    pub items: Vec<u16>,
}

/// The data of `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextQueries<'a> {
    /// Of the export.
    pub name: &'a str,
    /// Names of contexts, or what they begin with.
    pub queries: Vec<&'a str>,
}

impl<'a> ClientOption<'a> {
    /// From its number and data; `None` when the data is not as it must be.
    #[must_use]
    pub fn parse(option: u32, data: &'a [u8]) -> Option<Self> {
        let fields = Fields(data);
        Some(match option {
            EXPORT_NAME => Self::ExportName(text(data)?),
            ABORT => Self::Abort,
            LIST if data.is_empty() => Self::List,
            STRUCTURED_REPLY if data.is_empty() => Self::StructuredReply,
            LIST | STRUCTURED_REPLY => return None,
            INFO => Self::Info(InfoRequest::parse(fields)?),
            GO => Self::Go(InfoRequest::parse(fields)?),
            LIST_META_CONTEXT => Self::ListMetaContext(ContextQueries::parse(fields)?),
            SET_META_CONTEXT => Self::SetMetaContext(ContextQueries::parse(fields)?),
            _ => Self::Unknown,
        })
    }
}

impl<'a> InfoRequest<'a> {
    fn parse(mut fields: Fields<'a>) -> Option<Self> {
        let name = fields.string()?;
        let count = fields.be16()?;
        let is_right = fields.0.len() == usize::from(count) * 2;
        let items = (0..count).map_while(|_| fields.be16()).collect();
        is_right.then_some(Self { name, items })
    }
}

impl<'a> ContextQueries<'a> {
    fn parse(mut fields: Fields<'a>) -> Option<Self> {
        let name = fields.string()?;
        let count = fields.be32()?;
        let mut queries = Vec::new();
        // Each takes bytes of the data.
        for _ in 0..count {
            queries.push(fields.string()?);
        }
        fields.0.is_empty().then_some(Self { name, queries })
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    let is_bounded = bytes.len() <= STRING_BYTES_MAX;
    std::str::from_utf8(bytes).ok().filter(|_| is_bounded)
}

/// Big-endian fields, from the first on.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn be16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn be32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn be64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.be32()?).ok()?;
        text(self.take(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientOption, OPTION_MAGIC, OptionHeader};

    #[test]
    fn lengths_that_lie_are_found_out() {
        let go = |name_len: u32, items: u16, rest: &[u8]| {
            let mut data = name_len.to_be_bytes().to_vec();
            data.extend(b"3/p2");
            data.extend(items.to_be_bytes());
            data.extend(rest);
            data
        };
        let right = go(4, 1, &[0, 3]);
        let Some(ClientOption::Go(info)) = ClientOption::parse(7, &right) else {
            panic!("a right option");
        };
        assert_eq!((info.name, info.items), ("3/p2", vec![3]));
        for wrong in [
            go(u32::MAX, 1, &[0, 3]),
            go(4, 2, &[0, 3]),
            go(4, 1, &[]),
            go(0, 1, &[0, 3]),
            Vec::new(),
        ] {
            assert_eq!(ClientOption::parse(7, &wrong), None, "{wrong:?}");
        }
        let mut queries = 0_u32.to_be_bytes().to_vec();
        queries.extend(u32::MAX.to_be_bytes());
        queries.extend([0; 8]);
        assert_eq!(ClientOption::parse(10, &queries), None);
        assert_eq!(ClientOption::parse(1, &[0xff]), None);
        assert_eq!(ClientOption::parse(3, &[0]), None);
        assert_eq!(ClientOption::parse(77, &[0]), Some(ClientOption::Unknown));
    }

    #[test]
    fn what_has_no_magic_number_is_no_option() {
        let mut bytes = [0; OptionHeader::LEN];
        assert_eq!(OptionHeader::parse(&bytes), None);
        bytes[..8].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
        bytes[12] = 0x80;
        let header = OptionHeader::parse(&bytes).unwrap();
        assert!(!header.is_bounded());
    }
}
