//! Any bytes as the mark of an unfinished clone.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::mark::check(data));
