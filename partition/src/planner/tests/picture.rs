//! The picture, as it looks.

use super::*;
use crate::planner::Style;

#[test]
fn a_new_drive_at_80_columns() {
    let plan = planned(&request(100 * GIB, vec![boot(), master()]))
        .unwrap()
        .plan;
    let picture = plan.picture(None, Style::default());
    assert_eq!(picture, "");
}
