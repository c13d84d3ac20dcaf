//! Used maps against outside tools on real volumes.

mod fat;
mod signatures;
