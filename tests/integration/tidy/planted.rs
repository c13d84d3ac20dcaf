//! Each rule finds an offender that was planted.

use super::text::split;
use super::{Source, assert_only_allowed, circles, devices, floors, lengths, named, options};
use std::panic::catch_unwind;

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn names(offenders: Vec<(String, String)>) -> Vec<String> {
    offenders.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_file_without_a_first_line() {
    let sources = [
        source("src/a.rs", "//! A.\n"),
        source("src/b.rs", "use c;\n"),
    ];
    assert_eq!(names(lengths::without_first_line(&sources)), ["src/b.rs"]);
}

#[test]
fn a_long_file() {
    let tests = format!("\n#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(300));
    let short = format!("{}{tests}", "//\n".repeat(429));
    let sources = [
        source("src/a.rs", &short),
        source("src/b.rs", &"\n".repeat(431)),
    ];
    assert_eq!(names(lengths::long_files(&sources)), ["src/b.rs"]);
}

#[test]
fn a_long_function() {
    let function = |name: &str, lines: usize| {
        let body = "    a(\"}\"); // }\n".repeat(lines - 2);
        format!("const fn {name}(x: [u8; 4]) -> u8 {{\n{body}}}\n")
    };
    let text = format!(
        "trait T {{ fn none(&self); }}\n{}{}",
        function("short", 70),
        function("long", 71)
    );
    let found = lengths::long_functions(&[source("src/a.rs", &text)]);
    assert_eq!(names(found), ["src/a.rs::long"]);
    let in_tests = [source("imaging/src/a/tests.rs", &text)];
    assert!(lengths::long_functions(&in_tests).is_empty());
}

#[test]
fn a_circle() {
    let sources = [
        source("imaging/src/lib.rs", "mod a; mod b; mod c; mod d;"),
        source("imaging/src/a.rs", "use crate::{b::{X as Y, Z}, c};"),
        source(
            "imaging/src/b.rs",
            "fn f() { super::d::g() } // use crate::a",
        ),
        source("imaging/src/c.rs", "mod inner;"),
        source(
            "imaging/src/c/inner.rs",
            "use super::Thing; use crate::Other;",
        ),
        source("imaging/src/d.rs", "mod below;\nuse below::Low;"),
        source("imaging/src/d/below.rs", "use crate::a::T;\nmod tests { }"),
    ];
    let expected = "imaging/src/a imaging/src/b imaging/src/d imaging/src/d/below";
    assert_eq!(names(circles::circles(&sources, &[])), [expected]);
    assert!(circles::circles(&sources[..5], &[]).is_empty());
    let allowed = ["imaging/src/b → imaging/src/d"];
    assert!(circles::circles(&sources, &allowed).is_empty());
}

#[test]
fn a_circle_through_re_exports() {
    let house = |used: &str| {
        [
            source("imaging/src/lib.rs", "mod house;"),
            source(
                "imaging/src/house.rs",
                "mod a;\nmod b;\npub use a::{Thing as Known, other};\nuse b::Low;\nstruct Own;",
            ),
            source("imaging/src/house/a.rs", &format!("use super::{used};")),
            source("imaging/src/house/b.rs", "use crate::house::{Own, Known};"),
        ]
    };
    let expected = "imaging/src/house/a imaging/src/house/b";
    assert_eq!(names(circles::circles(&house("Low"), &[])), [expected]);
    assert!(circles::circles(&house("Own"), &[]).is_empty());
}

#[test]
fn a_circle_through_modules_of_few() {
    for visibility in ["pub(super)", "pub(in crate::x)", "pub(crate)", "pub", ""] {
        let above = format!("{visibility} mod below;\nfn f() {{ below::g() }}");
        let sources = [
            source("imaging/src/lib.rs", "mod a; mod b;"),
            source("imaging/src/a.rs", &above),
            source("imaging/src/a/below.rs", "use crate::b::T;"),
            source("imaging/src/b.rs", "use crate::a::U;"),
        ];
        let expected = "imaging/src/a imaging/src/a/below imaging/src/b";
        assert_eq!(names(circles::circles(&sources, &[])), [expected]);
    }
}

/// What the failure says.
fn failure(offenders: &[&str], allowed: &[&str]) -> String {
    let offenders: Vec<(String, String)> = offenders
        .iter()
        .map(|name| ((*name).to_owned(), format!("{name}, in full")))
        .collect();
    let failure = catch_unwind(|| assert_only_allowed(&offenders, allowed, "It has a reason:"));
    *failure.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn an_offender_is_told_with_the_reason() {
    assert_only_allowed(&[("a".to_owned(), "a".to_owned())], &["a"], "");
    let told = failure(&["a", "b"], &["a"]);
    assert_eq!(told, "It has a reason:\nb, in full");
}

#[test]
fn an_idle_allowance() {
    let told = failure(&["a"], &["a", "b"]);
    assert!(told.contains("not needed any more"), "{told}");
    assert!(told.ends_with("[\"b\"]"), "{told}");
}

#[test]
fn an_import_from_a_room_above() {
    let sources = [
        source("src/main.rs", "mod low; mod high;"),
        source("src/low.rs", "mod inner;"),
        source("src/low/inner.rs", "use crate::{high::Thing, low::Other};"),
        source("src/high.rs", "use crate::low::inner::Deep;"),
        source("src/new.rs", ""),
    ];
    let house = [("src/", &["low gone", "high"][..])];
    let expected = ["src/new", "src/gone", "src/low/inner → src/high"];
    assert_eq!(names(floors::upward(&sources, &house)), expected);
}

#[test]
fn an_option_in_a_library() {
    let known = ["--in-place".to_owned(), "--type".to_owned()].into();
    let text = r##"
        // --in-place
        fn f() { run(&["--type", "a"]); tell("use --in-place", r#"or "--other""#); }
    "##;
    let sources = [source("imaging/src/a.rs", text), source("src/a.rs", text)];
    let found = options::in_libraries(&sources, &known);
    assert_eq!(names(found), ["imaging/src/a.rs: --in-place"]);
}

#[test]
fn a_decorator_that_hands_on_nothing() {
    let text = "
        impl<D: ReadAt> ReadAt for Full<D> {
            fn data(&self) { if x { y() } }
            fn sha256(&self) {}
        }
        impl ReadAt for Held<'_> { fn geometry(&self) {} }
        fn sha256(x: &dyn ReadAt) { /* impl ReadAt for Nothing {} */ }
        impl crate::ReadAt for Half { fn data(&self) {} }
    ";
    let sources = [source("src/a.rs", text), source("src/a/tests.rs", text)];
    let found = names(devices::silent(&sources));
    let expected = [
        "src/a.rs: Held lacks data",
        "src/a.rs: Held lacks sha256",
        "src/a.rs: Half lacks sha256",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_test_and_an_image_that_are_not_there() {
    let safety =
        "| p | b | k | `loops::drift`, `imaging: a::tests::works`, `imaging: a::tests::fails` |\n";
    let sources = [
        source("tests/integration/loops/drift.rs", ""),
        source("imaging/src/a.rs", "mod tests { fn works() {} }"),
    ];
    let missing = names(named::missing_tests(safety, &sources));
    assert_eq!(missing, ["imaging: a::tests::fails"]);
    let files = ["INDEX.md", "ext4.img.zst", "xfs.img.zst"].map(str::to_owned);
    assert_eq!(
        names(named::missing_images("ext4: by mke2fs", &files)),
        ["xfs.img.zst"]
    );
}

#[test]
fn text_is_told_from_code() {
    let text =
        "a \"b\\\"c\" 'd' '\\'' /* e /* f */ */ r#\"g\"h\"# b\"i\" 'j: &'k l // m\nfor r in r2 {}";
    let (code, literals) = split(text);
    let found: Vec<&str> = literals
        .iter()
        .map(|literal| literal.text.as_str())
        .collect();
    assert_eq!(found, ["b\\\"c", "g\"h", "i"]);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "a", "r", "b", "'j:", "&'k", "l", "for", "r", "in", "r2", "{}"
        ]
    );
}
