//! Reasons to take nothing of a volume for proven. Two looks at the volume tell them.

use klon_partition::filesystem::Instance;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What is known of a volume as a whole at the time of a run. It is kept with what the run keeps of
/// the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Which filesystem it is; `None` where klon doesn't tell it apart.
    pub instance: Option<Instance>,
    /// A count that writes to it make larger (`Filesystem::age`).
    pub age: Option<u64>,
    /// Whether it was clean, by its own records.
    pub is_clean: bool,
    /// When the run looked at it: seconds since 1970 by this machine's clock.
    pub seen: u64,
    /// What shows that no power cut came in between; `None` without a ledger.
    pub continuity: Option<Continuity>,
    /// The runs in which klon wrote to the volume as to a target, by the records at hand.
    #[serde(default)]
    pub written_by: Vec<Uuid>,
    /// How it was mounted, where the run brought it to rest; `None` of one that was not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// A filesystem that is mounted, told apart from the same one mounted again.
///
/// A mount has its number to itself as long as the system runs. Where one was there both times, the
/// filesystem was never let go in between: no power cut, no shutdown after a failed write, no repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Its mounts, by the numbers that the kernel never gives twice (`STATX_MNT_ID_UNIQUE`).
    pub mounts: Vec<u64>,
    /// How far the clock of the day is ahead of the time since the boot, in seconds.
    pub clock_offset_seconds: i64,
}

impl Session {
    /// Whether the filesystem stayed mounted from one to the other.
    fn goes_on(&self, later: &Self) -> bool {
        self.boot == later.boot && self.mounts.iter().any(|mount| later.mounts.contains(mount))
    }
}

/// What a machine's ledger says at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    /// The machine: a ledger says nothing of a disk while it was in another one.
    pub machine: String,
    /// How often the system went down without the mark that all was unmounted.
    pub unclean_count: u64,
    /// The boot in which that was looked at (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The boots that the ledger counted since the last unclean end, that one with them. It is not
    /// kept: a ledger that was brought back from a backup does not know the boots that came after it.
    #[serde(skip)]
    pub boots: Vec<String>,
    /// How far the clock of the day is ahead of the time that counts up, in seconds, over all
    /// boots: it falls when the clock is set back, and does not rise when it is set on.
    pub clock_offset_seconds: i64,
}

/// Why what is kept of the files proves nothing this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// klon doesn't tell this filesystem apart from another of its kind.
    NoInstance,
    /// It was not clean when the record was made.
    WasNotClean,
    /// It is not clean now.
    IsNotClean,
    /// It is another filesystem: UUID or time of making.
    Another,
    /// It was resized or made anew.
    Geometry,
    /// Its features are others.
    Features,
    /// Its age fell: an earlier state was brought back.
    WentBack,
    /// A check or a repair went over it.
    Checked,
    /// It was written last after this run's clock, or before it was written last when the record was
    /// made: a clock went back.
    Clock,
    /// klon wrote to it as to a target: a restore, or a clone of something else.
    Restored,
    /// No ledger covers the time since the record.
    NoLedger,
    /// The ledger is another machine's.
    OtherMachine,
    /// The system went down uncleanly since.
    WentDown,
    /// The ledger did not count the boot in which the record was made: it is a new one, or an older
    /// state of it was brought back.
    UnknownBoot,
}

/// What would make the next run fast. The program names the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faster {
    /// Nothing but this run, whose record will do.
    ThisRun,
    /// Mount it and unmount it, or check it.
    MakeClean,
    /// Install the ledger.
    InstallLedger,
    /// Say with which run a list of changed ranges begins.
    NameRun,
    /// Say that nothing went down since the record was made, where that is known.
    SayClean,
    /// Say that file records are to be trusted, by a heuristic.
    TrustFileRecords,
}

/// The first reason why what was kept `then` proves nothing `now`; `None` when there is none. With
/// `is_said_clean` the user says that no power cut came in between, and no ledger is asked.
#[must_use]
pub fn refusal(then: &Stamped, now: &Stamped, is_said_clean: bool) -> Option<Refusal> {
    let (Some(before), Some(after)) = (&then.instance, &now.instance) else {
        return Some(Refusal::NoInstance);
    };
    let same = |is_same: bool, refusal| (!is_same).then_some(refusal);
    let is_instance = before.uuid == after.uuid && before.made == after.made;
    // Written later than then, and not later than now.
    let in_order = is_in_order(before.written, after.written)
        && is_in_order(after.written, Some(now.seen))
        && then.seen <= now.seen;
    same(then.is_clean, Refusal::WasNotClean)
        .or_else(|| same(now.is_clean, Refusal::IsNotClean))
        .or_else(|| same(is_instance, Refusal::Another))
        .or_else(|| same(before.geometry == after.geometry, Refusal::Geometry))
        .or_else(|| same(before.features == after.features, Refusal::Features))
        .or_else(|| same(is_in_order(then.age, now.age), Refusal::WentBack))
        .or_else(|| same(before.checked == after.checked, Refusal::Checked))
        .or_else(|| same(in_order, Refusal::Clock))
        .or_else(|| same(then.written_by == now.written_by, Refusal::Restored))
        .or_else(|| match is_said_clean || stayed_mounted(then, now) {
            true => None,
            false => discontinuity(then.continuity.as_ref(), now.continuity.as_ref()),
        })
}

