//! LVM's configuration text as a stream: sections, and values in them.
//!
//! lvm2, `libdm/libdm-config.c`: `name { … }`, `name = value`, `name = [ value, … ]`, comments
//! from `#` to the end of the line. What LVM never writes (quoted names of sections, values
//! without quotes) is an error here.

use crate::error::{Checked, Corrupt};

const STRUCTURE: &str = "LVM2 metadata";
/// No list that LVM writes has more.
const ITEMS_MAX: usize = 1 << 16;

/// The next thing in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A section of this name starts.
    Open(&'a str),
    /// The innermost section ends.
    Close,
    /// A value in the innermost section.
    Value(&'a str, Value<'a>),
    /// The text ends.
    End,
}

/// A value of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    One(Item<'a>),
    List(Vec<Item<'a>>),
}

/// A single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Number(i64),
    /// Without its quotes, backslashes as they stand.
    Text(&'a str),
    /// A number that is not whole.
    Float,
}

/// Reads a text from start to end.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the text starts on the device, for messages.
    offset_bytes: u64,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a [u8], offset_bytes: u64) -> Self {
        Self {
            text,
            at: 0,
            offset_bytes,
        }
    }

    /// Says that `field` is not as it must be, at about this place of the text.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        let found = format!("{found} (before byte {} of the text)", self.at);
        Corrupt::new(STRUCTURE, field, self.offset_bytes, expected, found)
    }

    /// The next section, end of one, or value.
    ///
    /// # Errors
    /// What is not in the text's syntax.
    pub(super) fn event(&mut self) -> Checked<Event<'a>> {
        match self.peek() {
            None => {
                // A single NUL ends the text.
                let rest = self.text.get(self.at..).unwrap_or_default();
                if rest.iter().any(|&byte| byte != 0) {
                    return Err(self.corrupt("end", "nothing after a NUL", "more"));
                }
                Ok(Event::End)
            }
            Some(b'}') => {
                self.bump();
                Ok(Event::Close)
            }
            Some(_) => self.named(),
        }
    }

    /// Passes over what is left of a section that was just opened.
    pub(super) fn skip(&mut self) -> Checked {
        let mut depth = 1_usize;
        while depth > 0 {
            depth = match self.event()? {
                Event::Open(_) => depth + 1,
                Event::Close => depth - 1,
                Event::Value(..) => depth,
                Event::End => return Err(self.corrupt("section", "its end", "the text's end")),
            };
        }
        Ok(())
    }

    fn named(&mut self) -> Checked<Event<'a>> {
        let name = self.name()?;
        match self.peek() {
            Some(b'{') => {
                self.bump();
                Ok(Event::Open(name))
            }
            Some(b'=') => {
                self.bump();
                Ok(Event::Value(name, self.value()?))
            }
            _ => Err(self.corrupt("section", "= or { after a name", "neither")),
        }
    }

    fn name(&mut self) -> Checked<&'a str> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        let name = self.take(is_part);
        if name.is_empty() {
            return Err(self.corrupt("section", "a name", "another character"));
        }
        Ok(name)
    }

    fn value(&mut self) -> Checked<Value<'a>> {
        if self.peek() != Some(b'[') {
            return self.item().map(Value::One);
        }
        self.bump();
        let mut items = Vec::new();
        while self.peek() != Some(b']') {
            if items.len() >= ITEMS_MAX {
                let expected = format!("at most {ITEMS_MAX} values");
                return Err(self.corrupt("array", expected, "more"));
            }
            items.push(self.item()?);
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b']') => (),
                _ => return Err(self.corrupt("array", ", or ]", "neither")),
            }
        }
        self.bump();
        Ok(Value::List(items))
    }

    fn item(&mut self) -> Checked<Item<'a>> {
        if self.peek() == Some(b'"') {
            return self.quoted().map(Item::Text);
        }
        let digits = self.take(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
        if digits.contains('.') && digits.parse::<f64>().is_ok() {
            return Ok(Item::Float);
        }
        // LVM takes a number with a leading zero for an octal one, and writes none.
        let is_plain = digits == "0" || !digits.trim_start_matches(['+', '-']).starts_with('0');
        match digits.parse() {
            Ok(number) if is_plain => Ok(Item::Number(number)),
            _ => Err(self.corrupt("value", "a number or a text in quotes", "neither")),
        }
    }

    fn quoted(&mut self) -> Checked<&'a str> {
        self.bump();
        let start = self.at;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at = self.at.saturating_add(2),
                Some(0) | None => return Err(self.corrupt("value", "a closing quote", "none")),
                Some(_) => self.bump(),
            }
        }
        let text = self.slice(start)?;
        self.bump();
        Ok(text)
    }

    /// The longest run of bytes that `is_part` takes.
    fn take(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|&byte| is_part(byte)) {
            self.bump();
        }
        self.slice(start).unwrap_or_default()
    }

    fn slice(&self, start: usize) -> Checked<&'a str> {
        let bytes = self.text.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| self.corrupt("value", "UTF-8", "other bytes"))
    }

    /// The next byte that is neither space nor comment; `None` at the end.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                0 => return None,
                b'#' => {
                    let is_on = |byte: &u8| !matches!(byte, b'\n' | 0);
                    while self.text.get(self.at).is_some_and(is_on) {
                        self.bump();
                    }
                }
                byte if byte.is_ascii_whitespace() || byte == 0x0b => self.bump(),
                byte => return Some(byte),
            }
        }
    }

    const fn bump(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
