//! What is on a clone made larger: its partition, up to what is behind it, and the filesystem in it, by the
//! filesystem's own tool. The source stays as it is; the record of the clone says that it was grown.

mod carry_out;
mod look;
pub mod node;
pub mod tool;

pub use carry_out::{Done, carry_out, settle};
pub use look::{Growing, Outlook, look};

use crate::human;
use klon_imaging::record::Growth;

/// A sentence on what was made larger on a clone since its record; `None` when nothing was.
pub fn told(grown: &[Growth]) -> Option<String> {
    let last = grown.last()?;
    let of = match last.partition {
        Some(number) => format!("partition {number} of it"),
        None => "it".to_owned(),
    };
    let sizes = format!(
        "from {} to {}",
        human::size(last.from_bytes),
        human::size(last.to_bytes)
    );
    let date = human::date(last.began_unix_seconds);
    Some(match last.is_complete {
        true => format!("{of} was grown {sizes} on {date}, after the clone"),
        false => format!(
            "someone began to grow {of} {sizes} on {date}, after the clone, and that was not completed (`klon \
             grow` completes it)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::told;
    use klon_imaging::record::Growth;

    #[test]
    fn a_growth_is_told_in_a_sentence() {
        let mut growth = Growth {
            began_unix_seconds: 0,
            partition: Some(2),
            from_bytes: 10 << 20,
            to_bytes: 20 << 20,
            is_complete: true,
        };
        let text = told(&[growth.clone()]).unwrap();
        assert!(
            text.starts_with("partition 2 of it was grown from 10"),
            "{text}"
        );
        growth.is_complete = false;
        let text = told(&[growth]).unwrap();
        assert!(text.contains("not completed"), "{text}");
        assert_eq!(told(&[]), None);
    }
}
