//! Any bytes as a record: it is refused, or all that it says lies within its target.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::record::check(data));
