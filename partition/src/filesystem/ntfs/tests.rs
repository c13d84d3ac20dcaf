//! Hostile volumes.
