//! Any bytes as a write-intent log: what is whole of it is believed, and gone on from.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::intent::check(data));
