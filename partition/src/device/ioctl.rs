//! The ioctls and system calls that klon needs and no crate has, as safe functions: the only file with
//! `unsafe` code.
//!
//! Numbers and structures are those of Linux `include/uapi/linux/{fs,blkpg,mount}.h`.

#![allow(unsafe_code)]

use super::FileId;
use crate::extent::Extent;
use nix::errno::Errno;
use nix::libc;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// The group of the block-device ioctls, `0x12` in `linux/fs.h`.
const BLK: u8 = 0x12;

mod raw {
    use super::{BLK, BlkpgArgument};
    use nix::libc::{c_int, c_uint};

    // Most of these are declared `_IO` in linux/fs.h although they take a pointer, and
    // BLKGETSIZE64 encodes a `size_t` although it stores 64 bits.
    nix::ioctl_read_bad!(blkroget, nix::request_code_none!(BLK, 94), c_int);
    nix::ioctl_none_bad!(blkrrpart, nix::request_code_none!(BLK, 95));
    nix::ioctl_none_bad!(blkflsbuf, nix::request_code_none!(BLK, 97));
    nix::ioctl_read_bad!(blksszget, nix::request_code_none!(BLK, 104), c_int);
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(BLK, 105), BlkpgArgument);
    nix::ioctl_read_bad!(
        blkgetsize64,
        nix::request_code_read!(BLK, 114, size_of::<usize>()),
        u64
    );
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(BLK, 119), [u64; 2]);
    nix::ioctl_read_bad!(blkioopt, nix::request_code_none!(BLK, 121), c_uint);
    nix::ioctl_read_bad!(blkpbszget, nix::request_code_none!(BLK, 123), c_uint);
    nix::ioctl_read_bad!(loop_get_status64, 0x4c05, super::LoopInfo64);
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(BLK, 127), [u64; 2]);
    // `_IOWR('X', 119, int)` and 120; the kernel looks at no argument.
    nix::ioctl_readwrite!(fifreeze, b'X', 119, c_int);
    nix::ioctl_readwrite!(fithaw, b'X', 120, c_int);
    // `BTRFS_IOC_FORGET_DEV` of `linux/btrfs.h`.
    nix::ioctl_write_ptr!(btrfs_forget, 0x94, 5, super::BtrfsArgument);
}

/// `struct btrfs_ioctl_vol_args` of `linux/btrfs.h`: 4096 bytes.
#[repr(C)]
struct BtrfsArgument {
    descriptor: i64,
    name: [u8; 4088],
}

/// `struct loop_info64` of `linux/loop.h`: 232 bytes; only the first fields are looked at.
#[repr(C)]
#[derive(Default)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rest: [u64; 27],
}

