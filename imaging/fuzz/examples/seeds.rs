//! `cargo run --example seeds IMAGES CORPUS`: writes what each fuzz target begins with.

use klon_imaging_fuzz::seeds::all;
use std::env::args_os;
use std::fs::{create_dir_all, write};
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let paths: Vec<PathBuf> = args_os().skip(1).map(PathBuf::from).collect();
    let [images, corpus] = &paths[..] else {
        panic!("usage: seeds IMAGES CORPUS");
    };
    for seed in all(images) {
        let directory = corpus.join(seed.target);
        create_dir_all(&directory)?;
        write(directory.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
