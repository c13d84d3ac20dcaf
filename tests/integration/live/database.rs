//! A database of SQLite that is written to all the time, and that a copy must have whole.

use crate::support::run;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Its name, on the volume.
pub(super) const NAME: &str = "database";

const TABLE: &str = "PRAGMA journal_mode=WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, x BLOB);";

/// The database and who writes to it, until dropped.
pub(super) struct Database {
    committed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    pub(super) fn start(root: &Path) -> Self {
        let folder = root.join(NAME);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(NAME);
        run("sqlite3", &[path.to_str().unwrap(), TABLE]);
        let (committed, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let mut session = Session::new(path);
        let (done, is_over) = (Arc::clone(&committed), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for number in 1.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                session.commit(number);
                done.store(number, Ordering::SeqCst);
            }
        });
        Self {
            committed,
            stop,
            thread: Some(thread),
        }
    }

    /// The rows that are committed by now.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        let is_well = ended.is_none_or(|ended| ended.is_ok());
        assert!(is_well || std::thread::panicking(), "the database failed");
    }
}

/// SQLite's own program, which answers when a row is durable.
struct Session {
    program: Child,
    orders: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn new(path: PathBuf) -> Self {
        let mut program = Command::new("sqlite3")
            .args(["-batch", "-bail"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (program.stdin.take(), program.stdout.take());
        Self {
            orders: orders.unwrap(),
            answers: BufReader::new(answers.unwrap()),
            program,
        }
    }

    fn commit(&mut self, number: u64) {
        writeln!(
            self.orders,
            "BEGIN; INSERT INTO t VALUES({number}, randomblob(2000)); UPDATE t SET x = randomblob(1500) \
             WHERE n = abs(random()) % {number}; DELETE FROM t WHERE n < {number} - 3000; COMMIT; \
             SELECT {number};"
        )
        .unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), number.to_string());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Fails unless the database in that folder is whole, and has all rows of `committed`.
pub(super) fn check(folder: &Path, committed: u64) {
    let path = folder.join(NAME);
    let asked = "PRAGMA integrity_check; SELECT max(n) FROM t; SELECT count(*) FROM t;";
    let said = run("sqlite3", &[path.to_str().unwrap(), asked]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "ok", "{said}");
    let count = |line: usize| lines[line].trim().parse().unwrap_or(0_u64);
    assert!(count(1) >= committed, "{committed} rows: {said}");
    assert!(count(2) >= count(1).min(3000), "{said}");
}
