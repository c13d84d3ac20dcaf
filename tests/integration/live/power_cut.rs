//! The power of a machine is cut while its volume is cloned live, and right after that. What the volume lost of its last
//! seconds is no change that its files must show, so the next clone is exact or relies on nothing; needs root.
//!
//! `KLON_LIVE_CUTS` makes it longer; `scripts/soak live` sets it.

use super::writers::Writers;
use crate::support::busy::Host;
use crate::support::dice::Dice;
use crate::support::tree::Tree;
use crate::support::{Klon, LoopDevice, MIB, Mount, Outcome, image, lacks_root, run};
use klon_partition::device::{look_at, read_vec};
use klon_partition::filesystem::{Basis, usage};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SIZE_BYTES: u64 = 320 * MIB;

/// A volume on a host of its own, where its state of one instant can be kept, and a target.
struct World {
    host: Host,
    klon: Klon,
}

impl World {
    fn new(mkfs: &[&str]) -> Self {
        let klon = Klon::new();
        let host = Host::new(klon.directory());
        image::sparse(&host.path("volume"), SIZE_BYTES);
        image::sparse(&klon.path("target"), SIZE_BYTES);
        let volume = host.path("volume");
        run(mkfs[0], &[&mkfs[1..], &[volume.to_str().unwrap()]].concat());
        Self { host, klon }
    }

    fn device(&self) -> LoopDevice {
        LoopDevice::new(&self.host.path("volume"), 512)
    }

    fn mounted(&self, device: &LoopDevice) -> Mount {
        Mount::new(device.path(), &self.klon.path("mount"), "rw")
    }

    /// Clones the mounted volume. `is_kept` keeps what is frozen.
    fn clone(&self, device: &LoopDevice, is_kept: bool) -> std::process::Command {
        let target = self.klon.text("target");
        let clone = ["clone", device.text(), &target, "--yes", "--json"];
        let clone = [&clone[..], &["--freeze-max", "60s", "--audit", "none"]].concat();
        let mut command = self.klon.command(&clone);
        if is_kept {
            let (volume, frozen) = (self.host.path("volume"), self.klon.text("frozen"));
            let volume = volume.to_str().unwrap();
            let keep = format!("cp --sparse=always '{volume}' '{frozen}'");
            command.env("KLON_TEST_WHILE_FROZEN", keep);
        }
        command
    }

    fn cloned(&self, device: &LoopDevice) -> Value {
        let output = self.clone(device, true).output().unwrap();
        let summary = Outcome::new(&["live clone"], &output).expect(0).last();
        if cfg!(debug_assertions) {
            self.assert_same("frozen");
        }
        summary["volumes"][0].clone()
    }

    /// Fails unless the target has all that is in use of that state.
    fn assert_same(&self, state: &str) {
        let devices = [state, "target"].map(|name| look_at(&self.klon.path(name)).unwrap());
        let usage = usage(&devices[0]).unwrap();
        assert_eq!(usage.basis, Basis::Map, "{state}");
        let compared = usage.extents.difference(&usage.blank(&devices[0]));
        for extent in compared.iter().flat_map(|extent| extent.split(MIB)) {
            let len = usize::try_from(extent.len_bytes()).unwrap();
            let [a, b] = devices
                .each_ref()
                .map(|it| read_vec(it, extent.offset_bytes(), len).unwrap());
            assert!(a == b, "{extent} is not as it was ({state})");
        }
    }

    /// The volume is what it was when the power was cut.
    fn cut_to(&self, cut: &str) {
        fs::remove_file(self.host.path("volume")).unwrap();
        self.host.snapshot(cut, "volume");
        fs::remove_file(self.host.path(cut)).unwrap();
    }

    /// The files of a volume in a file, once the kernel has recovered a copy of it.
    fn tree(&self, volume: &str, options: &str) -> Tree {
        run("cp", &["--sparse=always", volume, &self.klon.text("copy")]);
        let mount = Mount::new(self.klon.path("copy"), &self.klon.path("there"), options);
        Tree::read(mount.path()).without_times()
    }
}

fn cuts() -> usize {
    let given = std::env::var("KLON_LIVE_CUTS").ok();
    given.map_or(1, |given| given.parse().unwrap())
}

/// Fails when a clone relied on what was known of the files before the cut. On Btrfs checksums show what is as it was, of
/// whatever instant that is.
fn relies_on_nothing(clone: &Value, mkfs: &[&str]) {
    let is_shown = mkfs[0] == "mkfs.btrfs";
    assert!(is_shown || clone["rung"] != "metadata", "{clone}");
}

fn power_cuts(mkfs: &[&str], options: &str) {
    if lacks_root() {
        return;
    }
    let world = World::new(mkfs);
    let mut dice = Dice::new(11);
    for cut in 0..cuts() {
        let first = {
            let device = world.device();
            let mount = world.mounted(&device);
            let writers = Writers::start(&fresh(&mount, cut));
            let first = world.cloned(&device);
            let began = Instant::now();
            let again = world.cloned(&device);
            assert_eq!(again["rung"], "metadata", "{again}");
            let usual = began.elapsed();
            // Right after a clone; the machine is gone, and so is all that was not durable.
            sleep(Duration::from_millis(dice.below(700) as u64));
            world.host.snapshot("volume", "after");
            // And while one goes on.
            let mut command = world.clone(&device, false);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            sleep(usual.mul_f64(dice.below(1000) as f64 / 1000.0));
            world.host.snapshot("volume", "during");
            child.kill().unwrap();
            child.wait().unwrap();
            drop(writers);
            first
        };
        assert_eq!(first["consistency"], "frozen", "{first}");
        // The volume is mounted again, and the kernel recovers it.
        world.cut_to("during");
        {
            let device = world.device();
            let _mount = world.mounted(&device);
            relies_on_nothing(&world.cloned(&device), mkfs);
        }
        // Or it is left as it is, and its journal is replayed in an overlay.
        world.cut_to("after");
        let volume = world.host.path("volume");
        let volume = volume.to_str().unwrap();
        let target = world.klon.text("target");
        let clone = world.klon.json(&["clone", volume, &target, "--yes"]);
        relies_on_nothing(&clone, mkfs);
        let [source, target] = [volume, &*target].map(|it| world.tree(it, options));
        source.assert_same(&target);
    }
}

/// A directory for the writers of a round.
fn fresh(mount: &Mount, cut: usize) -> std::path::PathBuf {
    let path = mount.path().join(format!("round-{cut}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn ext4_is_exact_or_relies_on_nothing() {
    power_cuts(&["mkfs.ext4", "-q", "-F"], "loop");
}

#[test]
fn xfs_is_exact_or_relies_on_nothing() {
    power_cuts(&["mkfs.xfs", "-q"], "loop,nouuid");
}

#[test]
fn btrfs_is_exact_or_relies_on_nothing() {
    power_cuts(&["mkfs.btrfs", "-q"], "loop");
}
