//! What a plan file says of itself.

/// The comment that begins each plan file: every key, in its order.
pub(super) const HEAD: &str = "\
# A klon plan: what lies where on a backup drive. `klon prepare` writes the drive's table from it,
# `klon clone` clones each source to its volume. It may be edited; klon checks it when it reads it.
#
# Identities are serial:, disk-guid:, partuuid:, fs-uuid: or path: and a value; never /dev/sdX.
# Sizes and positions are bytes, multiples of the drive's sector.
#
# version                format of this file
# [drive]                the drive: its identity, size_bytes, logical_sector_bytes
# [table]                scheme: gpt or mbr
#                        is_new: true for a new table IN PLACE OF ALL THAT IS ON THE DRIVE,
#                                false to add to the table that is there
#                        disk_guid (gpt), disk_signature (mbr): of that table
#                        extended (mbr): the extended partition to be made
# [[volume]]             one clone volume
#   name                 its name, also of its partition (gpt): at most 36 characters
#   group                the name of the source it belongs to
#   number               its slot in the table: sda3 has number 3
#   start_bytes, size_bytes
#                        where it lies; at least as large as source_bytes, as least_bytes, or, if
#                        is_shrunk, as minimum_bytes
#   type                 what it is for: a GUID (gpt) or 0x83 (mbr)
#   guid                 its own GUID (gpt): the PARTUUID by which klon finds it
#   attributes           GPT attribute bits
#   is_bootable          MBR boot indicator
#   size                 how size_bytes was chosen: match, fit, 40G, grow, or grow with
#                        weight=, min=, max=, padding= (systemd-repart's Weight, SizeMin, SizeMax,
#                        Padding), as in grow:weight=2000,max=1T
#   source               identity; partition (its number on a disk); partuuid; fs_uuid
#   source_bytes         size of the source
#   least_bytes          of a clone that is smaller: where the source's filesystem ends
#   minimum_bytes        how small the source's filesystem can be made, by its own tool
#   is_shrunk            true where klon clone makes it smaller, in an overlay over the source
#   used_bytes           what of it is in use
#   filesystem           what the source is formatted as
# [[kept]]               a partition that is on the drive and stays as it is; the plan is refused
#                        if it is no longer there as described
# [[original]]           the disk that sources are or lie on: what `klon restore` with this plan
#                        makes of a new disk
#   identity, groups     of the disk; the names of these sources
#   size_bytes, logical_sector_bytes, scheme, disk_guid, disk_signature
#                        of the disk and its table
#   boot_code            in its first sector, in hexadecimal digits
#   has_loader_in_gap    true where more of a boot loader is before its first partition
#   loader               that, where it is at most 192 KiB: start_bytes; bytes in hexadecimal digits
#   partition            as of [[kept]]
";
