//! The ledger of a machine that really boots: clean ends and power cuts, in a guest. Its init is a shell
//! that calls the ledger as systemd does.

use crate::support::image::sparse;
use crate::support::{Klon, MIB, lacks_root, run};
use std::fs;
use std::path::Path;

const START: &str = r#"
export KLON_LEDGER=/state/klon/ledger KLON_RECORDS=/tmp/records
mkdir -p /etc /state /data
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
mount -t ext4 /dev/vda /state
klon ledger boot
mount -t xfs /dev/vdb /data
klon ledger status --json
"#;

/// Nothing is marked as long as something is mounted or open; then all is marked.
const CLEAN: &str = r#"
code=0; klon ledger shutdown || code=$?; echo "mounted: $code"
umount /data
exec 3>/state/open
code=0; klon ledger shutdown || code=$?; echo "open: $code"
klon ledger status --json
exec 3>&-
klon ledger shutdown
echo x 2>&1 >/state/x || echo "read-only"
mount | grep /state
"#;

fn guest(klon: &Klon, script: &str) -> String {
    fs::write(klon.path("script"), format!("{START}{script}")).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guest");
    let files = ["script", "state", "data"].map(|name| klon.text(name));
    let mut arguments = vec![
        "--modules",
        "ext4 xfs",
        "--with",
        env!("CARGO_BIN_EXE_klon"),
    ];
    arguments.extend(files.iter().map(String::as_str));
    run(program.to_str().unwrap(), &arguments)
}

#[test]
fn a_guest_that_is_cut_off_is_counted_and_one_that_is_shut_down_is_not() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("state"), 32 * MIB);
    run("mkfs.ext4", &["-q", &klon.text("state")]);
    sparse(&klon.path("data"), 400 * MIB);
    run("mkfs.xfs", &["-q", &klon.text("data")]);
    let said = guest(&klon, CLEAN);
    let expected = [
        "A new ledger begins",
        r#""unclean_count":0"#,
        "mounted: 3",
        "/data can still be written to",
        "open: 4",
        "/state: can't be made read-only",
        "The ledger has the mark",
        "read-only",
    ];
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let mut is_covered = said.matches(r#""is_covered":true"#);
    assert_eq!(is_covered.by_ref().count(), 2, "{said}");
    // The first one ended cleanly, and this one does not.
    let said = guest(&klon, "echo x >/data/x\n");
    assert!(
        said.contains("The boot before this one ended cleanly"),
        "{said}"
    );
    assert!(
        said.contains(r#""unclean_count":0,"boots_count":2"#),
        "{said}"
    );
    let said = guest(&klon, "sync\n");
    assert!(said.contains("now counted 1 unclean shutdown"), "{said}");
    assert!(
        said.contains(r#""unclean_count":1,"boots_count":1"#),
        "{said}"
    );
}
