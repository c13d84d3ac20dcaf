//! Everything on loop devices, as root.
