//! Retention by dates, under clocks that are wrong now and then, and where the user is.

use crate::support::image::ext4;
use crate::support::{Klon, Outcome};
use std::process::Command;

/// Central European Time, as a rule that needs no database of zones.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Runs klon when it is `time` in UTC, as far as it can tell; in the time zone `zone`.
fn run_at(klon: &Klon, time: &str, zone: &str, arguments: &[&str]) -> Outcome {
    let plain = klon.command(arguments);
    let mut command = Command::new("faketime");
    command.arg("-f").arg(format!("@{time}"));
    command.arg(plain.get_program()).args(plain.get_args());
    let environment = plain.get_envs();
    command.envs(environment.filter_map(|(name, value)| Some((name, value?))));
    // The time that is asked for is read in the zone of the program.
    command.env("TZ", zone).current_dir(klon.directory());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("faketime is needed for this test: {error}"));
    Outcome::new(arguments, &output).expect(0)
}

/// An image with a snapshot at each of these times.
fn imaged(times: &[&str], zone: &str) -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 16, 1);
    for time in times {
        run_at(&klon, time, zone, &["image", "source", "i.klon", "-q"]);
    }
    klon
}

/// The numbers that remain.
fn numbers(klon: &Klon) -> Vec<u64> {
    let lines = klon.ok(&["list", "i.klon", "--json"]).lines();
    let number = |line: &serde_json::Value| line["snapshot"].as_u64().unwrap();
    lines.iter().map(number).collect()
}

fn pruned(klon: &Klon, zone: &str, rules: &[&str]) -> Vec<u64> {
    let arguments = [&["prune", "i.klon", "--yes", "-q"], rules].concat();
    run_at(klon, "2026-08-01 00:00:00", zone, &arguments);
    numbers(klon)
}

#[test]
fn a_clock_that_goes_back_and_forth_counts_no_day_twice() {
    let days = [
        "03-01", "03-02", "03-03", "03-02", "03-03", "03-02", "03-03",
    ];
    let times: Vec<String> = (10..)
        .zip(days)
        .map(|(hour, day)| format!("2026-{day} {hour}:00:00"))
        .collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    let klon = imaged(&times, "UTC");
    assert_eq!(pruned(&klon, "UTC", &["--keep-daily", "3"]), [1, 6, 7]);
}

#[test]
fn neither_a_week_nor_a_month() {
    let times = [
        "2026-05-04 10:00:00", // a Monday
        "2026-05-11 10:00:00",
        "2026-05-05 10:00:00", // back
        "2026-05-12 10:00:00",
        "2026-04-28 10:00:00", // further back
    ];
    let klon = imaged(&times, "UTC");
    assert_eq!(pruned(&klon, "UTC", &["--keep-weekly", "2"]), [3, 4, 5]);
    let klon = imaged(&times, "UTC");
    assert_eq!(pruned(&klon, "UTC", &["--keep-monthly", "2"]), [4, 5]);
}

#[test]
fn dates_that_cannot_be_take_no_real_days_place() {
    let times = [
        "2026-05-01 10:00:00",
        "2026-05-02 10:00:00",
        "2034-01-01 10:00:00", // a clock that was set wrong
        "2035-01-01 10:00:00",
        "1970-01-02 00:10:00", // a machine whose clock has no battery
        "2019-01-01 10:00:00",
        "2026-05-03 10:00:00",
    ];
    let klon = imaged(&times, "UTC");
    // As many of the others are kept by themselves, as nobody knows what they are worth.
    assert_eq!(pruned(&klon, "UTC", &["--keep-daily", "2"]), [2, 3, 4, 7]);
}

#[test]
fn days_are_those_of_the_users_place_unless_utc_is_asked_for() {
    // In UTC on three days, in Berlin on two: before and after midnight there.
    let times = [
        "2026-06-01 01:30:00",
        "2026-06-01 23:30:00",
        "2026-06-02 00:30:00",
    ];
    let klon = imaged(&times, BERLIN);
    let shown = run_at(&klon, "2026-07-01 00:00:00", BERLIN, &["list", "i.klon"]);
    shown.shows(&["2026-06-01 01:30 +02:00", "2026-06-02 00:30 +02:00"]);
    let shown = run_at(
        &klon,
        "2026-07-01 00:00:00",
        BERLIN,
        &["list", "i.klon", "--utc"],
    );
    shown.shows(&["2026-05-31 23:30 UTC", "2026-06-01 22:30 UTC"]);
    let line = ["info", "i.klon@1", "--utc"];
    run_at(&klon, "2026-07-01 00:00:00", BERLIN, &line).shows(&["2026-05-31 23:30 UTC"]);
    let dry = ["prune", "i.klon", "--keep-daily", "2", "--dry-run"];
    run_at(&klon, "2026-07-01 00:00:00", BERLIN, &dry).shows(&["days: local time"]);
    let dry = [&dry[..], &["--utc"]].concat();
    run_at(&klon, "2026-07-01 00:00:00", BERLIN, &dry).shows(&["days: UTC"]);
    let both = ["prune", "i.klon", "--keep-daily", "9", "--local", "--utc"];
    klon.run(&both).expect(2).says(&["cannot be used with"]);
    let rules = ["--keep-daily", "9", "--utc"];
    assert_eq!(pruned(&klon, BERLIN, &rules), [1, 3]);
    let klon = imaged(&times, BERLIN);
    assert_eq!(pruned(&klon, BERLIN, &["--keep-daily", "9"]), [2, 3]);
}

#[test]
fn days_of_23_and_25_hours_are_days() {
    let times = [
        "2026-03-28 23:59:00",
        "2026-03-29 00:01:00", // summer time begins at 2
        "2026-03-29 23:59:00",
        "2026-03-30 00:01:00",
    ];
    let klon = imaged(&times, BERLIN);
    assert_eq!(pruned(&klon, BERLIN, &["--keep-daily", "9"]), [1, 3, 4]);
}
