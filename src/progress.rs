//! Progress for people and for scripts: bars on a terminal, plain lines elsewhere, JSON lines.

use crate::cli::Common;
use crate::human;
use crate::messages::say;
use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use klon_imaging::change::Rung;
use klon_imaging::{Event, Observer};
use klon_partition::locks::lock;
use serde::Serialize;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Plain lines and JSON come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows the progress of a command over all of its volumes, and passes on an interrupt.
pub struct Progress {
    style: Style,
    interrupted: Arc<AtomicBool>,
    state: Mutex<State>,
    /// How many volumes the whole command has.
    volumes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Silent,
    Bars,
    Lines,
    Json,
}

/// What the whole command will go through.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    /// Bytes of all volumes.
    pub bytes: u64,
    /// How many volumes.
    pub volumes: usize,
}

struct State {
    name: String,
    started: Instant,
    command_started: Instant,
    done_bytes: u64,
    volume_bytes: u64,
    all_done_bytes: u64,
    all_bytes: u64,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rung: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    done_bytes: u64,
    total_bytes: u64,
    all_done_bytes: u64,
    all_total_bytes: u64,
    seconds: f64,
}

impl State {
    fn begin(&mut self, name: &str, total_bytes: u64) {
        name.clone_into(&mut self.name);
        self.started = Instant::now();
        self.last_line = self.started;
        (self.done_bytes, self.volume_bytes) = (0, total_bytes);
        // What is in use of a source may have grown since it was counted.
        self.all_bytes = self
            .all_bytes
            .max(self.all_done_bytes.saturating_add(total_bytes));
    }
}

