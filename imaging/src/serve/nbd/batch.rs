//! Requests that are there at the same time are answered at the same time.

use super::request::{Command, Request};
use super::transmit::{Answer, PIECE_BYTES, Session, next};
use super::{Connection, violation};
use std::io;
use std::thread;

/// Requests of a client that are answered at once.
const BATCH_MAX: usize = 4;

/// Answers requests until the client leaves.
pub(super) fn transmit(client: &mut impl Connection, session: &Session) -> io::Result<()> {
    client.limit(None)?;
    let mut out = Vec::new();
    let mut waiting = None;
    loop {
        let first = match waiting.take() {
            Some(request) => request,
            None => match next(client)? {
                Some(request) => request,
                None => return Ok(()),
            },
        };
        if first.command == Command::Disconnect {
            return Ok(());
        }
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && batch.last().is_some_and(is_small) && client.is_ready() {
            match next(client) {
                Ok(Some(request)) if is_small(&request) => batch.push(request),
                Ok(other) => {
                    waiting = other;
                    break;
                }
                Err(error) => {
                    // What was asked before that is answered.
                    together(client, session, batch)?;
                    return Err(error);
                }
            }
        }
        match <[Request; 1]>::try_from(batch) {
            Ok([request]) => alone(client, session, request, &mut out)?,
            Err(batch) => together(client, session, batch)?,
        }
    }
}

/// A small answer is made as a whole before any of it is sent.
fn is_small(request: &Request) -> bool {
    request.command == Command::Read && u64::from(request.len_bytes) <= PIECE_BYTES
}

fn alone(
    client: &mut impl Connection,
    session: &Session,
    request: Request,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut send = |bytes: &[u8]| client.write_all(bytes).map(|()| true);
    let mut answer = Answer {
        send: &mut send,
        session,
        request,
        out,
    };
    answer.all()?;
    client.write_all(out)?;
    out.clear();
    out.shrink_to(PIECE_BYTES as usize * 2);
    Ok(())
}

/// Each in a thread of its own; the answers go out in the order of the requests.
fn together(
    client: &mut impl Connection,
    session: &Session,
    batch: Vec<Request>,
) -> io::Result<()> {
    let answer = |request: Request| -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut answer = Answer {
            send: &mut |_| Ok(false),
            session,
            request,
            out: &mut out,
        };
        answer.all()?;
        Ok(out)
    };
    thread::scope(|scope| {
        let start = |request: Request| {
            let started = thread::Builder::new().spawn_scoped(scope, move || answer(request));
            (request, started)
        };
        let started: Vec<_> = batch.into_iter().map(start).collect();
        for (request, started) in started {
            let out = match started {
                Ok(thread) => thread.join().map_err(|_| violation("a failed answer"))?,
                // No threads left.
                Err(_) => answer(request),
            };
            client.write_all(&out?)?;
        }
        Ok(())
    })
}