/// Whether a ledger shows that the system went down uncleanly in between. Without one that knows both
/// moments, nobody can tell.
#[must_use]
pub fn went_down(then: &Stamped, now: &Stamped) -> Option<Refusal> {
    let found = discontinuity(then.continuity.as_ref(), now.continuity.as_ref());
    found.filter(|refusal| *refusal == Refusal::WentDown)
}

/// Whether the filesystem was mounted then and never unmounted since, so that nothing can have gone down
/// beneath it.
fn stayed_mounted(then: &Stamped, now: &Stamped) -> bool {
    let sessions = then.session.as_ref().zip(now.session.as_ref());
    sessions.is_some_and(|(then, now)| then.goes_on(now))
}

/// By how many seconds the clock of the machine was set back meanwhile: stamps of this time may come again. 0
/// when neither a ledger nor a mount that stayed can tell.
#[must_use]
pub fn set_back_seconds(then: &Stamped, now: &Stamped) -> u64 {
    let of_ledger = |stamped: &Stamped| {
        let continuity = stamped.continuity.as_ref();
        continuity.map(|continuity| continuity.clock_offset_seconds)
    };
    let of_session = |stamped: &Stamped| {
        let session = stamped.session.as_ref();
        session.map(|session| session.clock_offset_seconds)
    };
    let back = |then: Option<i64>, now: Option<i64>| match (then, now) {
        (Some(then), Some(now)) if now < then => then.abs_diff(now),
        _ => 0,
    };
    let by_ledger = back(of_ledger(then), of_ledger(now));
    match stayed_mounted(then, now) {
        true => by_ledger.max(back(of_session(then), of_session(now))),
        false => by_ledger,
    }
}

fn is_in_order(then: Option<u64>, now: Option<u64>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => then <= now,
        (then, _) => then.is_none(),
    }
}

fn discontinuity(then: Option<&Continuity>, now: Option<&Continuity>) -> Option<Refusal> {
    let (Some(then), Some(now)) = (then, now) else {
        return Some(Refusal::NoLedger);
    };
    if then.machine != now.machine {
        return Some(Refusal::OtherMachine);
    }
    if then.unclean_count != now.unclean_count {
        return Some(Refusal::WentDown);
    }
    (!now.boots.contains(&then.boot)).then_some(Refusal::UnknownBoot)
}

