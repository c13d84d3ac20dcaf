//! Clones that are smaller than the filesystems of their sources.

use super::*;
use crate::planner::{PlannedVolume, Warning};

fn with_minimum(mut asked: SourceRequest, index: usize, minimum: Minimum) -> SourceRequest {
    asked.source.volumes[index].minimum = minimum;
    asked
}

fn sized(mut asked: SourceRequest, size: &str) -> SourceRequest {
    asked.size = size.parse().unwrap();
    asked
}

/// `Master`, of 40 GiB, which can be made as small as 10 GiB.
fn small_master(size: &str) -> SourceRequest {
    sized(with_minimum(master(), 0, Minimum::Known(10 * GIB)), size)
}

fn only(proposal: &Proposal) -> &PlannedVolume {
    &proposal.plan.volumes[0]
}

#[test]
fn fit_is_the_minimum_and_a_tenth_and_the_plan_says_so() {
    let proposal = planned(&request(100 * GIB, vec![small_master("fit")])).unwrap();
    let volume = only(&proposal);
    assert_eq!(volume.extent.len_bytes(), 11 * GIB);
    assert!(volume.is_shrunk && volume.least_bytes.is_none());
    assert_eq!(volume.minimum_bytes, Some(10 * GIB));
    let sizes = &proposal.sizes[0];
    assert_eq!((sizes.size_bytes, sizes.source_bytes), (11 * GIB, 40 * GIB));
    assert_eq!(
        (sizes.used_bytes, sizes.minimum_bytes),
        (Some(10 * GIB), Some(10 * GIB))
    );
    assert!(sizes.is_shrunk && sizes.minimum_unknown_because.is_none());
    let is_it = |one: &Warning| matches!(one, Warning::Shrunk { .. });
    let told = proposal
        .warnings
        .iter()
        .find(|one| is_it(one))
        .unwrap()
        .to_string();
    for part in [
        "MasterClone gets 11 GiB",
        "ext4",
        "40 GiB",
        "as small as 10 GiB",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let text = proposal.plan.to_toml().unwrap();
    assert!(text.contains("is_shrunk = true") && text.contains("minimum_bytes = 10737418240"));
    assert_eq!(Plan::from_toml(&text).unwrap(), proposal.plan);
}

#[test]
fn of_a_disk_that_is_to_fit_all_volumes_for_files_become_smaller_that_can() {
    let known = |bytes| Minimum::Known(bytes);
    let boot = with_minimum(boot(), 0, known(100 * MIB));
    let boot = with_minimum(boot, 1, known(4 * GIB));
    let plan = planned(&request(100 * GIB, vec![sized(boot, "fit")]))
        .unwrap()
        .plan;
    let sizes: Vec<u64> = plan
        .volumes
        .iter()
        .map(|it| it.extent.len_bytes() / MIB)
        .collect();
    assert_eq!(
        sizes,
        [512, 4506],
        "what is there for booting stays as it is"
    );
    assert!(!plan.volumes[0].is_shrunk && plan.volumes[1].is_shrunk);
}

#[test]
fn what_can_not_become_smaller_is_refused_with_the_way_out() {
    let never = Minimum::Never("an XFS can't be made smaller. Make a new one".to_owned());
    let message = refusal(&request(
        100 * GIB,
        vec![sized(with_minimum(master(), 0, never.clone()), "fit")],
    ));
    for part in [
        "Master",
        "XFS can't be made smaller",
        "Make a new one",
        "at least 40 GiB",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = refusal(&request(
        100 * GIB,
        vec![sized(with_minimum(master(), 0, never), "20G")],
    ));
    assert!(message.contains("XFS can't be made smaller"), "{message}");
    let unknown = Minimum::Unknown("the program resize2fs is missing".to_owned());
    let message = refusal(&request(
        100 * GIB,
        vec![sized(with_minimum(master(), 0, unknown), "fit")],
    ));
    for part in ["not known how small", "resize2fs is missing"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_size_may_be_as_small_as_the_minimum() {
    let proposal = planned(&request(100 * GIB, vec![small_master("12G")])).unwrap();
    assert!(only(&proposal).is_shrunk && only(&proposal).extent.len_bytes() == 12 * GIB);
    let message = refusal(&request(100 * GIB, vec![small_master("9G")]));
    assert!(message.contains("can be shrunk to"), "{message}");
    assert!(message.contains("at least 10 GiB"), "{message}");
    // Of which it is not known it may be tried, and the plan warns.
    let unknown = Minimum::Unknown("only for root".to_owned());
    let asked = sized(with_minimum(master(), 0, unknown), "12G");
    let proposal = planned(&request(100 * GIB, vec![asked.clone()])).unwrap();
    let told: String = proposal.warnings.iter().map(ToString::to_string).collect();
    assert!(
        told.contains("not known") && told.contains("only for root"),
        "{told}"
    );
    // Not smaller than what is in use.
    assert!(refusal(&request(100 * GIB, vec![sized(asked, "9G")])).contains("in use"));
}

#[test]
fn a_drive_that_is_too_small_says_what_would_fit() {
    let request = request(20 * GIB, vec![small_master("match")]);
    let message = refusal(&request);
    for part in [
        "let filesystems be shrunk: MasterClone from 40 GiB to 11 GiB (its least is 10 GiB)",
        "with filesystems shrunk",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let mut shrinking = request.clone();
    shrinking.options.may_shrink = true;
    let proposal = planned(&shrinking).unwrap();
    let volume = only(&proposal);
    assert!(volume.is_shrunk);
    let size_bytes = volume.extent.len_bytes();
    assert!(
        size_bytes > 19 * GIB,
        "it takes what room there is: {size_bytes}"
    );
    // Where the drive has room for all, nothing is shrunk.
    shrinking.drive.geometry = Geometry::new(100 * GIB, 512);
    assert!(!only(&planned(&shrinking).unwrap()).is_shrunk);
    // Where not even that fits.
    shrinking.drive.geometry = Geometry::new(5 * GIB, 512);
    assert!(
        refusal(&shrinking).contains("at least 11"),
        "{}",
        refusal(&shrinking)
    );
}

#[test]
fn a_clone_that_fits_is_found_again_though_its_source_has_filled_up() {
    let first = request(100 * GIB, vec![small_master("fit")]);
    let plan = planned(&first).unwrap().plan;
    let mut next = again(&first, &plan);
    assert_eq!(planned(&next).unwrap().plan.volumes, plan.volumes);
    next.sources[0].source.volumes[0].minimum = Minimum::Known(11 * GIB - MIB);
    let fuller = planned(&next).unwrap().plan;
    assert_eq!(fuller.volumes[0].extent, plan.volumes[0].extent);
    next.sources[0].source.volumes[0].minimum = Minimum::Known(12 * GIB);
    assert!(
        refusal(&next).contains("12 GiB are needed"),
        "{}",
        refusal(&next)
    );
}

#[test]
fn a_plan_that_was_edited_keeps_to_its_minimum() {
    let plan = planned(&request(100 * GIB, vec![small_master("fit")]))
        .unwrap()
        .plan;
    let mut small = plan.clone();
    small.volumes[0].extent = Extent::new(MIB, 9 * GIB).unwrap();
    let message = small.check().unwrap_err().to_string();
    assert!(message.contains("can be shrunk to"), "{message}");
    let mut large = plan.clone();
    large.volumes[0].extent = Extent::new(MIB, 41 * GIB).unwrap();
    assert!(large.check().unwrap_err().to_string().contains("is_shrunk"));
    let mut whole = plan;
    whole.volumes[0].is_shrunk = false;
    assert!(
        whole
            .check()
            .unwrap_err()
            .to_string()
            .contains("the source's")
    );
}
