//! Any bytes as what a client says to the server of an image.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::nbd::check(data));
