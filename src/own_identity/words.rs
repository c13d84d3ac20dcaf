//! Names in the text of configurations: which of them stand for something that has another name on the clone. Pure.

use klon_imaging::record::{Named, OwnName};

/// As long as a UUID is written: nothing else looks like one.
const UUID_LEN: usize = 36;

/// What stands right before a shorter name where it is one.
const TAGS: [&str; 4] = ["uuid=", "by-uuid/", "by-partuuid/", "luks-"];

/// The text with the names of the clone, which are as long, and those that were in it; `None` where none is.
pub(super) fn renamed<'a>(
    text: &[u8],
    names: &'a [OwnName],
) -> Option<(Vec<u8>, Vec<&'a OwnName>)> {
    let mut new = text.to_vec();
    let mut found = Vec::new();
    for name in names.iter().filter(|name| is_clear(name, names)) {
        let from = name.from.as_bytes();
        let mut is_there = false;
        for at in places(text, from) {
            if !is_one(text, at, name) {
                continue;
            }
            is_there = true;
            let end = at.saturating_add(from.len());
            let is_upper = text.get(at..end).is_some_and(is_upper);
            for (byte, own) in new.iter_mut().skip(at).zip(name.to.bytes()) {
                *byte = match (
                    is_upper,
                    name.from.as_bytes().iter().any(u8::is_ascii_lowercase),
                ) {
                    (true, true) => own.to_ascii_uppercase(),
                    _ => own,
                };
            }
        }
        if is_there {
            found.push(name);
        }
    }
    (!found.is_empty()).then_some((new, found))
}

/// Whether any of the names is in the bytes, as text or as text of 16 bits a letter.
pub(super) fn names_any(bytes: &[u8], names: &[OwnName]) -> bool {
    let uuids = names.iter().filter(|name| name.from.len() == UUID_LEN);
    uuids.into_iter().any(|name| {
        let narrow = name.from.as_bytes();
        let wide: Vec<u8> = narrow.iter().flat_map(|&byte| [byte, 0]).collect();
        places(bytes, narrow).next().is_some() || places(bytes, &wide).next().is_some()
    })
}

/// Whether a name stands for one thing alone, and its new form fits in its place.
fn is_clear(name: &OwnName, names: &[OwnName]) -> bool {
    let same = |other: &&OwnName| other.from.eq_ignore_ascii_case(&name.from);
    name.from.len() == name.to.len()
        && names.iter().filter(same).all(|other| other.to == name.to)
        // The signature of a disk is short, and nothing starts or mounts by it.
        && (name.of != Named::Disk || name.from.len() == UUID_LEN)
}

/// Where `sought` is in `text`, whatever its case.
fn places<'a>(text: &'a [u8], sought: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = text.windows(sought.len().max(1)).enumerate();
    let found = windows.filter(move |(_, window)| window.eq_ignore_ascii_case(sought));
    found.map(|(at, _)| at)
}

/// Whether what is at `at` is that name, and not a part of something longer. A short one must be where a name
/// is expected.
fn is_one(text: &[u8], at: usize, name: &OwnName) -> bool {
    let end = at.saturating_add(name.from.len());
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if text.get(end).is_some_and(is_part) {
        return false;
    }
    let before = text.get(..at).unwrap_or_default();
    if before.last().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    name.from.len() == UUID_LEN || is_expected(text, before)
}

/// Whether a name is expected behind `before`: behind a tag, or as a word of a line that searches by UUID.
fn is_expected(text: &[u8], before: &[u8]) -> bool {
    let bare = match before.split_last() {
        Some((b'"' | b'\'', rest)) => rest,
        _ => before,
    };
    let lower = bare.to_ascii_lowercase();
    if TAGS.iter().any(|tag| lower.ends_with(tag.as_bytes())) {
        return true;
    }
    let line = text.get(before.len()..).unwrap_or_default();
    let line_end = line.iter().position(|&byte| byte == b'\n');
    let start = before.iter().rposition(|&byte| byte == b'\n');
    let start = start.map_or(0, |at| at.saturating_add(1));
    let end = before.len().saturating_add(line_end.unwrap_or(line.len()));
    let line = text.get(start..end).unwrap_or_default();
    let is_word = bare.last().is_none_or(u8::is_ascii_whitespace);
    let searches = |word: &[u8]| line.windows(word.len()).any(|it| it == word);
    is_word && (searches(b"--fs-uuid") || searches(b"search.fs_uuid"))
}

