//! Used maps against outside tools on real volumes.

mod ext;
mod image_file;