/// `struct blkpg_partition` of `linux/blkpg.h`: 152 bytes.
#[repr(C)]
struct BlkpgPartition {
    start_bytes: i64,
    len_bytes: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArgument {
    operation: i32,
    flags: i32,
    data_len: i32,
    data: *mut BlkpgPartition,
}

const _: () = assert!(size_of::<BlkpgPartition>() == 152);

/// Size of the device in bytes (`BLKGETSIZE64`).
pub(crate) fn size_bytes(device: &File) -> io::Result<u64> {
    let mut value = 0_u64;
    // SAFETY: the descriptor is open for the call, and the kernel stores one u64 at the pointer.
    unsafe { raw::blkgetsize64(device.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// Size of a logical sector in bytes (`BLKSSZGET`).
pub(crate) fn logical_sector_bytes(device: &File) -> io::Result<u32> {
    let mut value = 0;
    // SAFETY: the descriptor is open for the call, and the kernel stores one int at the pointer.
    unsafe { raw::blksszget(device.as_raw_fd(), &raw mut value) }?;
    u32::try_from(value).map_err(|_| io::Error::from(Errno::ERANGE))
}

/// Size of a physical sector in bytes (`BLKPBSZGET`).
pub(crate) fn physical_sector_bytes(device: &File) -> io::Result<u32> {
    let mut value = 0;
    // SAFETY: the descriptor is open for the call, and the kernel stores one unsigned int.
    unsafe { raw::blkpbszget(device.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// The optimal size of a request in bytes, 0 when the device does not say (`BLKIOOPT`).
pub(crate) fn optimal_io_bytes(device: &File) -> io::Result<u32> {
    let mut value = 0;
    // SAFETY: the descriptor is open for the call, and the kernel stores one unsigned int.
    unsafe { raw::blkioopt(device.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// Whether the device refuses writes (`BLKROGET`).
pub(crate) fn is_read_only(device: &File) -> io::Result<bool> {
    let mut value = 0;
    // SAFETY: the descriptor is open for the call, and the kernel stores one int at the pointer.
    unsafe { raw::blkroget(device.as_raw_fd(), &raw mut value) }?;
    Ok(value != 0)
}

/// Writes zeroes over `extent`, whose ends are multiples of the logical sector (`BLKZEROOUT`).
pub(crate) fn zero_out(device: &File, extent: Extent) -> io::Result<()> {
    let range = [extent.offset_bytes(), extent.len_bytes()];
    // SAFETY: the descriptor is open for the call, and the kernel reads two u64 at the pointer.
    unsafe { raw::blkzeroout(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Discards `extent`, whose ends are multiples of the logical sector (`BLKDISCARD`).
pub(crate) fn discard(device: &File, extent: Extent) -> io::Result<()> {
    let range = [extent.offset_bytes(), extent.len_bytes()];
    // SAFETY: the descriptor is open for the call, and the kernel reads two u64 at the pointer.
    unsafe { raw::blkdiscard(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Makes the kernel read the disk's partition table again (`BLKRRPART`).
pub(crate) fn reread_table(disk: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call, which takes no argument.
    unsafe { raw::blkrrpart(disk.as_raw_fd()) }?;
    Ok(())
}

/// Writes what the device's page cache has and drops it (`BLKFLSBUF`).
pub(crate) fn flush_buffers(device: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call, which takes no argument.
    unsafe { raw::blkflsbuf(device.as_raw_fd()) }?;
    Ok(())
}

/// Freezes the filesystem that `file` is on (`FIFREEZE`).
pub(crate) fn freeze(file: &File) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: the descriptor is open for the call, and the pointer is to an int that outlives it.
    unsafe { raw::fifreeze(file.as_raw_fd(), &raw mut unused) }?;
    Ok(())
}

/// Thaws the filesystem that `file` is on (`FITHAW`).
pub(crate) fn thaw(file: &File) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: the descriptor is open for the call, and the pointer is to an int that outlives it.
    unsafe { raw::fithaw(file.as_raw_fd(), &raw mut unused) }?;
    Ok(())
}

/// Lets Btrfs forget a device of that name, which it has seen and which is not mounted (`BTRFS_IOC_FORGET_DEV`).
pub(crate) fn forget_btrfs(control: &File, device: &[u8]) -> io::Result<()> {
    let mut argument = Box::new(BtrfsArgument {
        descriptor: 0,
        name: [0; 4088],
    });
    // The last byte stays zero.
    let (name, _) = argument.name.split_at_mut(4087);
    let room = name.get_mut(..device.len()).ok_or(Errno::ENAMETOOLONG)?;
    room.copy_from_slice(device);
    let argument: *const BtrfsArgument = &raw const *argument;
    // SAFETY: the descriptor is open for the call, and the structure, laid out as the kernel declares it,
    // outlives it.
    unsafe { raw::btrfs_forget(control.as_raw_fd(), argument) }?;
    Ok(())
}

/// Makes the filesystem that is mounted where `root` was opened read-only, or lets it be written to again,
/// and changes nothing else of it (fspick(2), fsconfig(2)).
pub(crate) fn set_read_only(root: &File, is_read_only: bool) -> io::Result<()> {
    const FSPICK_CLOEXEC: libc::c_uint = 1;
    const FSPICK_EMPTY_PATH: libc::c_uint = 8;
    const FSCONFIG_SET_FLAG: libc::c_uint = 0;
    const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the descriptor is open for the call, and the path is a text that ends with a zero.
    let context = unsafe { libc::syscall(libc::SYS_fspick, root.as_raw_fd(), c"".as_ptr(), flags) };
    let context = i32::try_from(Errno::result(context)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let context = unsafe { OwnedFd::from_raw_fd(context) };
    let configure = |command: libc::c_uint, key: Option<&CStr>| {
        let key = key.map_or(ptr::null(), CStr::as_ptr);
        let value = ptr::null::<libc::c_void>();
        let (descriptor, auxiliary) = (context.as_raw_fd(), 0);
        // SAFETY: the descriptor is open for the call; the key is null or ends with a zero, and both
        // commands take no value.
        let done = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                descriptor,
                command,
                key,
                value,
                auxiliary,
            )
        };
        Errno::result(done)
    };
    let key = if is_read_only { c"ro" } else { c"rw" };
    configure(FSCONFIG_SET_FLAG, Some(key))?;
    configure(FSCONFIG_CMD_RECONFIGURE, None)?;
    Ok(())
}

/// Tells the kernel of a partition of `disk` (`BLKPG_ADD_PARTITION`).
pub(crate) fn add_partition(disk: &File, number: u32, extent: Extent) -> io::Result<()> {
    const BLKPG_ADD_PARTITION: i32 = 1;
    partition_operation(disk, BLKPG_ADD_PARTITION, Some(extent), number)
}

/// Makes the kernel forget a partition of `disk` (`BLKPG_DEL_PARTITION`).
pub(crate) fn delete_partition(disk: &File, number: u32) -> io::Result<()> {
    const BLKPG_DEL_PARTITION: i32 = 2;
    partition_operation(disk, BLKPG_DEL_PARTITION, None, number)
}

/// The file that a loop device shows (`LOOP_GET_STATUS64`): it tells where its name has gone or is another
/// file's.
pub(crate) fn loop_file(device: &File) -> io::Result<FileId> {
    let mut info = LoopInfo64::default();
    // SAFETY: the descriptor is open for the call, and the structure, laid out as the kernel
    // declares it, outlives it.
    unsafe { raw::loop_get_status64(device.as_raw_fd(), &raw mut info) }?;
    Ok(FileId {
        device: info.device,
        inode: info.inode,
    })
}

fn partition_operation(
    disk: &File,
    operation: i32,
    extent: Option<Extent>,
    number: u32,
) -> io::Result<()> {
    let signed = |bytes| i64::try_from(bytes).map_err(|_| io::Error::from(Errno::ERANGE));
    let mut partition = BlkpgPartition {
        start_bytes: signed(extent.map_or(0, Extent::offset_bytes))?,
        len_bytes: signed(extent.map_or(0, Extent::len_bytes))?,
        number: i32::try_from(number).map_err(|_| io::Error::from(Errno::ERANGE))?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = BlkpgArgument {
        operation,
        flags: 0,
        data_len: 152,
        data: &raw mut partition,
    };
    // SAFETY: the descriptor is open for the call, and both structures, laid out as the kernel
    // declares them, outlive it.
    unsafe { raw::blkpg(disk.as_raw_fd(), &raw const argument) }?;
    Ok(())
}
