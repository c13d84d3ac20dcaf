//! Used maps against outside tools on real volumes.

mod ext;
mod golden;
mod image_file;
