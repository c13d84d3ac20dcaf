//! Used maps against outside tools on real volumes.

mod ext;
mod fat;
mod image_file;
mod signatures;
