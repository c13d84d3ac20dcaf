//! Values of the text format as what a field must be: a number, a text, a list of texts.

use super::text::{Item, Reader, Value};
use crate::error::Checked;

/// A whole number that is not negative.
pub(super) fn number(reader: &Reader<'_>, field: &'static str, value: &Value<'_>) -> Checked<u64> {
    match value {
        Value::One(Item::Number(number)) => {
            u64::try_from(*number).map_err(|_| reader.corrupt(field, "0 or more", number))
        }
        _ => Err(reader.corrupt(field, "a number", "something else")),
    }
}

/// A text.
pub(super) fn text<'a>(
    reader: &Reader<'_>,
    field: &'static str,
    value: &Value<'a>,
) -> Checked<&'a str> {
    match value {
        Value::One(Item::Text(text)) => Ok(text),
        _ => Err(reader.corrupt(field, "a text", "something else")),
    }
}

/// A list of texts; LVM takes a single one for such a list.
pub(super) fn flags<'a>(reader: &Reader<'_>, value: &Value<'a>) -> Checked<Vec<&'a str>> {
    let items = match value {
        Value::One(item) => std::slice::from_ref(item),
        Value::List(items) => items,
    };
    let texts = items.iter().map(|item| match item {
        Item::Text(text) => Ok(*text),
        _ => Err(reader.corrupt("status", "texts", "something else")),
    });
    texts.collect()
}
