//! Hostile and damaged volumes, made from the golden images.
