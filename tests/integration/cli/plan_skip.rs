//! Partitions that are left out of a plan.

use crate::support::image::{boot_disk, sparse};
use crate::support::{Klon, MIB};

#[test]
fn a_partition_of_a_source_is_left_out_where_the_user_says_so() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("drive"), 400 * MIB);
    let plan = ["plan", "--drive", "drive", "Boot=disk"];
    let skip = |what: &'static str| [&plan[..], &["--skip", what]].concat();
    let all = klon.json(&plan);
    let one = klon.json(&skip("Boot:1"));
    let names = |plan: &serde_json::Value| -> Vec<String> {
        let volumes = plan["volumes"].as_array().unwrap().iter();
        volumes.map(|it| it["name"].to_string()).collect()
    };
    assert_eq!(names(&all).len(), 2);
    assert_eq!(names(&one), names(&all)[1..]);
    for (wrong, why) in [
        ("Boot", "expected the name of a source and the number"),
        ("Data:1", "not a source of this plan"),
        ("Boot:2", "the source has no partition 2"),
    ] {
        klon.run(&skip(wrong)).expect(2).says(&[why]);
    }
    let both = [&skip("Boot:1")[..], &["--skip", "Boot:3"]].concat();
    klon.run(&both)
        .expect(2)
        .says(&["nothing of the source would remain"]);
}
