//! Consent that is typed at a terminal.

use crate::support::Klon;
use crate::support::image::ext4;
use crate::support::terminal::typed;
use std::fs;

#[test]
fn only_the_identity_typed_at_the_terminal_is_consent() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 24, 1);
    let before = fs::read(klon.path("target")).unwrap();
    for answer in ["", "yes", "source"] {
        let (code, shown) = typed(&klon, "target", answer, || ());
        assert_eq!(code, 3, "{shown}");
        assert!(shown.contains("This will overwrite") && shown.contains("ext4 \"target\""));
        assert!(shown.contains("nothing was written"), "{shown}");
        assert!(fs::read(klon.path("target")).unwrap() == before, "{answer}");
    }
    let (code, shown) = typed(&klon, "target", &klon.text("target"), || ());
    assert_eq!(code, 0, "{shown}");
    klon.ok(&["verify", "target", "source"]);
}
