//! What the metadata of files proves to be unchanged, against what truly changed on real volumes.

mod changes;
mod clones;
mod forged;
mod images;
mod mutants;
mod ntfs;
mod offline;
mod past;
mod racy;
mod random;
mod refused;
mod sound;
mod state;
mod v4;
mod volumes;
mod whole;
