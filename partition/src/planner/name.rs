//! Names of clone volumes: `BootClone`, `BootClone-ESP`, `MasterClone-2026-11-21`.

use super::request::SourceVolume;
use super::role::Role;
use crate::error::{Error, Result};
use crate::text::{has_foreign_bytes, plain, quoted};

/// UTF-16 code units of a GPT partition name (UEFI 5.3.3: 72 bytes).
pub(super) const NAME_UNITS_MAX: usize = 36;

/// Checks a name that a user gives a source.
///
/// # Errors
/// [`Error::Invalid`] saying what names may be.
pub fn check_name(name: &str) -> Result<()> {
    let is_foreign = has_foreign_bytes(name);
    let name = &*plain(name);
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.trim() != name {
        "it begins or ends with white space"
    } else if name.starts_with('.') || name.starts_with('-') {
        "it begins with a dot or a dash"
    } else if is_foreign {
        "it is not UTF-8"
    } else if name.chars().any(|c| c.is_control() || c == '/' || c == '=') {
        "it has a slash, an equals sign or a control character"
    } else if name.encode_utf16().count() > NAME_UNITS_MAX {
        "it is longer than the 36 characters of a partition name"
    } else {
        return Ok(());
    };
    Err(Error::Invalid(format!(
        "{} can't be a name: {problem}. Use a short word, as in Boot or Master",
        quoted(name)
    )))
}

/// Checks a date stamp: `2026-11-21`.
pub(super) fn check_date_stamp(stamp: &str) -> Result<()> {
    let fields: Vec<&str> = stamp.split('-').collect();
    let number = |index: usize, digits: usize| {
        fields
            .get(index)
            .filter(|field| field.len() == digits && field.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|field| field.parse::<u32>().ok())
    };
    let is_date = fields.len() == 3
        && number(0, 4).is_some()
        && number(1, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(2, 2).is_some_and(|day| (1..=31).contains(&day));
    if is_date {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{} is not a date stamp: expected a date as in 2026-11-21",
        quoted(stamp)
    )))
}

/// The names of the clones of a source's `volumes`, in their order: the main one is called after
/// the source alone, the others also after what they are for or, failing that, their number.
pub(super) fn clone_names(
    name: &str,
    date_stamp: Option<&str>,
    volumes: &[(&SourceVolume, Role)],
    main: usize,
) -> Result<Vec<String>> {
    let base = match date_stamp {
        Some(stamp) => format!("{name}Clone-{stamp}"),
        None => format!("{name}Clone"),
    };
    let suffix = |index: usize| -> String {
        let (volume, role) = volumes[index];
        let number = volume
            .number
            .map_or_else(|| (index + 1).to_string(), |number| number.to_string());
        let alike = volumes.iter().filter(|(_, other)| *other == role).count();
        match role.suffix() {
            Some(suffix) if alike == 1 => suffix.to_owned(),
            Some(suffix) => format!("{suffix}{number}"),
            None => number,
        }
    };
    let names: Vec<String> = (0..volumes.len())
        .map(|index| match index == main {
            true => base.clone(),
            false => format!("{base}-{}", suffix(index)),
        })
        .collect();
    let longest = names
        .iter()
        .map(|name| plain(name).encode_utf16().count())
        .max();
    if longest.unwrap_or(0) > NAME_UNITS_MAX {
        return Err(Error::Invalid(format!(
            "the name {} is too long: its partitions would be called {}, and a partition's \
             name has at most {NAME_UNITS_MAX} characters",
            quoted(name),
            names.join(", ")
        )));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{check_date_stamp, check_name};

    #[test]
    fn names_are_short_words() {
        for name in ["Boot", "Master", "Büro 2", "a.b"] {
            check_name(name).unwrap();
        }
        let long = "x".repeat(37);
        for name in ["", " a", "a/b", "a\nb", "..", "-x", "a=b", &long] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_date_stamp_is_a_date() {
        check_date_stamp("2026-11-21").unwrap();
        for stamp in [
            "",
            "today",
            "2026-13-01",
            "2026-1-1",
            "26-11-21",
            "2026-11-21-x",
            "2026-11-+1",
        ] {
            assert!(check_date_stamp(stamp).is_err(), "{stamp:?}");
        }
    }
}
