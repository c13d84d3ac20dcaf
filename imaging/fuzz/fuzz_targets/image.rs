//! Any bytes as an image: it is refused, or all that is read of it is what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::image::check(data));
