//! Any bytes as a qcow2 image.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::qcow2::check(data));
