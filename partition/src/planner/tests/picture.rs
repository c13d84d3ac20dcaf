//! The picture, as it looks.

use super::*;
use crate::planner::Style;

fn lines(plan: &Plan, current: Option<&Table>, style: Style) -> Vec<String> {
    let picture = plan.picture(current, style);
    assert!(picture.ends_with('\n'));
    picture.lines().map(str::to_owned).collect()
}

#[test]
fn a_new_drive_at_80_columns() {
    let request = request(100 * GIB, vec![boot(), master()]);
    let plan = planned(&request).unwrap().plan;
    assert_eq!(
        plan.picture(None, Style::default()),
        "\
serial:WD-WX11   100 GiB   new GPT, sectors of 512 bytes
┌─┬───────────────┬──────────────────────────────┬─────────────────────────────┐
│1│ 2 BootClone   │ 3 MasterClone                │ free                        │
└─┴───────────────┴──────────────────────────────┴─────────────────────────────┘
#  Name           Source                        Size     Used  Filesystem  State
1  BootClone-ESP  serial:S4EWNX0M #1         512 MiB  128 MiB  fat32       new
2  BootClone      serial:S4EWNX0M #2          20 GiB    5 GiB  ext4        new
3  MasterClone    partuuid:par…d-of-Master    40 GiB   10 GiB  ext4        new
   free                                     39.4 GiB
"
    );
}

#[test]
fn a_drive_in_use_in_ascii() {
    let first = request(100 * GIB, vec![data("Old", 30 * GIB), boot()]);
    let old = planned(&first).unwrap().plan;
    let mut second = again(&first, &old);
    second.sources = vec![boot(), data("Archive", 25 * GIB)];
    let plan = super::plan(&second, &mut ids(99)).unwrap().plan;
    let style = Style {
        width: 76,
        is_ascii: true,
    };
    assert_eq!(
        plan.picture(second.drive.table.as_ref(), style),
        "\
serial:WD-WX11   100 GiB   GPT kept, sectors of 512 bytes
+---------------------+-+--------------+-----------------+-----------------+
| 1 OldClone          |2| 3 BootClone  | 4 ArchiveClone  | free            |
+---------------------+-+--------------+-----------------+-----------------+
#  Name           Source                   Size      Used  Filesystem  State
1  OldClone                              30 GiB                        kept
2  BootClone-ESP  serial:S4EWNX0M #1    512 MiB   128 MiB  fat32       there
3  BootClone      serial:S4EWNX0M #2     20 GiB     5 GiB  ext4        there
4  ArchiveClone   partuuid:~f-Archive    25 GiB  6.25 GiB  ext4        new
   free                                24.4 GiB
"
    );
}

#[test]
fn any_width_holds_and_nothing_from_a_disk_reaches_the_terminal_raw() {
    let mut sources: Vec<SourceRequest> = (0..60).map(|n| data(&format!("V{n}"), GIB)).collect();
    sources.push(data("Größe", 5 * GIB));
    let first = request(100 * GIB, sources);
    let mut plan = planned(&first).unwrap().plan;
    plan.volumes[0].source.identity = Identity::Path("/x\u{1b}[2J/y".to_owned());
    for width in [0, 40, 57, 80, 200] {
        for is_ascii in [false, true] {
            let lines = lines(&plan, None, Style { width, is_ascii });
            let widest = lines.iter().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() <= width.max(68), "{width}: {widest:?}");
            assert!(!lines.concat().contains('\u{1b}'));
            let bar = &lines[1..4];
            assert!(bar.iter().all(|line| line.chars().count() == width.max(40)));
        }
    }
}
