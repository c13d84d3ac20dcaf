//! Texts as LVM writes them, and what it would not.

use super::{Event, Item, Reader, Value};

/// All events, up to the end or the first error.
fn read(text: &[u8]) -> Result<Vec<Event<'_>>, String> {
    let mut reader = Reader::new(text, 0);
    let mut events = Vec::new();
    loop {
        match reader.event() {
            Ok(Event::End) => return Ok(events),
            Ok(event) => events.push(event),
            Err(corrupt) => return Err(corrupt.to_string()),
        }
    }
}

#[test]
fn sections_values_and_comments() {
    let text =
        b"# said = \"no\"\nvg-1.x+ {\nid = \"a\\\"b\"\t# {\nlist = [\"pv0\", 7, -1,\n\"\"]\n\
        empty = []\nread_ahead=-1\nf = 2.50\n}\n\0";
    let events = read(text).unwrap();
    let one = |item| Value::One(item);
    let list = vec![
        Item::Text("pv0"),
        Item::Number(7),
        Item::Number(-1),
        Item::Text(""),
    ];
    let expected = [
        Event::Open("vg-1.x+"),
        Event::Value("id", one(Item::Text("a\\\"b"))),
        Event::Value("list", Value::List(list)),
        Event::Value("empty", Value::List(Vec::new())),
        Event::Value("read_ahead", one(Item::Number(-1))),
        Event::Value("f", one(Item::Float)),
        Event::Close,
    ];
    assert_eq!(events, expected);
}

#[test]
fn what_lvm_does_not_write_is_an_error() {
    let bad: [&[u8]; 14] = [
        b"a",
        b"a =",
        b"a = b",
        b"a = \"b",
        b"a = \"b\\",
        b"a = [1 2]",
        b"a = [1",
        b"a = [1,,2]",
        b"a = 010",
        b"a = 99999999999999999999",
        b"\"a\" { }",
        b"a = \"\xff\"",
        b"a = 1\0b = 2",
        b"a/b = 1",
    ];
    for text in bad {
        assert!(read(text).is_err(), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn sections_are_skipped_however_deep() {
    let depth = 100_000;
    let text = ["a{".repeat(depth), "}".repeat(depth), "b = 1".to_owned()].concat();
    let mut reader = Reader::new(text.as_bytes(), 0);
    assert_eq!(reader.event(), Ok(Event::Open("a")));
    reader.skip().unwrap();
    let value = Value::One(Item::Number(1));
    assert_eq!(reader.event(), Ok(Event::Value("b", value)));
    let mut cut = Reader::new(b"a { b { }", 0);
    assert_eq!(cut.event(), Ok(Event::Open("a")));
    assert!(cut.skip().is_err());
}
