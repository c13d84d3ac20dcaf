//! Wrong drives, wrong directions, and drives that fail: what klon refuses and what it says.

mod direction;
mod failing;
mod layers;
mod names;
mod replaced;
mod written;
