//! Plan files.

use klon_partition::planner::{Plan, Style};

/// Reads `data` as a plan file.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(plan) = Plan::from_toml(&text) else {
        return;
    };
    // TOML ends at 8 EiB.
    if let Ok(text) = plan.to_toml() {
        let again = Plan::from_toml(&text).expect("a plan that was just written");
        assert_eq!(again, plan);
    }
    let table = plan.table(None);
    let _ = plan.changes(None);
    for (width, is_ascii) in [(0, true), (80, false), (1000, false)] {
        let _ = plan.picture(None, Style { width, is_ascii });
    }
    for volume in &plan.volumes {
        assert!(volume.extent.end_bytes() <= plan.drive.size_bytes);
        assert!(volume.extent.len_bytes() >= volume.source_bytes);
        let _ = plan.target(volume);
    }
    if let Ok(table) = table {
        let _ = plan.changes(Some(&table));
        let _ = plan.table(Some(&table));
    }
}
