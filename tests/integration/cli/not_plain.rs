//! What is no file and no disk: pipes, sockets, directories, terminals. Nothing waits for them.

use crate::support::image::ext4;
use crate::support::{Klon, run};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs klon, which must end by itself soon; its exit code, and what it says.
fn end_of(klon: &Klon, line: &str) -> (i32, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = klon.command(&words);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("klon {line} waits");
        }
        sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn nothing_waits_for_what_is_no_file() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 2);
    fs::create_dir(klon.path("empty")).unwrap();
    fs::create_dir(klon.path("thing-d")).unwrap();
    run("mkfifo", &[&klon.text("thing-p")]);
    let _socket = UnixListener::bind(klon.path("thing-s")).unwrap();
    symlink("thing-p", klon.path("thing-l")).unwrap();
    let things = [
        ("thing-p", "is a pipe"),
        ("thing-l", "is a pipe"),
        ("thing-s", "is a socket"),
        ("thing-d", "is a directory"),
        ("/dev/tty", "is a character device"),
        ("/dev/null", "is a character device"),
    ];
    for (thing, what) in things {
        for line in [
            "list X",
            "info X",
            "verify X",
            "mount X empty",
            "serve X",
            "diff X volume",
            "map X",
            "prune X --keep-last 1",
        ] {
            let line = line.replace('X', thing);
            let (code, said) = end_of(&klon, &line);
            assert_eq!(code, 2, "{line}: {said}");
            let is_clear = said.contains(what);
            assert!(
                is_clear && said.matches(thing).count() == 1,
                "{line}: {said}"
            );
        }
        // Of these others know more to say.
        for line in [
            "restore X out",
            "import X i.klon",
            "image X i.klon",
            "image volume X",
            "clone X out",
            "export X out",
            "clone volume X",
            "finish X",
            "prepare X",
        ] {
            let line = line.replace('X', thing);
            let (code, said) = end_of(&klon, &line);
            assert!([2, 3, 5].contains(&code), "{line}: {code}, {said}");
            assert!(said.contains(thing), "{line}: {said}");
        }
    }
    // A map of blocks beside a packed file, a map of a rescue.
    run("gzip", &["-k", &klon.text("volume")]);
    run("mkfifo", &[&klon.text("volume.bmap")]);
    for line in [
        "import volume.gz p.klon",
        "clone volume out --rescue=thing-p",
    ] {
        let (code, said) = end_of(&klon, line);
        assert!(
            code != 0 && said.contains("is a pipe"),
            "{line}: {code}, {said}"
        );
    }
    assert_eq!(klon.names("out"), [""; 0]);
}

#[test]
fn man_pages_follow_no_link() {
    let klon = Klon::new();
    fs::create_dir(klon.path("pages")).unwrap();
    fs::write(klon.path("precious"), "precious").unwrap();
    for page in ["klon.1", "klon-clone.1"] {
        symlink(klon.path("precious"), klon.path("pages").join(page)).unwrap();
    }
    klon.ok(&["man", "pages"]);
    assert_eq!(fs::read(klon.path("precious")).unwrap(), b"precious");
    for page in ["klon.1", "klon-clone.1", "klon-prune.1"] {
        let page = klon.path("pages").join(page);
        assert!(page.symlink_metadata().unwrap().is_file(), "{page:?}");
        assert!(fs::read_to_string(page).unwrap().contains(".TH klon"));
    }
    assert!(!klon.path("pages/klon-man.1").exists());
}

#[test]
fn a_time_zone_is_local_or_utc() {
    let klon = Klon::new();
    let both = ["list", "i.klon", "--local", "--utc"];
    klon.run(&both).expect(2).says(&["cannot be used with"]);
}
