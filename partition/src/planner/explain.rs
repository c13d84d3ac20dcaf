//! Why volumes do not fit on a drive, and what would do.

use super::fresh;
use super::ground::Ground;
use super::new_table::name;
use super::placement::Class;
use super::request::Request;
use super::size::{human_size, human_size_at_least};
use super::slots;
use super::wanted::Wanted;
use crate::error::Error;
use crate::table::Scheme;

/// What the drive has no room for.
pub(super) struct Wish<'a> {
    /// All volumes that are wanted, as small as their filesystems are.
    pub(super) tight: &'a [Wanted],
    /// The same, as small as what fits.
    pub(super) shrunken: &'a [Wanted],
    /// Which of them are not on the drive yet.
    pub(super) is_fresh: &'a [bool],
}

/// The refusal for a wish that [`slots::find`] can't place.
pub(super) fn misfit(request: &Request, ground: &Ground, wish: &Wish<'_>) -> Error {
    let wanted = match request.options.may_shrink {
        true => wish.shrunken,
        false => wish.tight,
    };
    let fresh = &fresh(wanted, wish.is_fresh)[..];
    let mut ways = Vec::new();
    ways.extend(by_shrinking(request, ground, wish));
    ways.extend(without_one(request, ground, fresh));
    ways.extend(on_a_new_table(request, wanted));
    ways.push(elsewhere(ground, wish, wanted));
    let problem = if is_short_of_slots(ground, fresh) {
        format!(
            "the drive's {} table has too few free slots ({} of {} needed)",
            name(ground.scheme),
            slots::free(ground),
            fresh.len()
        )
    } else {
        short_of_space(ground, fresh)
    };
    Error::Refused(match &ways[..] {
        [way] => format!("{problem}. To make it fit, {way}"),
        ways => format!("{problem}. Either {}", ways.join(", or ")),
    })
}

fn is_short_of_slots(ground: &Ground, fresh: &[&Wanted]) -> bool {
    let free = slots::free(ground);
    match ground.scheme {
        Scheme::Gpt => free < fresh.len(),
        Scheme::Mbr => free == 0 && ground.extended().is_none(),
    }
}

fn short_of_space(ground: &Ground, fresh: &[&Wanted]) -> String {
    let gaps = ground.gaps();
    let sizes = gaps.iter().map(|gap| gap.extent.len_bytes());
    let logical = gaps
        .iter()
        .filter(|gap| gap.class == Class::Logical)
        .count();
    let names: Vec<String> = fresh
        .iter()
        .map(|one| format!("{} ({})", one.name, human_size(one.claim.min_bytes)))
        .collect();
    let free_bytes = sizes.clone().fold(0, u64::saturating_add);
    let places = match (gaps.len(), logical) {
        (0 | 1, 0) => String::new(),
        (count, 0) => format!(
            " in {count} places, the largest {}",
            human_size(sizes.max().unwrap_or(0))
        ),
        (count, logical) => format!(" in {count} places, {logical} of them for logical partitions"),
    };
    let limit = match ground.scheme {
        Scheme::Mbr => mbr_limit(ground),
        Scheme::Gpt => hybrid_limit(ground),
    };
    format!(
        "{} {} {}, and the drive has {} free{places}{limit}",
        names.join(", "),
        if names.len() == 1 { "needs" } else { "need" },
        human_size(needed_bytes(ground, fresh)),
        human_size(free_bytes),
    )
}

const fn mbr_reach(ground: &Ground) -> u64 {
    ground.sector_bytes.saturating_mul(1 << 32)
}

fn mbr_limit(ground: &Ground) -> String {
    let reach = mbr_reach(ground);
    if ground.size_bytes > reach {
        format!(
            " (an MBR table reaches only the first {})",
            human_size(reach)
        )
    } else {
        String::new()
    }
}

fn hybrid_limit(ground: &Ground) -> String {
    match ground.barred_bytes() {
        0 => String::new(),
        bytes => format!(
            " (and {} more, where its hybrid MBR lists partitions that its GPT does not)",
            human_size(bytes)
        ),
    }
}

