//! What a user is told of the state that an image was found in.

use crate::human;
use crate::messages::say;
use klon_imaging::image::Image;

/// Says what is not as it should be at the end of an image.
pub fn warn(image: &Image) {
    if let Some(damage) = image.header_damage() {
        say(&format!(
            "klon: warning: the image's header is damaged ({damage}). The image can be read, but not added to. \
             klon prune --compact makes a sound image of it"
        ));
    }
    let tail = image.tail();
    if let Some(damage) = &tail.damage {
        say(&format!(
            "klon: warning: the image's last commit can't be read ({damage}). An earlier state of \
             the image is shown"
        ));
    }
    let torn_bytes = image.size_bytes().saturating_sub(tail.end);
    if torn_bytes > 0 && tail.damage.is_none() {
        say(&format!(
            "klon: an interrupted run left {} behind the last snapshot; the next `klon image` goes \
             on from there",
            human::size(torn_bytes)
        ));
    }
}
