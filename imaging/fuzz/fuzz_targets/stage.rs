//! Any bytes as a staged update: it is refused with nothing written, or finished within its volume.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| klon_imaging_fuzz::stage::check(data));
