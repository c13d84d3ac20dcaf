//! Hostile and damaged containers.