fn is_upper(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_uppercase) && !text.iter().any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::{names_any, renamed};
    use klon_imaging::record::{Named, OwnName};

    const OLD: &str = "0a1b2c3d-1111-2222-3333-0123456789ab";
    const NEW: &str = "f0f1f2f3-4444-8555-8666-ba9876543210";

    fn name(of: Named, from: &str, to: &str) -> OwnName {
        OwnName {
            of,
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn names() -> Vec<OwnName> {
        vec![
            name(Named::Filesystem, OLD, NEW),
            name(Named::Filesystem, "ABCD-1234", "0F1E-2D3C"),
            name(Named::Partition, "0badcafe-02", "12345678-02"),
            name(Named::Disk, "0badcafe", "12345678"),
        ]
    }

    fn text_of(text: &str) -> Option<String> {
        let names = names();
        let (new, _) = renamed(text.as_bytes(), &names)?;
        Some(String::from_utf8(new).unwrap())
    }

    #[test]
    fn a_uuid_is_renamed_wherever_it_stands() {
        for text in [
            "UUID={} / ext4 defaults 0 1",
            "/dev/disk/by-uuid/{} /",
            "  search --no-floppy --fs-uuid --set=root {}\n",
            "linux /vmlinuz root=UUID={} ro",
            "rd.luks.name=luks-{}",
            "RESUME=\"UUID={}\"",
        ] {
            let found = text_of(&text.replace("{}", OLD)).unwrap();
            assert_eq!(found, text.replace("{}", NEW), "{text}");
        }
        let upper = format!("PARTUUID={}", OLD.to_ascii_uppercase());
        assert_eq!(
            text_of(&upper).unwrap(),
            format!("PARTUUID={}", NEW.to_ascii_uppercase())
        );
    }

    #[test]
    fn a_part_of_something_longer_is_no_name() {
        for text in [
            format!("x{OLD}"),
            format!("{OLD}0"),
            format!("{OLD}-1"),
            String::new(),
        ] {
            assert_eq!(text_of(&text), None, "{text}");
        }
    }

    #[test]
    fn a_short_name_is_one_where_a_name_is_expected() {
        assert_eq!(
            text_of("UUID=ABCD-1234 /boot/efi vfat").unwrap(),
            "UUID=0F1E-2D3C /boot/efi vfat"
        );
        let search = "search.fs_uuid ABCD-1234 root hd0,gpt1\nset prefix=x";
        assert_eq!(
            text_of(search).unwrap(),
            search.replace("ABCD-1234", "0F1E-2D3C")
        );
        assert_eq!(
            text_of("root=PARTUUID=0badcafe-02 rw").unwrap(),
            "root=PARTUUID=12345678-02 rw"
        );
        for text in [
            "ABCD-1234 is a phone number",
            "PARTUUID=0badcafe-021",
            "0badcafe",
            "PARTUUID=0badcafe-03",
        ] {
            assert_eq!(text_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_could_stand_for_two_things_stays() {
        let both = [
            name(Named::Filesystem, OLD, NEW),
            name(Named::Partition, OLD, &NEW.replace('f', "e")),
        ];
        assert!(renamed(OLD.as_bytes(), &both).is_none());
    }

    #[test]
    fn programs_are_searched_in_both_widths() {
        let wide: Vec<u8> = OLD.bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(names_any(&wide, &names()) && names_any(OLD.as_bytes(), &names()));
        assert!(!names_any(NEW.as_bytes(), &names()));
    }
}
