//! The scripts that set up, show and measure klon, on systems that lack something: each says so in one
//! sentence, before anything else happens.

mod room;
mod rust;
mod setup;
mod world;
