//! Whatever happens to a machine and to the file of its ledger, an unclean end is noticed.

use super::{BOOTS_MAX, Counted, Moment, State};
use klon_imaging::change::proven::{Continuity, Refusal, Stamped, refusal, set_back_seconds};
use klon_partition::filesystem::Instance;
use proptest::prelude::*;

fn moment(boot: &str, unix_seconds: i64, up_seconds: i64) -> Moment {
    Moment {
        machine: "m".to_owned(),
        boot: boot.to_owned(),
        unix_milliseconds: unix_seconds * 1000,
        up_milliseconds: up_seconds * 1000,
    }
}

/// What a run sees, where everything else of the source is in order.
fn look(state: &State, now: &Moment) -> Option<Stamped> {
    let continuity = Continuity {
        machine: state.machine.clone(),
        unclean_count: state.unclean_count,
        boot: now.boot.clone(),
        boots: state.boots.clone(),
        clock_offset_seconds: state.clock_offset_seconds(),
    };
    (state.has_counted(now) && !state.is_closed()).then(|| Stamped {
        instance: Some(Instance {
            uuid: "one".to_owned(),
            made: None,
            geometry: Vec::new(),
            features: Vec::new(),
            written: None,
            checked: None,
        }),
        age: None,
        is_clean: true,
        seen: 1,
        continuity: Some(continuity),
        written_by: Vec::new(),
        session: None,
    })
}

fn refused(then: &Stamped, now: &Stamped) -> Option<Refusal> {
    let mut then = then.clone();
    // As a record keeps it.
    if let Some(continuity) = &mut then.continuity {
        continuity.boots.clear();
    }
    refusal(&then, now, false)
}

#[test]
fn a_clean_end_is_told_from_an_unclean_one() {
    let first = moment("1", 1000, 10);
    let state = State::new(&first);
    let then = look(&state, &first).unwrap();
    let state = state.closed(&moment("1", 1500, 510));
    assert!(
        look(&state, &first).is_none(),
        "nothing is vouched for after the mark"
    );
    let second = moment("2", 2000, 10);
    let (state, counted) = state.count(&second);
    assert_eq!((counted, state.unclean_count), (Counted::Clean, 0));
    assert_eq!(refused(&then, &look(&state, &second).unwrap()), None);
    let (state, counted) = state.count(&second);
    assert_eq!((counted, state.unclean_count), (Counted::Again, 0));
    let third = moment("3", 3000, 10);
    let (state, counted) = state.count(&third);
    assert_eq!((counted, state.unclean_count), (Counted::Unclean, 1));
    assert_eq!(state.since_unix_seconds, 3000);
    let now = look(&state, &third).unwrap();
    assert_eq!(refused(&then, &now), Some(Refusal::WentDown));
}

#[test]
fn a_boot_that_goes_on_after_its_mark_is_open_again() {
    let now = moment("1", 1000, 10);
    let (state, _) = State::new(&now).closed(&now).count(&now);
    assert!(!state.is_closed());
    let (state, counted) = state.count(&moment("2", 1100, 10));
    assert_eq!((counted, state.unclean_count), (Counted::Unclean, 1));
}

#[test]
fn what_is_doubtful_counts_as_unclean() {
    let first = moment("1", 1000, 10);
    let second = moment("2", 2000, 10);
    let (state, _) = State::new(&first).closed(&first).count(&second);
    // An earlier boot comes back, as when a virtual machine is set back without the ledger's disk.
    let (back, counted) = state.clone().closed(&second).count(&first);
    assert_eq!((counted, back.unclean_count), (Counted::Unclean, 1));
    let other = Moment {
        machine: "other".to_owned(),
        ..second.clone()
    };
    let (moved, counted) = state.closed(&second).count(&other);
    assert_eq!((counted, moved.unclean_count), (Counted::OtherMachine, 1));
    assert_eq!(moved.boots, ["2"]);
}

#[test]
fn a_ledger_that_was_brought_back_knows_nothing_of_later_boots() {
    let first = moment("1", 1000, 10);
    let kept = State::new(&first).closed(&first);
    let second = moment("2", 2000, 10);
    let (state, _) = kept.clone().count(&second);
    let then = look(&state, &second).unwrap();
    // Boot 2 crashes, and the system's disk gets the state that it had before.
    let third = moment("3", 3000, 10);
    let (state, counted) = kept.count(&third);
    assert_eq!(counted, Counted::Clean);
    let now = look(&state, &third).unwrap();
    assert_eq!(refused(&then, &now), Some(Refusal::UnknownBoot));
}

#[test]
fn the_list_of_boots_is_bounded() {
    let mut state = State::new(&moment("0", 1000, 10));
    for number in 1..=BOOTS_MAX as i64 + 5 {
        let now = moment(&number.to_string(), 1000 + number * 100, 10);
        let last = moment(
            state.boots.last().unwrap(),
            now.unix_milliseconds / 1000 - 50,
            60,
        );
        (state, _) = state.closed(&last).count(&now);
    }
    assert_eq!((state.boots.len(), state.unclean_count), (BOOTS_MAX, 0));
    assert_eq!(state.boots[0], "6");
}

