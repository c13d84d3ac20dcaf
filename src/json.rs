//! JSON on one line, safe for terminals, with every name in it.

use klon_partition::text::{has_foreign_bytes, is_printable, plain, printable, unsealed};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// Names as they are; those that are not UTF-8 as JSON.md says.
///
/// # Errors
/// Those of `serde_json`, for an object that JSON can't say.
pub fn text(object: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(object)?;
    if text.is_ascii() && !text.contains('\x7f') {
        return Ok(text);
    }
    let text = if plain(&text) == text && !has_foreign_bytes(&text) {
        text
    } else {
        serde_json::to_string(&told(serde_json::to_value(object)?))?
    };
    Ok(escaped(&text))
}

/// Outside of the strings of JSON there is nothing but ASCII.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c.encode_utf8(&mut [0; 4])) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Into a string that can't fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// What is sealed in strings as it was. Beside a member that is not UTF-8, another one has its
/// bytes.
fn told(value: Value) -> Value {
    match value {
        Value::String(text) if has_foreign_bytes(&text) => Value::String(printable(&text)),
        Value::String(text) => Value::String(plain(&text)),
        Value::Array(values) => values.into_iter().map(told).collect(),
        Value::Object(members) => {
            let mut all = Map::new();
            for (name, value) in members {
                match value {
                    Value::String(text) if has_foreign_bytes(&text) => {
                        let bytes = unsealed(&text);
                        all.insert(format!("{name}_bytes"), hex(bytes.as_bytes()).into());
                        let text = String::from_utf8_lossy(bytes.as_bytes()).into_owned();
                        all.insert(name, text.into());
                    }
                    value => drop(all.insert(name, told(value))),
                }
            }
            Value::Object(all)
        }
        value => value,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use klon_partition::text::sealed_bytes;
    use serde_json::{Value, json};

    #[test]
    fn json_has_names_as_they_are() {
        let name = "/a\\b\n\u{1b}\u{9b}\u{202e}\u{fc}";
        let text = super::text(&json!({"path": sealed_bytes(name.as_bytes()), "size": u64::MAX}));
        let text = text.unwrap();
        assert!(
            !text.chars().any(char::is_control) && !text.contains('\u{202e}'),
            "{text}"
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({"path": name, "size": u64::MAX}));
    }

    #[test]
    fn names_that_are_not_utf_8_are_told_apart() {
        let of = |name: &[u8]| {
            let name = sealed_bytes(name);
            let text = super::text(&json!({"files": [{"path": name.clone()}], "gaps": [name]}));
            text.unwrap()
        };
        let text = of(b"/\xffa");
        let expected = "{\"files\":[{\"path\":\"/\u{fffd}a\",\"path_bytes\":\"2fff61\"}],\
                        \"gaps\":[\"/\\\\xffa\"]}";
        assert_eq!(text, expected);
        let names = [
            &b"/\xff"[..],
            b"/\xfe",
            b"/\\xff",
            "/\u{fffd}".as_bytes(),
            "/\u{10feff}".as_bytes(),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(
                names[..index].iter().all(|other| of(other) != of(name)),
                "{name:?}"
            );
        }
    }
}
