//! Any bytes as a block map.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::foreign::check_bmap(data));
