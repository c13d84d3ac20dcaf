//! Used maps against outside tools on real volumes.
