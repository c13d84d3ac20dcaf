//! What tools other than klon say of a volume in a file, and a copy of nothing but its used extents.

use super::tool::{output, run};
use super::{MIB, tree};
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;

/// What `partclone.{kind}` would copy, from its ddrescue domain file.
pub(crate) fn partclone_used(kind: &str, image: &Path) -> ExtentMap {
    // It refuses a file that is there.
    let directory = TempDir::new().unwrap();
    let (domain, log) = (
        directory.path().join("domain"),
        directory.path().join("log"),
    );
    let [source, output, log] = [image, &domain, &log].map(|path| path.to_str().unwrap());
    let arguments = ["-q", "-D", "-L", log, "-s", source, "-o", output];
    run(&format!("partclone.{kind}"), &arguments);
    finished(&fs::read_to_string(domain).unwrap())
}

/// What a ddrescue map marks as finished.
fn finished(map: &str) -> ExtentMap {
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    map.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (offset, len, status) = (words.next()?, words.next()?, words.next()?);
            Extent::new(number(offset)?, number(len)?).filter(|_| status == "+")
        })
        .collect()
}

/// A tag as `blkid` prints it; `None` when it prints none.
pub(crate) fn blkid(image: &Path, tag: &str) -> Option<String> {
    let image = image.to_str().unwrap();
    let found = output("blkid", &["-p", "-o", "value", "-s", tag, image]);
    let value = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// Makes `target` a copy of nothing but `used`, onto noise.
pub(crate) fn copy_onto_noise(source: &Path, target: &Path, used: &ExtentMap) {
    let source = File::open(source).unwrap();
    let size_bytes = source.metadata().unwrap().len();
    let target = File::create(target).unwrap();
    let noise = tree::noise(7, MIB as usize);
    for at in (0..size_bytes).step_by(MIB as usize) {
        let len = noise.len().min((size_bytes - at) as usize);
        target.write_all_at(&noise[..len], at).unwrap();
    }
    for extent in used.iter().flat_map(|extent| extent.split(MIB)) {
        let mut bytes = vec![0; extent.len_bytes() as usize];
        let at = extent.offset_bytes();
        source.read_exact_at(&mut bytes, at).unwrap();
        target.write_all_at(&bytes, at).unwrap();
    }
}
