//! Any bytes as a plan file: it is refused, or the same plan comes back when it is written again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::plan::check(data));
