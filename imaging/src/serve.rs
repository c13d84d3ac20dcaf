//! What others read of an image: exports by name, the devices beneath them, and the network block
//! device protocol.

mod changed;
mod export;
mod image;
pub mod nbd;
#[cfg(test)]
mod tests;

pub use changed::ChangedSince;
pub use export::{Context, Export, Exports, Listing};
pub use image::{ExportName, ImageExports, ImagedDevice};
