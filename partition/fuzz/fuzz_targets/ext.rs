//! Any bytes as an ext volume: no panic, and nothing outside of the volume is said to be in use.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/ext`, then
//! `zstd -d images/ext*-seed*.zst --output-dir-flat partition/fuzz/corpus/ext`.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(&MemoryDevice::new(data.to_vec(), 512)));
