//! Numbers of the network block device protocol that servers and clients both need. They are those of the
//! protocol's description, `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>.

/// "NBDMAGIC".
pub(crate) const SERVER_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// "IHAVEOPT".
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
/// Answers to options begin with it.
pub(crate) const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Requests begin with it.
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Answers to requests begin with one of these.
pub(crate) const SIMPLE_MAGIC: u32 = 0x6744_6698;
pub(crate) const STRUCTURED_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags of the server, and of the client.
pub(crate) const FIXED_NEWSTYLE: u16 = 1 << 0;
pub(crate) const NO_ZEROES: u16 = 1 << 1;

/// Options.
pub(crate) const LIST: u32 = 3;
pub(crate) const GO: u32 = 7;
pub(crate) const STRUCTURED_REPLY: u32 = 8;
pub(crate) const SET_META_CONTEXT: u32 = 10;

/// Kinds of answers to options.
pub(crate) const ACK: u32 = 1;
pub(crate) const SERVER: u32 = 2;
pub(crate) const INFO: u32 = 3;
pub(crate) const META_CONTEXT: u32 = 4;

/// The item of information that tells an export's size.
pub(crate) const INFO_EXPORT: u16 = 0;

/// The context that tells where an export is zero.
pub(crate) const BASE_ALLOCATION: &str = "base:allocation";

/// The flag of the last chunk of a structured answer.
pub(crate) const FLAG_DONE: u16 = 1;

/// Kinds of chunks of a structured answer.
pub(crate) const NONE: u16 = 0;
pub(crate) const OFFSET_DATA: u16 = 1;
pub(crate) const OFFSET_HOLE: u16 = 2;
pub(crate) const BLOCK_STATUS: u16 = 5;
