//! Suffixes as `split` makes them, and sets of files that are not whole.

use super::{Letters, Parts};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
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
    let growing = |letters: Letters, one: &str, len| {
        let next = letters.growing(one.as_bytes(), len);
        next.map(|next| String::from_utf8(next).unwrap())
    };
    for (one, next) in [
        ("aa", "ab"),
        ("az", "ba"),
        ("yz", "zaaa"),
        ("zaaz", "zaba"),
        ("zyzz", "zzaaaa"),
    ] {
        assert_eq!(growing(letters, one, 2).as_deref(), Some(next));
    }
    for (one, next) in [("00", "01"), ("89", "9000"), ("9899", "990000")] {
        assert_eq!(growing(digits, one, 2).as_deref(), Some(next));
    }
    for (one, next) in [("09", "0a"), ("0f", "10"), ("ef", "f000")] {
        assert_eq!(growing(Letters::Hex, one, 2).as_deref(), Some(next));
    }
    assert_eq!(growing(letters, "yzz", 3).as_deref(), Some("zaaaa"));
    assert_eq!(letters.following(b"yz").as_deref(), Some(&b"za"[..]));
    assert_eq!(letters.following(b"zz"), None);
    assert_eq!(letters.growing(b"zq", 2), None);
}

#[test]
fn suffixes_of_one_length_go_on_to_the_last_letter() {
    let directory = tempfile::tempdir().unwrap();
    let (mut suffix, mut expected) = (Some(b"aa".to_vec()), String::new());
    let mut count = 0;
    while let Some(here) = suffix.filter(|_| count < 660) {
        let content = char::from(b'A' + (count % 23) as u8).to_string();
        let name = format!("x.{}", String::from_utf8(here.clone()).unwrap());
        fs::write(directory.path().join(name), &content).unwrap();
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

#[test]
fn hexadecimal_suffixes_are_sixteen_and_not_ten() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut expected = String::new();
    for number in 0..0x13_u8 {
        let content = char::from(b'A' + number).to_string();
        fs::write(path(&format!("h.{number:02x}")), &content).unwrap();
        expected.push_str(&content);
    }
    assert_eq!(joined(&path("h.00")), expected);
    for later in ["h.0a", "h.10"] {
        let error = Parts::find(&path(later)).unwrap_err().to_string();
        assert!(error.contains("name the first"), "{error}");
    }
    fs::remove_file(path("h.0c")).unwrap();
    let error = Parts::find(&path("h.00")).unwrap_err().to_string();
    assert!(error.contains("h.0c is missing"), "{error}");
    // Ten digits, and something else beside them.
    for name in ["d.00", "d.01", "d.de"] {
        fs::write(path(name), "x").unwrap();
    }
    let error = Parts::find(&path("d.00")).unwrap_err().to_string();
    assert!(error.contains("d.02 is missing"), "{error}");
    assert!(error.contains("another name"), "{error}");
    // Letters are ten digits' neighbors, and no sixteen.
    for name in ["e.aa", "e.ab", "e.00", "e.01"] {
        fs::write(path(name), "x").unwrap();
    }
    assert_eq!(Parts::find(&path("e.aa")).unwrap().count(), 2);
}

#[test]
fn suffixes_need_no_dot_and_may_be_before_an_extension() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &[u8]| directory.path().join(OsStr::from_bytes(name));
    let sets: [[&[u8]; 3]; 8] = [
        [b"xaa", b"xab", b"xac"],
        [b"m.img-aa", b"m.img-ab", b"m.img-ac"],
        [b"dataaa", b"dataab", b"dataac"],
        [b"e_aa.img", b"e_ab.img", b"e_ac.img"],
        [b"e.aa.img.gz", b"e.ab.img.gz", b"e.ac.img.gz"],
        [b"U.AA", b"U.AB", b"U.AC"],
        [b"caf\xe9.img.aa", b"caf\xe9.img.ab", b"caf\xe9.img.ac"],
        [b"g\xe9aa", b"g\xe9ab", b"g\xe9ac"],
    ];
    for names in sets {
        for (name, content) in names.iter().zip(["one", "two", "3"]) {
            fs::write(path(name), content).unwrap();
        }
        assert_eq!(joined(&path(names[0])), "onetwo3");
        let error = Parts::find(&path(names[1])).unwrap_err().to_string();
        assert!(error.contains("name the first"), "{error}");
    }
    // Of a link, what it leads to.
    std::os::unix::fs::symlink(path(b"xaa"), path(b"link")).unwrap();
    assert_eq!(joined(&path(b"link")), "onetwo3");
    // One of them is missing.
    fs::rename(path(b"xac"), path(b"xad")).unwrap();
    let error = Parts::find(&path(b"xaa")).unwrap_err().to_string();
    assert!(error.contains("xac is missing"), "{error}");
    // Words are no parts.
    for name in [&b"papa"[..], b"papb", b"sda", b"sdb", b"m10", b"m11"] {
        fs::write(path(name), "x").unwrap();
        assert_eq!(Parts::find(&path(name)).unwrap().count(), 1);
    }
}

#[test]
fn names_that_say_little_need_a_first_part_that_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let packed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[1; 2996]].concat();
    for [first, second, third] in [
        ["n.a", "n.b", "n.c"],
        ["e.part1.img", "e.part2.img", "e.part3.img"],
        ["m-00", "m-01", "m-02"],
        ["disk1", "disk2", "disk3"],
    ] {
        fs::write(path(first), &packed).unwrap();
        fs::write(path(second), vec![1; 3000]).unwrap();
        fs::write(path(third), "the end").unwrap();
        assert_eq!(Parts::find(&path(first)).unwrap().count(), 3, "{first}");
        let error = Parts::find(&path(third)).unwrap_err().to_string();
        assert!(error.contains("name the first"), "{error}");
        // Images of their own.
        fs::write(path(second), &packed).unwrap();
        assert_eq!(Parts::find(&path(first)).unwrap().count(), 1, "{first}");
    }
    // One digit of sixteen.
    fs::write(path("y.0"), &packed).unwrap();
    for number in 1..0xc {
        fs::write(path(&format!("y.{number:x}")), vec![1; 3000]).unwrap();
    }
    assert_eq!(Parts::find(&path("y.0")).unwrap().count(), 0xc);
}
