//! What the metadata of files proves to be unchanged, against what truly changed on real volumes.

mod changes;
mod forged;
mod mutants;
mod offline;
mod past;
mod racy;
mod random;
mod refused;
mod sound;
mod state;
mod volumes;
