//! The client against klon's own server, and against servers that lie.
