//! Hostile and damaged volumes.