#[test]
fn a_clock_that_is_set_back_is_summed_up() {
    let state = State::new(&moment("1", 10_000, 100));
    // Time goes on; it is set on; it is set back by as much.
    let mut state = state.noted(&moment("1", 10_050, 150));
    assert_eq!(state.clock_offset_seconds(), 0);
    assert!(!state.is_clock_set(&moment("1", 10_060, 160)));
    let on = moment("1", 13_700, 200);
    assert!(state.is_clock_set(&on));
    state = state.noted(&on);
    assert_eq!(state.clock_offset_seconds(), 0);
    let source = |state: &State, now: &Moment| look(state, now).unwrap();
    let then = source(&state, &on);
    let back = moment("1", 10_200, 300);
    state = state.noted(&back);
    assert_eq!(state.clock_offset_seconds(), -3600);
    assert_eq!(set_back_seconds(&then, &source(&state, &back)), 3600);
    // Over a boot: the clock of the machine was behind when the next one began.
    let then = source(&state, &back);
    state = state.closed(&moment("1", 10_300, 400));
    let next = moment("2", 9_310, 10);
    let (state, _) = state.count(&next);
    assert_eq!(state.clock_offset_seconds(), -4600);
    assert_eq!(set_back_seconds(&then, &source(&state, &next)), 1000);
    // A steady drift of less than it takes to be seen at once is seen in the end.
    let drift = (1..=30).fold(state, |state, step| {
        let mut now = moment("2", 9_310 + step, 10 + step);
        now.unix_milliseconds -= 50 * step;
        state.noted(&now)
    });
    assert_eq!(drift.clock_offset_seconds(), -4602);
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A run asks the ledger, and keeps what it says.
    Run,
    /// The power fails; the last write to the ledger that was not synced is lost, or not.
    Cut { is_lost: bool },
    /// A shutdown, in which the power fails before the mark, while it is written, after it, or not.
    Shutdown { cut: u8, is_lost: bool },
    /// The clock is set by so many seconds.
    Set(i64),
    /// The boot is counted again.
    Again,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Run),
        2 => any::<bool>().prop_map(|is_lost| Step::Cut { is_lost }),
        4 => (0..4_u8, any::<bool>()).prop_map(|(cut, is_lost)| Step::Shutdown { cut, is_lost }),
        1 => (-5000..5000_i64).prop_map(Step::Set),
        1 => Just(Step::Again),
    ];
    prop::collection::vec(step, 1..40)
}

/// A machine with its ledger.
struct World {
    state: State,
    boot: u64,
    clock: i64,
    up: i64,
    /// Unclean ends, as they were.
    unclean: u64,
    looks: Vec<(u64, Stamped)>,
}

impl World {
    fn now(&self) -> Moment {
        moment(&self.boot.to_string(), self.clock, self.up)
    }

    fn boot(&mut self) {
        self.boot += 1;
        self.clock += 30;
        self.up = 5;
        let now = self.now();
        self.state = self.state.clone().count(&now).0;
    }

    fn step(&mut self, step: Step) {
        self.clock += 7;
        self.up += 7;
        let now = self.now();
        match step {
            Step::Run => {
                self.state = self.state.clone().noted(&now);
                let look = look(&self.state, &now).unwrap();
                self.looks.push((self.unclean, look));
            }
            Step::Cut { is_lost } => {
                // A run syncs what it is told of, so only a note of the clock can be lost.
                let noted = self.state.clone().noted(&now);
                self.state = if is_lost { self.state.clone() } else { noted };
                self.unclean += 1;
                self.boot();
            }
            Step::Shutdown { cut, is_lost } => {
                let closed = self.state.clone().closed(&now);
                let has_mark = cut >= 2 || (cut == 1 && !is_lost);
                if has_mark {
                    self.state = closed;
                }
                // From before the mark on nothing is written, so that a cut there does no harm. Before
                // that it does.
                self.unclean += u64::from(cut == 0);
                self.boot();
            }
            Step::Set(seconds) => self.clock += seconds,
            Step::Again => self.state = self.state.clone().count(&now).0,
        }
    }
}

proptest! {
    #[test]
    fn no_unclean_end_goes_unnoticed(steps in steps()) {
        let start = moment("0", 1_000_000, 5);
        let mut world = World {
            state: State::new(&start),
            boot: 0,
            clock: 1_000_000,
            up: 5,
            unclean: 0,
            looks: Vec::new(),
        };
        for step in steps {
            world.step(step);
        }
        for (index, (then_unclean, then)) in world.looks.iter().enumerate() {
            for (now_unclean, now) in &world.looks[index..] {
                let refused = refused(then, now);
                if then_unclean != now_unclean {
                    prop_assert!(refused.is_some(), "an unclean end is missed");
                } else if let Some(refused) = refused {
                    // A cut while the mark is written is taken for an unclean end.
                    prop_assert!(matches!(refused, Refusal::WentDown | Refusal::UnknownBoot));
                }
            }
        }
    }
}