impl Refusal {
    /// What would make the next run fast.
    #[must_use]
    pub const fn remedy(self) -> Faster {
        match self {
            Self::IsNotClean => Faster::MakeClean,
            Self::NoLedger => Faster::InstallLedger,
            Self::OtherMachine => Faster::SayClean,
            Self::NoInstance
            | Self::WasNotClean
            | Self::Another
            | Self::Geometry
            | Self::Features
            | Self::WentBack
            | Self::Checked
            | Self::Clock
            | Self::Restored
            | Self::WentDown
            | Self::UnknownBoot => Faster::ThisRun,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInstance => "klon can't tell this filesystem from another one of its kind",
            Self::WasNotClean => "the source was not clean at the last run",
            Self::IsNotClean => "the source is not clean",
            Self::Another => "the source holds another filesystem than at the last run",
            Self::Geometry => "the source's filesystem was resized since the last run",
            Self::Features => "the source's filesystem has other features than at the last run",
            Self::WentBack => "an earlier state of the source was brought back",
            Self::Checked => "the source's filesystem was checked since the last run",
            Self::Restored => "klon itself wrote to the source since its record was made",
            Self::Clock => "a clock was set back since the last run",
            Self::NoLedger => "nothing shows that the power never failed since the last run",
            Self::OtherMachine => "the source was in another machine at the last run",
            Self::WentDown => "the system went down uncleanly since the last run",
            Self::UnknownBoot => "the ledger knows nothing of the boot of the last run",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Continuity, Faster, Instance, Refusal, Session, Stamped, refusal, set_back_seconds,
    };
    use uuid::Uuid;

    fn stamped() -> Stamped {
        Stamped {
            instance: Some(Instance {
                uuid: "one".to_owned(),
                made: Some(100),
                geometry: vec![1, 2, 3],
                features: vec![4, 5],
                written: Some(1000),
                checked: Some(200),
            }),
            age: Some(77),
            is_clean: true,
            seen: 2000,
            continuity: Some(Continuity {
                machine: "here".to_owned(),
                unclean_count: 3,
                boot: "b2".to_owned(),
                boots: vec!["b1".to_owned(), "b2".to_owned()],
                clock_offset_seconds: 500,
            }),
            written_by: Vec::new(),
            session: None,
        }
    }

    /// What is wrong after one of two looks is as `edit` makes it.
    fn after(edit: impl Fn(&mut Stamped, &mut Stamped)) -> Option<Refusal> {
        let (mut then, mut now) = (stamped(), stamped());
        edit(&mut then, &mut now);
        refusal(&then, &now, false)
    }

    fn instance(stamped: &mut Stamped) -> &mut Instance {
        stamped.instance.as_mut().unwrap()
    }

    fn ledger(stamped: &mut Stamped) -> &mut Continuity {
        stamped.continuity.as_mut().unwrap()
    }

    #[test]
    fn each_doubt_is_named() {
        assert_eq!(after(|_, _| ()), None);
        let found = [
            after(|_, now| now.instance = None),
            after(|then, _| then.is_clean = false),
            after(|_, now| now.is_clean = false),
            after(|_, now| instance(now).uuid.push('x')),
            after(|_, now| instance(now).made = None),
            after(|_, now| instance(now).geometry[1] = 9),
            after(|_, now| instance(now).features.push(1)),
            after(|_, now| now.age = Some(76)),
            after(|_, now| now.age = None),
            after(|_, now| instance(now).checked = Some(300)),
            after(|_, now| instance(now).written = Some(999)),
            after(|_, now| instance(now).written = Some(2001)),
            after(|_, now| now.seen = 1999),
            after(|_, now| now.written_by.push(Uuid::nil())),
            after(|_, now| now.continuity = None),
            after(|then, _| then.continuity = None),
            after(|_, now| ledger(now).machine.push('x')),
            after(|_, now| ledger(now).unclean_count = 4),
            after(|_, now| ledger(now).boots = vec!["b3".to_owned()]),
            after(|then, _| ledger(then).boot = "b0".to_owned()),
        ];
        let expected = [
            Refusal::NoInstance,
            Refusal::WasNotClean,
            Refusal::IsNotClean,
            Refusal::Another,
            Refusal::Another,
            Refusal::Geometry,
            Refusal::Features,
            Refusal::WentBack,
            Refusal::WentBack,
            Refusal::Checked,
            Refusal::Clock,
            Refusal::Clock,
            Refusal::Clock,
            Refusal::Restored,
            Refusal::NoLedger,
            Refusal::NoLedger,
            Refusal::OtherMachine,
            Refusal::WentDown,
            Refusal::UnknownBoot,
            Refusal::UnknownBoot,
        ];
        assert_eq!(found, expected.map(Some));
    }

    #[test]
    fn time_that_went_on_is_no_doubt() {
        let found = after(|then, now| {
            (now.seen, now.age) = (3000, Some(78));
            instance(now).written = Some(2500);
            then.age = Some(77);
        });
        assert_eq!(found, None);
        // A filesystem without such fields.
        let found = after(|then, now| {
            for stamped in [then, now] {
                stamped.age = None;
                let instance = instance(stamped);
                (instance.made, instance.written, instance.checked) = (None, None, None);
            }
        });
        assert_eq!(found, None);
    }

    #[test]
    fn the_user_may_speak_for_the_ledger_and_for_nothing_else() {
        let (then, mut now) = (stamped(), stamped());
        now.continuity = None;
        assert_eq!(refusal(&then, &now, true), None);
        now.is_clean = false;
        assert_eq!(refusal(&then, &now, true), Some(Refusal::IsNotClean));
    }

    #[test]
    fn a_clock_set_back_is_measured_and_not_one_set_on() {
        let (then, mut now) = (stamped(), stamped());
        ledger(&mut now).clock_offset_seconds = -100;
        assert_eq!(set_back_seconds(&then, &now), 600);
        assert_eq!(set_back_seconds(&now, &then), 0);
        now.continuity = None;
        assert_eq!(set_back_seconds(&then, &now), 0);
    }

    #[test]
    fn a_mount_that_stayed_needs_no_ledger() {
        let session = |boot: &str, mounts: &[u64], clock_offset_seconds| {
            Some(Session {
                boot: boot.to_owned(),
                mounts: mounts.to_vec(),
                clock_offset_seconds,
            })
        };
        let found = |before, after| {
            let (mut then, mut now) = (stamped(), stamped());
            (then.continuity, now.continuity) = (None, None);
            (then.session, now.session) = (before, after);
            (refusal(&then, &now, false), set_back_seconds(&then, &now))
        };
        let first = || session("b", &[7, 8], 50);
        assert_eq!(found(first(), session("b", &[9, 8], 50)), (None, 0));
        assert_eq!(found(first(), session("b", &[8], 40)), (None, 10));
        let lacks = (Some(Refusal::NoLedger), 0);
        assert_eq!(
            found(first(), session("b", &[9], 40)),
            lacks,
            "mounted anew"
        );
        assert_eq!(
            found(first(), session("c", &[8], 50)),
            lacks,
            "another boot"
        );
        assert_eq!(found(first(), None), lacks);
        assert_eq!(found(session("b", &[], 50), session("b", &[], 50)), lacks);
    }

    #[test]
    fn what_helps_is_told() {
        assert_eq!(Refusal::NoLedger.remedy(), Faster::InstallLedger);
        assert_eq!(Refusal::WentDown.remedy(), Faster::ThisRun);
        assert_eq!(Refusal::IsNotClean.to_string(), "the source is not clean");
    }
}
