//! The program's commands, output and exit codes.
