//! Swap space against mkswap and swaplabel.

use super::image_file::ImageFile;
use crate::support::image::sparse;
use crate::support::run;
use crate::support::tree::noise;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Hazard, Kind, Usage, usage};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn look(image: &Path) -> Usage {
    usage(&ImageFile::open(image)).unwrap()
}

fn value(image: &Path, tag: &str) -> String {
    let arguments = ["-p", "-s", tag, "-o", "value", image.to_str().unwrap()];
    run("blkid", &arguments).trim().to_owned()
}

fn put(image: &Path, bytes: &[u8], offset_bytes: u64) {
    let file = OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

#[test]
fn the_header_page_is_used_whatever_was_swapped_out() {
    let directory = tempfile::tempdir().unwrap();
    for page_bytes in [4096, 8192, 16_384, 32_768, 65_536_u64] {
        for order in ["little", "big"] {
            for pages in [10, 100, 1001] {
                let name = format!("{page_bytes}-{order}-{pages}");
                let image = directory.path().join(&name);
                sparse(&image, page_bytes * pages + 512);
                let (path, page) = (image.to_str().unwrap(), page_bytes.to_string());
                let options = ["-q", "-L", "pages", "-p", &page, "-e", order, path];
                // Older mkswap has no -e and makes headers of its own order.
                if order == "little" {
                    run("mkswap", &["-q", "-L", "pages", "-p", &page, path]);
                } else if !crate::support::tool::output("mkswap", &options)
                    .status
                    .success()
                {
                    run("mkswap", &["-q", "-L", "pages", "-p", &page, path]);
                    swap_order(&image);
                }
                put(&image, &noise(1, 4000), page_bytes * 3);
                let usage = look(&image);
                let summary = usage.summary.clone().unwrap();
                assert_eq!(
                    (usage.basis.clone(), summary.kind),
                    (Basis::Map, Kind::Swap),
                    "{name}"
                );
                assert_eq!(usage.used(), ExtentMap::whole(page_bytes), "{name}");
                assert_eq!(summary.size_bytes, page_bytes * pages, "{name}");
                assert_eq!(summary.uuid.unwrap(), value(&image, "UUID"), "{name}");
                assert_eq!(summary.label.unwrap(), value(&image, "LABEL"), "{name}");
                assert_eq!("swap", value(&image, "TYPE"), "{name}");
            }
        }
    }
}

/// Turns around version, last_page and nr_badpages.
fn swap_order(image: &Path) {
    for at in [1024, 1028, 1032] {
        let mut field = crate::support::image::read_range(image, at, 4);
        field.reverse();
        put(image, &field, at);
    }
}

#[test]
fn a_copy_of_the_header_is_the_same_swap_space() {
    let directory = tempfile::tempdir().unwrap();
    let (image, copy) = (
        directory.path().join("image"),
        directory.path().join("copy"),
    );
    sparse(&image, 4 << 20);
    run("mkswap", &["-q", "-L", "pages", image.to_str().unwrap()]);
    let header = crate::support::image::read_range(&image, 0, 4096);
    std::fs::write(&copy, noise(5, 4 << 20)).unwrap();
    put(&copy, &header, 0);
    let label = |path: &Path| run("swaplabel", &[path.to_str().unwrap()]);
    assert_eq!(label(&copy), label(&image));
    let token = look(&image).token;
    assert!(token.is_some() && token == look(&copy).token);
    run("swaplabel", &["-L", "other", copy.to_str().unwrap()]);
    assert_ne!(look(&copy).token, token);
}

#[test]
fn a_suspended_system_is_copied_whole() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let signatures: [(u64, &[u8]); 5] = [
        (4086, b"S1SUSPEND\0"),
        (4086, b"S2SUSPEND\0"),
        (4086, b"ULSUSPEND\0"),
        (4086, b"LINHIB0001"),
        // TuxOnIce.
        (0, b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"),
    ];
    for (at, signature) in signatures {
        let _ = std::fs::remove_file(&image);
        sparse(&image, 4 << 20);
        run("mkswap", &["-q", image.to_str().unwrap()]);
        put(&image, signature, at);
        assert_eq!(value(&image, "TYPE"), "swsuspend");
        let usage = look(&image);
        let hazards = usage.summary.clone().unwrap().hazards;
        assert!(
            matches!(hazards[..], [Hazard::Hibernated(_)]),
            "{hazards:?}"
        );
        assert!(matches!(
            usage.basis,
            Basis::Whole {
                is_warning: true,
                ..
            }
        ));
        assert_eq!(usage.used().total_bytes(), 4 << 20);
    }
}
