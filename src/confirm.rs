//! Consent: what would be lost is shown, and its identity must be typed or given.

use crate::cli::Consent;
use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Identity;
use klon_partition::system::System;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

/// Something that is about to be overwritten.
pub struct Loss<'a> {
    /// How it is recognized, and what must be typed.
    pub identity: &'a Identity,
    /// What it is and what is on it now, several lines.
    pub description: &'a str,
}

/// Asks for consent to `loss`.
///
/// # Errors
/// A refusal that says which options give consent.
pub fn ask(loss: &Loss<'_>, consent: &Consent) -> Result<()> {
    ask_with(loss, None, consent)
}

/// Asks for consent to `loss`, for which `origin`, what it is replaced by, must be named too.
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
                "--confirm names {wrong:?}, but what would be overwritten is {}\n{}",
                loss.identity, loss.description
            )));
        }
    }
    let is_named = |identity| {
        consent
            .confirm
            .iter()
            .any(|given| is_meant(given, identity))
    };
    if consent.yes && all().all(is_named) {
        return Ok(());
    }
    if consent.yes || !io::stdin().is_terminal() {
        return Err(refused(format!(
            "this would overwrite\n{}\nTo do it, add: --yes{}",
            loss.description,
            all()
                .map(|identity| format!(" --confirm {}", quoted(identity.value())))
                .collect::<String>()
        )));
    }
    let what = format!("This will overwrite\n{}\n", loss.description);
    prompt(&what, loss.identity.value())?;
    match origin {
        Some(origin) => prompt("And what it is to be replaced by. ", origin.value()),
        None => Ok(()),
    }
}

fn prompt(what: &str, identity: &str) -> Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{what}Type {identity} to go on: ")
        .and_then(|()| stderr.flush())
        .context("asking for consent")?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("reading the answer")?;
    if answer.trim() == identity {
        return Ok(());
    }
    Err(refused(format!(
        "{:?} is not {identity:?}; nothing was written",
        answer.trim()
    )))
}

/// Asks a question on the terminal; no when there is none.
pub fn yes(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}. [y/N] ")
        .and_then(|()| stderr.flush())
        .context("asking")?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether `given` names `identity`: its value, `kind:value`, or for a file any path to it, also
/// the loop device that shows it.
pub fn is_meant(given: &str, identity: &Identity) -> bool {
    if given == identity.value() || given == identity.to_string() {
        return true;
    }
    let Identity::Path(path) = identity else {
        return false;
    };
    let given = Path::new(given);
    let shown = || System::current().and_then(|system| system.identity(given));
    given
        .canonicalize()
        .is_ok_and(|given| given == Path::new(path))
        || shown().is_ok_and(|shown| shown.as_ref() == Some(identity))
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Loss, ask};
    use crate::cli::Consent;
    use klon_partition::Identity;

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
