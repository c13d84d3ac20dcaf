//! Any bytes as a rescue's map: it is refused, or the rescue goes on from it to its end.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::map::check(data));