fn needed_bytes(ground: &Ground, wanted: &[&Wanted]) -> u64 {
    let record_bytes = match slots::needs_boot_records(ground, wanted) {
        true => ground.alignment_bytes,
        false => 0,
    };
    let aligned = |one: &&Wanted| {
        let bytes = one.claim.min_bytes.saturating_add(one.claim.padding_bytes);
        bytes
            .checked_next_multiple_of(ground.alignment_bytes)
            .unwrap_or(u64::MAX)
            .saturating_add(record_bytes)
    };
    wanted.iter().map(aligned).fold(0, u64::saturating_add)
}

fn least_drive_bytes(ground: &Ground, wanted: &[Wanted]) -> u64 {
    let all: Vec<&Wanted> = wanted.iter().collect();
    // One unit of alignment before the first partition and one for the backup table.
    needed_bytes(ground, &all)
        .saturating_add(ground.alignment_bytes)
        .saturating_add(ground.alignment_bytes)
}

/// That it fits with filesystems made smaller, and how small they become.
fn by_shrinking(request: &Request, ground: &Ground, wish: &Wish<'_>) -> Option<String> {
    if request.options.may_shrink {
        return None;
    }
    let shrunken = fresh(wish.shrunken, wish.is_fresh);
    slots::find(&ground.without_reserve(), &shrunken)?;
    let pairs = fresh(wish.tight, wish.is_fresh).into_iter().zip(shrunken);
    let smaller = pairs.filter(|(tight, one)| one.claim.min_bytes < tight.claim.min_bytes);
    let smaller: Vec<String> = smaller
        .map(|(tight, one)| {
            format!(
                "{} from {} to {} (its least is {})",
                one.name,
                human_size(tight.claim.min_bytes),
                human_size_at_least(one.claim.min_bytes),
                human_size_at_least(one.minimum.bytes().unwrap_or(0))
            )
        })
        .collect();
    (!smaller.is_empty()).then(|| format!("let filesystems be shrunk: {}", smaller.join(", ")))
}

fn elsewhere(ground: &Ground, wish: &Wish<'_>, wanted: &[Wanted]) -> String {
    let bytes = least_drive_bytes(ground, wanted);
    if ground.scheme == Scheme::Mbr && bytes > mbr_reach(ground) {
        return "use a GPT instead of an MBR table".to_owned();
    }
    let size = human_size_at_least(bytes);
    let shrunken_bytes = least_drive_bytes(ground, wish.shrunken);
    match shrunken_bytes < bytes {
        true => format!(
            "use an empty drive of at least {size}, or of {} with filesystems shrunk",
            human_size_at_least(shrunken_bytes)
        ),
        false => format!("use an empty drive of at least {size}"),
    }
}

fn without_one(request: &Request, ground: &Ground, fresh: &[&Wanted]) -> Vec<String> {
    if request.sources.len() < 2 {
        return Vec::new();
    }
    let mut ways = Vec::new();
    for (index, source) in request.sources.iter().enumerate() {
        let (left, rest): (Vec<&Wanted>, Vec<&Wanted>) =
            fresh.iter().partition(|one| one.source_index == index);
        if !left.is_empty() && slots::find(ground, &rest).is_some() {
            let bytes = human_size(needed_bytes(ground, &left));
            ways.push(format!("plan without {} ({bytes})", source.name));
        }
    }
    ways
}

fn on_a_new_table(request: &Request, wanted: &[Wanted]) -> Option<String> {
    let kept = request.drive.table.as_ref()?;
    let mut replacing = request.clone();
    replacing.options.replace_table = true;
    let ground = Ground::of(&replacing).ok()?;
    if request.options.replace_table || kept.partitions.is_empty() {
        return None;
    }
    let all: Vec<&Wanted> = wanted.iter().collect();
    slots::find(&ground, &all)?;
    let lost = kept.partitions.iter().filter(|p| !slots::is_extended(p));
    let lost = match lost.count() {
        1 => "its partition is lost".to_owned(),
        count => format!("its {count} partitions are lost"),
    };
    Some(format!("replace the drive's table ({lost})"))
}
