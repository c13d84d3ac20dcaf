//! Images as others read them: over the network block device protocol, and mounted.

mod hostile;
mod made;
mod mount;
mod nbd;
pub(super) mod running;
