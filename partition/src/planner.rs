//! The planner: sources and a drive in, a layout out. Pure: no I/O.
