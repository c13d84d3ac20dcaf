//! Consent: what would be lost is shown, and its identity must be typed or given.

use crate::cli::Consent;
use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Identity;
use klon_partition::system::System;
use klon_partition::text;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Something that is about to be overwritten.
pub struct Loss<'a> {
    /// How it is recognized, and what must be typed.
    pub identity: &'a Identity,
    /// What it is and what is on it now, several lines.
    pub description: &'a str,
}

/// What the user is asked before a volume is overwritten.
pub struct Question {
    /// How what would be lost is recognized.
    pub identity: Identity,
    /// What replaces it, where the user must name that, too.
    pub origin: Option<Identity>,
    /// What it is and what is on it now, several lines.
    pub description: String,
}

impl Question {
    /// Asks it.
    ///
    /// # Errors
    /// As [`ask`].
    pub fn ask(&self, consent: &Consent) -> Result<()> {
        let loss = Loss {
            identity: &self.identity,
            description: &self.description,
        };
        ask_with(&loss, self.origin.as_ref(), consent)
    }

    /// Whether options answer it already.
    pub fn is_answered(&self, consent: &Consent) -> bool {
        consent.yes
            && self
                .identities()
                .all(|identity| is_named(identity, consent))
    }

    /// Which identities must be named.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        std::iter::once(&self.identity).chain(&self.origin)
    }
}

/// Asks for consent to `loss`.
///
/// # Errors
/// A refusal that says which options give consent.
pub fn ask(loss: &Loss<'_>, consent: &Consent) -> Result<()> {
    ask_with(loss, None, consent)
}

/// Asks for consent to `loss`. The user must also name `origin`, what the lost thing is replaced by.
///
/// # Errors
/// A refusal that says which options give consent.
pub fn ask_with(loss: &Loss<'_>, origin: Option<&Identity>, consent: &Consent) -> Result<()> {
    let all = || std::iter::once(loss.identity).chain(origin);
    if let Some(wrong) = consent
        .confirm
        .iter()
        .find(|given| !all().any(|identity| is_meant(given, identity)))
    {
        // One wrong identity among several may belong to another target of the same run.
        if !consent
            .confirm
            .iter()
            .any(|given| all().any(|identity| is_meant(given, identity)))
        {
            return Err(refused(format!(
                "--confirm names {}, but what would be overwritten is {}\n{}",
                text::quoted(wrong),
                loss.identity,
                loss.description
            )));
        }
    }
    if consent.yes && all().all(|identity| is_named(identity, consent)) {
        return Ok(());
    }
    if consent.yes || !io::stdin().is_terminal() {
        return Err(refused(format!(
            "this would overwrite\n{}\nTo do it, add: {}",
            loss.description,
            options(all())
        )));
    }
    let what = format!("This will overwrite\n{}\n", loss.description);
    prompt(&what, loss.identity.value())?;
    match origin {
        Some(origin) => prompt("And type what replaces it. ", origin.value()),
        None => Ok(()),
    }
}

/// The options that give consent to what has these identities.
pub fn options<'a>(identities: impl Iterator<Item = &'a Identity>) -> String {
    let named = identities.map(|identity| format!(" --confirm {}", quoted(identity.value())));
    format!("--yes{}", named.collect::<String>())
}

fn is_named(identity: &Identity, consent: &Consent) -> bool {
    let mut given = consent.confirm.iter();
    given.any(|given| is_meant(given, identity))
}

fn prompt(what: &str, identity: &str) -> Result<()> {
    let answer = answer(&format!("{what}Type {identity} to go on: "))?;
    if answer == identity.trim() || text::plain(&answer) == text::printable(identity) {
        return Ok(());
    }
    Err(refused(format!(
        "{} is not {}. Nothing was written",
        text::quoted(&answer),
        text::quoted(identity)
    )))
}

/// Asks on the terminal; the line that is typed, without blanks around it.
fn answer(question: &str) -> Result<String> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{}", text::printable_lines(question))
        .and_then(|()| stderr.flush())
        .context("asking for consent")?;
    let mut answer = Vec::new();
    io::stdin()
        .lock()
        .read_until(b'\n', &mut answer)
        .context("reading the answer")?;
    Ok(text::sealed_bytes(answer.trim_ascii()))
}