impl Progress {
    /// Progress in the style that fits the options and the terminal.
    pub fn new(common: &Common, total: Totals, interrupted: Arc<AtomicBool>) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let style = match (common.json, common.quiet) {
            (true, _) => Style::Json,
            (false, true) => Style::Silent,
            (false, false) if std::io::stderr().is_terminal() && !is_dumb => Style::Bars,
            (false, false) => Style::Lines,
        };
        let now = Instant::now();
        let state = State {
            name: String::new(),
            started: now,
            command_started: now,
            done_bytes: 0,
            volume_bytes: 0,
            all_done_bytes: 0,
            all_bytes: total.bytes,
            last_line: now,
            bar: None,
        };
        Self {
            style,
            interrupted,
            state: Mutex::new(state),
            volumes: total.volumes,
        }
    }

    fn started(&self, state: &mut State, event: &Event<'_>) {
        let Event::Started {
            name,
            rung,
            reason,
            total_bytes,
        } = event
        else {
            return;
        };
        state.begin(name, *total_bytes);
        match self.style {
            Style::Silent => {}
            Style::Json => {
                let rung = rung.map(|rung| rung.to_string());
                self.json(state, "started", rung, reason);
            }
            Style::Bars | Style::Lines => {
                let size = human::size(*total_bytes);
                say(&match rung {
                    Some(Rung::Resume) => {
                        format!(
                            "{name}: going on where the interrupted run stopped ({size} in all)"
                        )
                    }
                    Some(Rung::Full) => format!("{name}: copying {size} ({reason})"),
                    Some(Rung::Compare) => {
                        format!("{name}: comparing {size} on both sides ({reason})")
                    }
                    Some(Rung::Metadata | Rung::Tracked) => {
                        format!("{name}: reading what can have changed of {size} ({reason})")
                    }
                    Some(Rung::Digest) => format!("{name}: reading {size} ({reason})"),
                    None => format!("{name}: {size} ({reason})"),
                });
            }
        }
        if self.style == Style::Bars {
            state.bar = Some(bar(*total_bytes, self.volumes));
        }
    }

    /// Another pass over a volume that is in use: it has a bar of its own, and is so much more for the command.
    fn again(&self, state: &mut State, name: &str, total_bytes: u64) {
        state.all_bytes = state.all_bytes.saturating_add(total_bytes);
        state.begin(name, total_bytes);
        match self.style {
            Style::Silent => {}
            Style::Json => self.json(state, "again", None, ""),
            Style::Bars | Style::Lines => say(&format!(
                "{name}: reading again what changed meanwhile: {}",
                human::size(total_bytes)
            )),
        }
        if self.style == Style::Bars {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
            state.bar = Some(bar(total_bytes, self.volumes));
        }
    }

    fn advanced(&self, state: &mut State, bytes: u64) {
        state.done_bytes = state.done_bytes.saturating_add(bytes);
        state.all_done_bytes = state.all_done_bytes.saturating_add(bytes);
        if let Some(bar) = &state.bar {
            bar.set_position(state.done_bytes);
            bar.set_message(self.all_left(state));
        }
        if state.last_line.elapsed() < LINE_EVERY {
            return;
        }
        state.last_line = Instant::now();
        match self.style {
            Style::Json => self.json(state, "progress", None, ""),
            Style::Lines => say(&self.plain(state)),
            Style::Silent | Style::Bars => {}
        }
    }

    fn ended(&self, state: &mut State, event: &str) {
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        if self.style == Style::Json {
            self.json(state, event, None, "");
        }
    }

    /// How far all volumes together are, when there is more than one.
    fn all_left(&self, state: &State) -> String {
        if self.volumes < 2 {
            return String::new();
        }
        let elapsed = state.command_started.elapsed();
        let (done_bytes, total_bytes) = (state.all_done_bytes, state.all_bytes);
        format!(
            "all: {} of {}, {}, {} left",
            human::size(done_bytes),
            human::size(total_bytes),
            human::rate(done_bytes, elapsed),
            human::duration(left(done_bytes, total_bytes, elapsed)),
        )
    }

    fn plain(&self, state: &State) -> String {
        let elapsed = state.started.elapsed();
        let all = self.all_left(state);
        format!(
            "{}: {} of {}, {}, {} left{}{all}",
            state.name,
            human::size(state.done_bytes),
            human::size(state.volume_bytes),
            human::rate(state.done_bytes, elapsed),
            human::duration(left(state.done_bytes, state.volume_bytes, elapsed)),
            if all.is_empty() { "" } else { "; " },
        )
    }

    fn json(&self, state: &State, event: &str, rung: Option<String>, reason: &str) {
        let line = Line {
            event,
            name: &state.name,
            rung,
            reason,
            done_bytes: state.done_bytes,
            total_bytes: state.volume_bytes,
            all_done_bytes: state.all_done_bytes,
            all_total_bytes: state.all_bytes,
            seconds: state.command_started.elapsed().as_secs_f64(),
        };
        // A reader that went away is noticed when the result is written.
        let _ = output::json(&line);
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event<'_>) {
        let mut state = lock(&self.state);
        match event {
            Event::Started { .. } => self.started(&mut state, event),
            Event::Again { name, total_bytes } => self.again(&mut state, name, *total_bytes),
            Event::Advanced { bytes } => self.advanced(&mut state, *bytes),
            Event::Committing => {
                if let Some(bar) = &state.bar {
                    bar.set_message("making it durable");
                }
            }
            Event::Staged => self.ended(&mut state, "staged"),
            Event::Finished => self.ended(&mut state, "finished"),
            Event::FinishedOf { name, total_bytes } => {
                state.name = (*name).to_owned();
                (state.done_bytes, state.volume_bytes) = (*total_bytes, *total_bytes);
                self.ended(&mut state, "finished");
            }
            _ => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// How long the rest takes if it goes on as it went so far.
fn left(done_bytes: u64, total_bytes: u64, elapsed: Duration) -> Duration {
    let left_bytes = total_bytes.saturating_sub(done_bytes) as f64;
    let seconds = elapsed.as_secs_f64() * left_bytes / done_bytes.max(1) as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// One line for the volume, and one for all when there are several: fits 80 columns.
fn bar(total_bytes: u64, volumes: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
    let separator = if volumes > 1 { "\n" } else { "" };
    let template = format!(
        "  {{bar:20}} {{percent:>3}} %  {{binary_bytes}} of {{binary_total_bytes}}  \
         {{binary_bytes_per_sec}}  {{eta}} left{separator}  {{wide_msg}}"
    );
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}
