//! Two at once: whoever ends well is in the image, and the other has touched nothing.

use crate::support::image::ext4;
use crate::support::tool::signal;
use crate::support::{Klon, run};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Each pair begins with another of the two, and a little apart.
const PAIRS: u64 = 14;

fn begin(klon: &Klon, arguments: &[&str]) -> Child {
    let mut command = klon.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Two volumes that differ, and one of them as qcow2.
fn sources() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("a"), 8, 1);
    ext4(&klon.path("b"), 8, 1);
    let (raw, packed) = (klon.text("b"), klon.text("b.qcow2"));
    run("qemu-img", &["convert", "-O", "qcow2", &raw, &packed]);
    klon
}

/// Runs both at once, many times; after each, every snapshot of those that ended well is found by
/// `names`, whole and restored as it was.
fn race(klon: &Klon, commands: [&[&str]; 2], names: &[&str]) {
    let mut both = 0;
    for pair in 0..PAIRS {
        for name in klon.names("z.klon") {
            fs::remove_file(klon.path(&name)).unwrap();
        }
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut children = order.map(|index| {
            let child = begin(klon, commands[index]);
            std::thread::sleep(Duration::from_micros(pair / 2 * 300));
            (index, child)
        });
        let mut well = Vec::new();
        for (index, child) in &mut children {
            let code = child.wait().unwrap().code();
            assert!(matches!(code, Some(0 | 3)), "pair {pair}: {code:?}");
            if code == Some(0) {
                well.push(["a", "b"][*index]);
            }
        }
        both += usize::from(well.len() == 2);
        let mut found = 0;
        for name in names.iter().filter(|name| {
            let first = format!("{name}.000");
            klon.path(name).exists() || klon.path(&first).exists()
        }) {
            klon.ok(&["verify", name]);
            let count = klon.ok(&["list", name, "--json"]).lines().len();
            found += count;
        }
        assert_eq!(found, well.len(), "pair {pair}: {:?}", klon.names("z.klon"));
        if let [only] = well[..] {
            klon.ok(&["export", "z.klon", "out", "--force"]);
            klon.ok(&["verify", "z.klon", only]);
        }
    }
    println!("{both} of {PAIRS} pairs ended well both");
}

#[test]
fn two_first_runs_into_one_file() {
    let klon = sources();
    let [a, b] = ["a", "b"].map(|source| ["image", source, "z.klon"]);
    race(&klon, [&a, &b], &["z.klon"]);
}

#[test]
fn two_first_runs_into_parts() {
    let klon = sources();
    let [a, b] = ["a", "b"].map(|source| ["image", source, "z.klon", "--split", "256K"]);
    race(&klon, [&a, &b], &["z.klon"]);
}

#[test]
fn one_into_parts_and_one_into_a_file_of_the_same_name() {
    let klon = sources();
    let a = ["image", "a", "z.klon", "--split", "256K"];
    race(&klon, [&a, &["image", "b", "z.klon"]], &["z.klon"]);
}

#[test]
fn an_import_and_a_first_run() {
    let klon = sources();
    let a = ["image", "a", "z.klon"];
    race(&klon, [&a, &["import", "b.qcow2", "z.klon"]], &["z.klon"]);
}

#[test]
fn two_exports_to_one_name_and_two_clones_to_one_new_file() {
    let klon = sources();
    klon.ok(&["image", "a", "a.klon"]);
    klon.ok(&["image", "b", "b.klon"]);
    for (verb, sources) in [("export", ["a.klon", "b.klon"]), ("clone", ["a", "b"])] {
        for pair in 0..PAIRS {
            let _ = fs::remove_file(klon.path("out"));
            let mut children = sources.map(|source| begin(&klon, &[verb, source, "out"]));
            let codes = children
                .each_mut()
                .map(|child| child.wait().unwrap().code());
            let well: Vec<usize> = (0..2).filter(|&index| codes[index] == Some(0)).collect();
            assert!(well.len() == 1, "{verb}, pair {pair}: {codes:?}");
            // All of it is of the one that ended well.
            klon.ok(&["verify", sources[well[0]], "out"]);
        }
        assert_eq!(klon.names("out"), ["out"]);
        assert!(klon.names(".klon-").is_empty());
    }
}

#[test]
fn two_servers_at_one_socket_that_an_earlier_one_has_left() {
    let klon = sources();
    klon.ok(&["image", "a", "a.klon"]);
    let socket = klon.path("socket");
    for pair in 0..4 {
        let _ = fs::remove_file(&socket);
        drop(UnixListener::bind(&socket).unwrap());
        let serve = ["serve", "a.klon", "--socket", "socket"];
        let mut children = [begin(&klon, &serve), begin(&klon, &serve)];
        let ended = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            let codes = children.each_mut().map(|child| child.try_wait().unwrap());
            codes.iter().position(Option::is_some)
        });
        let ended = ended.expect("one of them is refused");
        assert_eq!(children[ended].wait().unwrap().code(), Some(3), "{pair}");
        let other = &mut children[1 - ended];
        assert!(other.try_wait().unwrap().is_none(), "{pair}");
        // Its socket is still the one of that name.
        UnixStream::connect(&socket).unwrap();
        signal(other, Signal::SIGTERM);
        other.wait().unwrap();
        assert!(!socket.exists());
    }
}