/// Asks a question on the terminal; no when there is none.
///
/// # Errors
/// When the terminal can't be read.
pub fn yes(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let answer = answer(&format!("{question}. [y/N] "))?;
    Ok(matches!(&*answer, "y" | "Y" | "yes"))
}

/// Whether `given` names `identity`: its value, `kind:value`, either of them as it is printed, or for
/// a file any path to it, also the loop device that shows the file.
pub fn is_meant(given: &str, identity: &Identity) -> bool {
    let printed = text::plain(given);
    let names = [identity.value().clone(), identity.to_string()];
    if names
        .iter()
        .any(|name| given == name || printed == text::printable(name))
    {
        return true;
    }
    let Identity::Path(path) = identity else {
        return false;
    };
    let given = text::unsealed(given);
    let given = Path::new(&given);
    let shown = || System::current().and_then(|system| system.identity(given));
    given
        .canonicalize()
        .is_ok_and(|given| given == Path::new(&text::unsealed(path)))
        || shown().is_ok_and(|shown| shown.as_ref() == Some(identity))
}

/// Sealed text as a word of a shell's command, printable.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if text::is_printable(word) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // As bash, zsh and POSIX of 2024 have it.
    let mut quoted = String::from("$'");
    for c in word.chars() {
        let one = c.to_string();
        match c {
            '\'' => quoted.push_str(r"\'"),
            _ if text::is_printable(&one) => quoted.push(c),
            _ => {
                let bytes = text::unsealed(&one);
                let byte = |byte: &u8| format!("\\{byte:03o}");
                quoted.extend(bytes.as_bytes().iter().map(byte));
            }
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{Loss, ask, is_meant, quoted};
    use crate::cli::Consent;
    use klon_partition::{Identity, text};
    use std::process::Command;

    fn consent(yes: bool, confirm: &[&str]) -> Consent {
        Consent {
            yes,
            confirm: confirm.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    #[test]
    fn only_yes_with_the_right_identity_is_consent() {
        let identity = Identity::Serial("S1".to_owned());
        let loss = Loss {
            identity: &identity,
            description: "a disk",
        };
        assert!(ask(&loss, &consent(true, &["S1"])).is_ok());
        assert!(ask(&loss, &consent(true, &["serial:S1"])).is_ok());
        assert!(ask(&loss, &consent(true, &["S2", "S1"])).is_ok());
        for wrong in [
            consent(true, &[]),
            consent(true, &["S2"]),
            consent(true, &["s1"]),
        ] {
            let error = ask(&loss, &wrong).unwrap_err().to_string();
            assert!(error.contains("S1") && error.contains("a disk"), "{error}");
        }
    }

    #[test]
    fn a_word_is_what_the_shell_reads() {
        let names = [
            &b"/backup/drive.img"[..],
            b"",
            b"it's a drive",
            b"a\nb\\c'd$(id)`id`",
            b"\x1b[2J7",
            b"caf\xe97",
            "\u{202e}x\u{a0}ü".as_bytes(),
        ];
        for name in names {
            let word = quoted(&text::sealed_bytes(name));
            assert!(text::is_printable(&word), "{word}");
            let command = format!("printf %s {word}");
            let said = Command::new("bash")
                .args(["-c", &command])
                .output()
                .unwrap();
            assert_eq!(said.stdout, name, "{word}");
        }
    }

    #[test]
    fn what_is_printed_may_be_given() {
        let identity = Identity::Path(text::sealed_bytes(b"/x\n\xff"));
        for given in ["/x\\n\\xff", "path:/x\\n\\xff"] {
            assert!(is_meant(&text::sealed(given), &identity));
        }
        assert!(is_meant(&text::sealed_bytes(b"/x\n\xff"), &identity));
        assert!(!is_meant(&text::sealed("/x\\n\\xfe"), &identity));
    }

    #[test]
    fn a_path_may_be_given_in_any_form() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file
            .path()
            .canonicalize()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let identity = Identity::Path(path.clone());
        let loss = Loss {
            identity: &identity,
            description: "a file",
        };
        let roundabout = format!(
            "{}/./{}",
            file.path().parent().unwrap().display(),
            file.path().file_name().unwrap().to_string_lossy()
        );
        assert!(ask(&loss, &consent(true, &[&roundabout])).is_ok());
    }
}
