//! When nothing of a volume may be believed to be proven: what is said by two looks at it.

use klon_partition::filesystem::Instance;
use serde::{Deserialize, Serialize};
use std::fmt;

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
}

/// What a machine's ledger says at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    /// The machine: a ledger says nothing of a disk while it was in another one.
    pub machine: String,
    /// How often the system went down without the mark that all was unmounted.
    pub unclean_count: u64,
    /// How far the clock of the day is ahead of the time that counts up, in seconds, over all
    /// boots: it falls when the clock is set back.
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
    /// No ledger covers the time since the record.
    NoLedger,
    /// The ledger is another machine's.
    OtherMachine,
    /// The system went down uncleanly since.
    WentDown,
}

/// What would make the next run fast. The program names the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing but this run, whose record will do.
    ThisRun,
    /// Mount it and unmount it, or check it.
    MakeClean,
    /// Install the ledger.
    InstallLedger,
    /// Say that nothing went down since the record was made, where that is known.
    SayClean,
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
        .or_else(|| match is_said_clean {
            true => None,
            false => discontinuity(then.continuity.as_ref(), now.continuity.as_ref()),
        })
}

/// By how much the clock of the machine was set back since, in seconds: stamps of that span may come
/// again. 0 when no ledger can tell.
#[must_use]
pub fn set_back_seconds(then: &Stamped, now: &Stamped) -> u64 {
    let offset = |stamped: &Stamped| {
        let continuity = stamped.continuity.as_ref();
        continuity.map(|continuity| continuity.clock_offset_seconds)
    };
    match (offset(then), offset(now)) {
        (Some(then), Some(now)) if now < then => then.abs_diff(now),
        _ => 0,
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
    (then.unclean_count != now.unclean_count).then_some(Refusal::WentDown)
}

impl Refusal {
    /// What would make the next run fast.
    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::IsNotClean => Remedy::MakeClean,
            Self::NoLedger => Remedy::InstallLedger,
            Self::OtherMachine => Remedy::SayClean,
            Self::NoInstance
            | Self::WasNotClean
            | Self::Another
            | Self::Geometry
            | Self::Features
            | Self::WentBack
            | Self::Checked
            | Self::Clock
            | Self::WentDown => Remedy::ThisRun,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInstance => "klon can't tell this filesystem from another one of its kind",
            Self::WasNotClean => "the source was not clean when its record was made",
            Self::IsNotClean => "the source is not clean",
            Self::Another => "the source holds another filesystem than its record",
            Self::Geometry => "the source's filesystem was resized since its record was made",
            Self::Features => "the source's filesystem has other features than its record",
            Self::WentBack => "an earlier state of the source was brought back",
            Self::Checked => "the source's filesystem was checked since its record was made",
            Self::Clock => "a clock was set back since the record was made",
            Self::NoLedger => "nothing shows that the power never failed since the record was made",
            Self::OtherMachine => "the source was in another machine when its record was made",
            Self::WentDown => "the system went down uncleanly since the record was made",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Continuity, Instance, Refusal, Remedy, Stamped, refusal, set_back_seconds};

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
                clock_offset_seconds: 500,
            }),
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
            after(|_, now| now.continuity = None),
            after(|then, _| then.continuity = None),
            after(|_, now| ledger(now).machine.push('x')),
            after(|_, now| ledger(now).unclean_count = 4),
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
            Refusal::NoLedger,
            Refusal::NoLedger,
            Refusal::OtherMachine,
            Refusal::WentDown,
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
    fn what_helps_is_told() {
        assert_eq!(Refusal::NoLedger.remedy(), Remedy::InstallLedger);
        assert_eq!(Refusal::WentDown.remedy(), Remedy::ThisRun);
        assert_eq!(Refusal::IsNotClean.to_string(), "the source is not clean");
    }
}
