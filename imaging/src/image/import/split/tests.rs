//! Suffixes as `split` makes them, and sets of files that are not whole.

use super::{Letters, Parts};
use std::fs;
use std::io::Read;
use std::path::Path;

fn joined(first: &Path) -> String {
    let (mut reader, _) = Parts::find(first).unwrap().open().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn parts_are_in_order_and_none_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (suffix, content) in [("aa", "1"), ("ab", "2"), ("ac", "3"), ("gz", "no part")] {
        fs::write(path(&format!("sda1.ext4-ptcl-img.{suffix}")), content).unwrap();
    }
    fs::write(path("sda1.info"), "").unwrap();
    let first = path("sda1.ext4-ptcl-img.aa");
    assert_eq!(joined(&first), "123");
    let error = Parts::find(&path("sda1.ext4-ptcl-img.ac")).unwrap_err();
    assert!(error.to_string().contains("name the first"), "{error}");
    fs::remove_file(path("sda1.ext4-ptcl-img.ab")).unwrap();
    let error = Parts::find(&first).unwrap_err().to_string();
    assert!(error.contains(".ab is missing"), "{error}");
}

#[test]
fn suffixes_grow_as_those_of_split() {
    let (letters, digits) = (Letters::Alphabet, Letters::Digits);
    for (one, next) in [
        ("aa", "ab"),
        ("az", "ba"),
        ("yz", "zaaa"),
        ("zaaz", "zaba"),
        ("zyzz", "zzaaaa"),
    ] {
        assert_eq!(letters.growing(one, 2).as_deref(), Some(next));
    }
    for (one, next) in [("00", "01"), ("89", "9000"), ("9899", "990000")] {
        assert_eq!(digits.growing(one, 2).as_deref(), Some(next));
    }
    assert_eq!(letters.growing("yzz", 3).as_deref(), Some("zaaaa"));
    assert_eq!(letters.following("yz").as_deref(), Some("za"));
    assert_eq!(letters.following("zz"), None);
    assert_eq!(letters.growing("zq", 2), None);
}

#[test]
fn suffixes_of_one_length_go_on_to_the_last_letter() {
    let directory = tempfile::tempdir().unwrap();
    let (mut suffix, mut expected) = (Some("aa".to_owned()), String::new());
    let mut count = 0;
    while let Some(here) = suffix.filter(|_| count < 660) {
        let content = char::from(b'A' + (count % 23) as u8).to_string();
        fs::write(directory.path().join(format!("x.{here}")), &content).unwrap();
        expected.push_str(&content);
        suffix = Letters::Alphabet.following(&here);
        count += 1;
    }
    assert!(directory.path().join("x.za").exists());
    assert_eq!(joined(&directory.path().join("x.aa")), expected);
}

#[test]
fn numbered_files_are_parts_only_where_nothing_speaks_against_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, len) in [("a.01", 3000), ("a.02", 3000), ("a.03", 17)] {
        fs::write(path(name), vec![1; len]).unwrap();
    }
    assert_eq!(Parts::find(&path("a.01")).unwrap().count(), 3);
    fs::write(path("a.02"), vec![1; 2999]).unwrap();
    let error = Parts::find(&path("a.01")).unwrap_err().to_string();
    assert!(error.contains("sizes"), "{error}");
    let mut image = b"vhdxfile".to_vec();
    image.resize(3000, 0);
    fs::write(path("a.02"), image).unwrap();
    let error = Parts::find(&path("a.01")).unwrap_err().to_string();
    assert!(error.contains("by itself"), "{error}");
    // Nothing of this kind is asked of others.
    assert_eq!(Parts::find(&path("a.03")).unwrap().count(), 1);
    fs::write(path("b.img"), "x").unwrap();
    fs::write(path("b.000"), "x").unwrap();
    for alone in ["b.img", "b.000"] {
        assert_eq!(Parts::find(&path(alone)).unwrap().count(), 1);
    }
}

#[test]
fn counted_files_are_parts_only_where_everything_speaks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let count = |name: &str| Parts::find(&path(name)).map(|parts| parts.count());
    let packed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[1; 2996]].concat();
    fs::write(path("a.1"), &packed).unwrap();
    for number in 2..12 {
        fs::write(path(&format!("a.{number}")), vec![1; 3000]).unwrap();
    }
    fs::write(path("a.12"), "the end").unwrap();
    assert_eq!(count("a.1").unwrap(), 12);
    let error = count("a.10").unwrap_err().to_string();
    assert!(
        error.contains("name the first of its parts, a.1"),
        "{error}"
    );
    fs::write(path("a.5"), "short").unwrap();
    let error = count("a.1").unwrap_err().to_string();
    assert!(error.contains("not whole"), "{error}");
    fs::remove_file(path("a.5")).unwrap();
    let error = count("a.1").unwrap_err().to_string();
    assert!(error.contains("a.5 is missing"), "{error}");
    // Partitions of one disk, generations of a file, and what tells nothing of itself.
    fs::write(path("a.2"), &packed).unwrap();
    fs::write(path("b.1"), &packed).unwrap();
    fs::write(path("b.2"), vec![1; 4000]).unwrap();
    fs::write(path("c.1"), vec![1; 3000]).unwrap();
    fs::write(path("c.2"), vec![1; 3000]).unwrap();
    for alone in ["a.1", "b.1", "c.1", "c.2"] {
        assert_eq!(count(alone).unwrap(), 1, "{alone}");
    }
}
