//! What was found, what is missing and what could not be looked at, in a list of bounded length.

use crate::human;
use anyhow::Result;
use klon_partition::Error;
use serde::Serialize;

/// The most findings that are listed. The others are only counted.
const LISTED_MAX: usize = 1000;
/// The most characters of one finding. Names on a disk may be as long as its configurations.
const TEXT_CHARS_MAX: usize = 1000;

/// What is known of one thing that a boot needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Found,
    /// It is not.
    Missing,
    /// It could not be looked at.
    Unknown,
    /// It need not be there.
    Note,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What is known of it.
    pub state: State,
    /// What it is.
    pub text: String,
}

/// All that was looked for.
#[derive(Debug, Default)]
pub struct Report {
    listed: Vec<Finding>,
    /// How many are not listed, and how many of those are missing and unknown.
    left_out: usize,
    missing_left_out: usize,
    unknown_left_out: usize,
}

impl Report {
    /// Notes one thing. What was said just before is not said again.
    pub fn add(&mut self, state: State, text: &str) {
        let is_last = |last: &Finding| last.state == state && last.text == text;
        if self.listed.last().is_some_and(is_last) {
            return;
        }
        if self.listed.len() < LISTED_MAX {
            self.list(state, text);
            return;
        }
        self.left_out += 1;
        self.missing_left_out += usize::from(state == State::Missing);
        self.unknown_left_out += usize::from(state == State::Unknown);
    }

    fn list(&mut self, state: State, text: &str) {
        let text = match text.char_indices().nth(TEXT_CHARS_MAX) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        };
        self.listed.push(Finding { state, text });
    }

    /// Notes what is there.
    pub fn found(&mut self, text: &str) {
        self.add(State::Found, text);
    }

    /// Notes what is not there.
    pub fn missing(&mut self, text: &str) {
        self.add(State::Missing, text);
    }

    /// Notes what could not be looked at.
    pub fn unknown(&mut self, text: &str) {
        self.add(State::Unknown, text);
    }

    /// Notes what need not be there.
    pub fn note(&mut self, text: &str) {
        self.add(State::Note, text);
    }

    /// What was read of `what`. What klon can't read for other reasons than a device that fails is unknown; `None`
    /// then.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read<T>(
        &mut self,
        what: &str,
        read: klon_partition::error::Result<T>,
    ) -> Result<Option<T>> {
        match read {
            Ok(it) => Ok(Some(it)),
            Err(error @ Error::Io { .. }) => Err(error.into()),
            Err(error) => {
                self.unknown(&format!("{what} can't be read: {error}"));
                Ok(None)
            }
        }
    }

    /// Ends the list: says how much more there is.
    pub fn end(&mut self) {
        if self.left_out > 0 {
            let others = human::count(self.left_out, "more finding");
            let missing = human::count(self.missing_left_out, "missing thing");
            let text = format!("{others} than are listed, among them {missing}");
            self.list(State::Unknown, &text);
        }
    }

    /// The findings in the order in which they were made.
    pub fn findings(&self) -> &[Finding] {
        &self.listed
    }

    /// How many there are in a state, listed or not.
    pub fn count(&self, state: State) -> usize {
        let listed = self.listed.iter().filter(|it| it.state == state).count();
        listed
            + match state {
                State::Missing => self.missing_left_out,
                State::Unknown => self.unknown_left_out,
                State::Found | State::Note => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::{LISTED_MAX, Report, State, TEXT_CHARS_MAX};
    use klon_partition::Error;

    #[test]
    fn what_is_not_listed_is_counted() {
        let mut report = Report::default();
        for number in 0..LISTED_MAX {
            let text = number.to_string();
            report.found(&text);
            report.found(&text);
        }
        report.missing("what boots");
        report.unknown("what may");
        report.unknown("what may not");
        report.end();
        assert_eq!(report.count(State::Missing), 1);
        // With the one that says so.
        assert_eq!(report.count(State::Unknown), 3);
        assert_eq!(report.findings().len(), LISTED_MAX + 1);
        let last = report.findings().last().unwrap();
        assert_eq!(
            last.text,
            "3 more findings than are listed, among them 1 missing thing"
        );
    }

    #[test]
    fn a_finding_is_no_longer_than_people_read() {
        let mut report = Report::default();
        report.missing(&"ü".repeat(1 << 20));
        assert_eq!(
            report.findings()[0].text.chars().count(),
            TEXT_CHARS_MAX + 1
        );
        report.end();
        assert_eq!(report.findings().len(), 1);
    }

    #[test]
    fn only_a_device_that_fails_ends_the_search() {
        let mut report = Report::default();
        let refused = || Error::Refused("no".to_owned());
        assert_eq!(report.read("a", Ok(7)).unwrap(), Some(7));
        assert_eq!(report.read::<u8>("b", Err(refused())).unwrap(), None);
        assert_eq!(report.findings()[0].text, "b can't be read: refused: no");
        let io = Error::Io {
            operation: klon_partition::error::Operation::Read,
            offset_bytes: 0,
            len_bytes: 1,
            source: std::io::Error::other("gone"),
        };
        assert!(report.read::<u8>("c", Err(io)).is_err());
    }
}
