//! First and repeat clones killed at random moments: what is left is refused as unfinished, or
//! exact; the next run goes on, and little is written twice.
//!
//! `KLON_KILLS` and `KLON_KILL_MIB` make it longer and larger; `scripts/kill-sweep` sets them.

mod records;

use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use klon_imaging::mark::Mark;
use klon_partition::device::look_at;
use klon_partition::filesystem::usage;
use klon_partition::{ExtentMap, ReadAt};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn setting(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().unwrap())
}

/// Numbers without a pattern, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .take(len)
            .collect()
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 40) as f64 / (1_u64 << 24) as f64
    }
}

struct Sweep {
    klon: Klon,
    noise: Noise,
    /// The source as it was cloned last, with what it used; `None` before the first clone.
    before: Option<(File, ExtentMap)>,
    kills: u64,
    is_on_loop: bool,
}

impl Sweep {
    fn new(is_on_loop: bool) -> Self {
        let klon = Klon::new();
        let size_bytes = setting("KLON_KILL_MIB", 320) * MIB;
        File::create(klon.path("source"))
            .unwrap()
            .set_len(size_bytes)
            .unwrap();
        run("mkfs.ext4", &["-q", "-b", "4096", &klon.text("source")]);
        let mut sweep = Self {
            klon,
            noise: Noise(0x9e37_79b9_7f4a_7c15),
            before: None,
            kills: 0,
            is_on_loop,
        };
        sweep.write_files(0..size_bytes / MIB / 16, 8 * MIB as usize);
        sweep
    }

    fn source(&self) -> String {
        self.klon.text("source")
    }

    /// Writes files of so many bytes to the source.
    fn write_files(&mut self, numbers: std::ops::Range<u64>, len: usize) {
        let device = LoopDevice::new(&self.klon.path("source"), 512);
        let mount = Mount::new(device.path(), &self.klon.path("mnt"), "rw");
        for number in numbers {
            let content = self.noise.bytes(len);
            fs::write(mount.path().join(number.to_string()), content).unwrap();
        }
    }

    /// The bytes and the used extents of the source now.
    fn now(&self) -> (File, ExtentMap) {
        let device = look_at(&self.klon.path("source")).unwrap();
        let used = usage(&device).unwrap();
        // The log of an empty journal is zero on a clone.
        let used = used.extents.difference(&used.blank(&device));
        (File::open(self.klon.path("source")).unwrap(), used)
    }

    /// Keeps the source as it is now.
    fn keep(&mut self) {
        let (source, kept) = (self.source(), self.klon.text("before"));
        run("cp", &["--sparse=always", &source, &kept]);
        let (_, used) = self.now();
        self.before = Some((File::open(kept).unwrap(), used));
    }

    /// Kills clones to `target` until one completes or there were enough; whether one did.
    fn kill(&mut self, target: &str, until: u64, lasts: Duration) -> bool {
        while self.kills < until {
            let mut command = self.klon.command(&["clone", "source", target, "--quiet"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut process = command.spawn().unwrap();
            sleep(lasts.mul_f64(self.noise.share() * 1.1));
            if let Some(status) = process.try_wait().unwrap() {
                let output = process.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(status.success(), "{status}: {said}");
                return true;
            }
            process.kill().unwrap();
            process.wait().unwrap();
            self.kills += 1;
            self.check(target);
        }
        false
    }

    /// Unfinished and refused, or exact: the earlier clone or the new one.
    fn check(&self, target: &str) {
        let path = self.klon.path(target);
        let device = look_at(&path).unwrap();
        if Mark::read(&device).unwrap().is_some() {
            self.klon
                .refused(&["verify", target], &["was not finished"]);
            return;
        }
        let is_old = match &self.before {
            Some((source, used)) => is_equal(used, source, &path),
            // Not yet begun.
            None => klon_partition::filesystem::probe(&device)
                .unwrap()
                .is_none(),
        };
        let (source, used) = self.now();
        assert!(is_old || is_equal(&used, &source, &path), "{target}");
    }

    /// One change of the source, cloned with kills and without.
    fn episode(&mut self, targets: [&str; 2], until: u64) -> [u64; 2] {
        let [killed, spared] = targets;
        let before = targets.map(|target| self.written(target));
        let begun = Instant::now();
        self.klon.ok(&["clone", "source", spared, "--quiet"]);
        let lasts = begun.elapsed();
        if !self.kill(killed, until, lasts) {
            self.klon.ok(&["clone", "source", killed, "--quiet"]);
        }
        let (source, used) = self.now();
        for target in targets {
            assert!(
                is_equal(&used, &source, &self.klon.path(target)),
                "{target}"
            );
            self.klon.ok(&["verify", target]);
        }
        let after = targets.map(|target| self.written(target));
        [after[0] - before[0], after[1] - before[1]]
    }

    /// Bytes written to a target so far; 0 for a file, which counts none.
    fn written(&self, target: &str) -> u64 {
        if !self.is_on_loop {
            return 0;
        }
        let name = Path::new(target).file_name().unwrap().to_str().unwrap();
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        stat.split_whitespace()
            .nth(6)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 512
    }

    fn run(&mut self, targets: [&str; 2], kills: u64) {
        let mut sum = [0_u64; 2];
        let mut episodes = 0;
        while self.kills < kills {
            let written = self.episode(targets, kills);
            sum = [sum[0] + written[0], sum[1] + written[1]];
            self.keep();
            episodes += 1;
            let files = episodes * 3..episodes * 3 + 3;
            self.write_files(files, MIB as usize);
        }
        let [killed, spared] = sum;
        println!(
            "{} kills in {episodes} clones: {killed} bytes written, {spared} without kills",
            self.kills
        );
        let is_little = killed as f64 <= spared as f64 * 1.3;
        assert!(is_little, "{killed} bytes instead of {spared}");
    }
}

fn is_equal(used: &ExtentMap, source: &File, target: &Path) -> bool {
    let target = File::open(target).unwrap();
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    used.iter()
        .flat_map(|extent| extent.split(1 << 20))
        .all(|piece| {
            let len = piece.len_bytes() as usize;
            source
                .read_exact_at(&mut a[..len], piece.offset_bytes())
                .unwrap();
            target
                .read_exact_at(&mut b[..len], piece.offset_bytes())
                .unwrap();
            a[..len] == b[..len]
        })
}

#[test]
fn killed_clones_to_loop_devices_are_unfinished_or_exact() {
    if lacks_root() {
        return;
    }
    let mut sweep = Sweep::new(true);
    let size_bytes = look_at(&sweep.klon.path("source"))
        .unwrap()
        .geometry()
        .size_bytes;
    let devices = ["killed", "spared"].map(|name| {
        File::create(sweep.klon.path(name))
            .unwrap()
            .set_len(size_bytes)
            .unwrap();
        LoopDevice::new(&sweep.klon.path(name), 512)
    });
    let targets = [devices[0].text().to_owned(), devices[1].text().to_owned()];
    sweep.run([&targets[0], &targets[1]], setting("KLON_KILLS", 24) / 2);
}

#[test]
fn killed_clones_to_files_are_unfinished_or_exact() {
    if lacks_root() {
        return;
    }
    let mut sweep = Sweep::new(false);
    sweep.run(["killed", "spared"], setting("KLON_KILLS", 24) / 2);
}
