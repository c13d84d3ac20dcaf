//! Who has files of a filesystem open for writing, as far as /proc says.

use klon_partition::Shown as _;
use klon_partition::text::sealed;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// How many are named.
const NAMED_MAX: usize = 5;

/// The files that are open for writing on the filesystem that is mounted at `at`, each with the program that has it.
/// Those that are mapped and were closed are not found.
pub fn writers(at: &Path) -> Vec<String> {
    let Ok(device) = fs::metadata(at).map(|it| it.dev()) else {
        return Vec::new();
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let names = processes
        .flatten()
        .filter_map(|it| it.file_name().into_string().ok());
    let open = names
        .filter(|name| is_process(name))
        .flat_map(|process| open_by(&process, device));
    open.take(NAMED_MAX).collect()
}

/// What a process has open there.
fn open_by(process: &str, device: u64) -> Vec<String> {
    let folder = Path::new("/proc").join(process);
    let Ok(descriptors) = fs::read_dir(folder.join("fd")) else {
        return Vec::new();
    };
    let program = fs::read_to_string(folder.join("comm")).unwrap_or_default();
    let program = sealed(program.trim_end());
    let told = descriptors.flatten().filter_map(|descriptor| {
        let path = descriptor.path();
        let is_there = fs::metadata(&path).is_ok_and(|it| it.dev() == device);
        let flags = folder.join("fdinfo").join(descriptor.file_name());
        let is_written =
            is_there && fs::read_to_string(flags).is_ok_and(|text| is_for_writing(&text));
        let file = fs::read_link(path).ok().filter(|_| is_written)?;
        Some(format!("{} ({program}, process {process})", file.shown()))
    });
    told.collect()
}

/// Whether a file is open for writing, by what /proc/PID/fdinfo/FD says of it (proc_pid_fdinfo(5)): the lowest two bits
/// of the flags, which are octal, are O_WRONLY or O_RDWR.
fn is_for_writing(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::{is_for_writing, writers};
    use std::fs::File;

    #[test]
    fn flags_are_octal() {
        assert!(is_for_writing("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n"));
        assert!(is_for_writing("flags:\t02100002\n"));
        assert!(!is_for_writing("flags:\t0100000\n"));
        assert!(!is_for_writing("flags:\t9\n"));
    }

    #[test]
    fn this_program_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let _open = File::create(at.join("precious")).unwrap();
        // Others may have many files open there, and five are named.
        let named = writers(at);
        assert!(
            !named.is_empty() && named.iter().all(|it| it.contains("process")),
            "{named:?}"
        );
    }
}
