//! Transactions of the log, put together from the operations of its records as a recovery does it.
//!
//! `xlog_recover_process_data` in `fs/xfs/xfs_log_recover.c` of Linux; XFS Algorithms & Data Structures,
//! "Log Operations":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::record::is_unmount_operation;
use crate::bytes::{be32, le16, le32, u8_at};
use std::collections::HashMap;

/// `struct xlog_op_header`
const HEADER_LEN: usize = 12;
/// `XFS_TRANSACTION` and `XFS_LOG` of `oh_clientid`.
const TRANSACTION: u8 = 0x69;
const LOG: u8 = 0xaa;
/// Of `oh_flags`: `XLOG_START_TRANS`, `XLOG_COMMIT_TRANS`, `XLOG_CONTINUE_TRANS`, `XLOG_WAS_CONT_TRANS`,
/// `XLOG_END_TRANS`.
const START: u8 = 0x1;
const COMMIT: u8 = 0x2;
const CONTINUED: u8 = 0x4;
const CONTINUES: u8 = 0x8;
const END: u8 = 0x10;
/// `struct xfs_trans_header`: its magic (`XFS_TRANS_HEADER_MAGIC`) and its length.
const MAGIC: u32 = 0x5452_414e;
const TRANSACTION_HEADER_LEN: usize = 16;

/// What is logged together.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The LSN of the record in which the transaction begins.
    pub(super) lsn: u64,
    regions: Vec<Vec<u8>>,
}

impl Transaction {
    /// Its items, each as its regions: first what describes the item, then what the item holds. `None`
    /// when it is damaged.
    pub(super) fn items(&self) -> Option<Vec<&[Vec<u8>]>> {
        let (header, mut rest) = self.regions.split_first()?;
        if header.len() != TRANSACTION_HEADER_LEN || le32(header, 0) != MAGIC {
            return None;
        }
        let mut items = Vec::new();
        while let Some(format) = rest.first() {
            if format.len() < 4 {
                return None;
            }
            let regions = usize::from(le16(format, 2));
            let (item, others) = rest.split_at_checked(regions).filter(|_| regions > 0)?;
            items.push(item);
            rest = others;
        }
        Some(items)
    }
}

/// The transactions of records that follow one another. One that has no end among them is not replayed,
/// nor what is left of one that began before them.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    open: HashMap<u32, Transaction>,
    committed: Vec<Transaction>,
}

impl Recovery {
    /// The transactions that ended, in that order.
    pub(super) fn committed(&self) -> &[Transaction] {
        &self.committed
    }

    /// Takes the operations of the record with that LSN. `None` when a recovery would not take them.
    pub(super) fn add(&mut self, lsn: u64, operations: u32, data: &[u8]) -> Option<()> {
        let mut rest = data;
        for _ in 0..operations {
            let (header, after) = rest.split_at_checked(HEADER_LEN)?;
            let oh_tid = be32(header, 0);
            let oh_len = be32(header, 4) as usize;
            let oh_clientid = u8_at(header, 8);
            let oh_flags = u8_at(header, 9);
            let (payload, after) = after.split_at_checked(oh_len)?;
            match oh_clientid {
                TRANSACTION => self.operation(lsn, oh_tid, oh_flags, payload)?,
                // A recovery passes over it.
                LOG if is_unmount_operation(oh_flags, payload) => {}
                _ => return None,
            }
            rest = after;
        }
        Some(())
    }

    fn operation(&mut self, lsn: u64, id: u32, flags: u8, payload: &[u8]) -> Option<()> {
        let Some(transaction) = self.open.get_mut(&id) else {
            if flags & START == 0 {
                return Some(());
            }
            let regions = Vec::new();
            self.open.insert(id, Transaction { lsn, regions });
            return payload.is_empty().then_some(());
        };
        let is_continuing = flags & CONTINUES != 0;
        match flags & !(END | CONTINUED | CONTINUES) {
            0 if is_continuing => transaction.regions.last_mut()?.extend(payload),
            0 if payload.is_empty() => {}
            0 => transaction.regions.push(payload.to_vec()),
            COMMIT if !is_continuing => self.committed.extend(self.open.remove(&id)),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMIT, CONTINUED, CONTINUES, END, Recovery, START};

    fn operation(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let header = [id.to_be_bytes(), len.to_be_bytes(), [0x69, flags, 0, 0]];
        [&header.concat(), payload].concat()
    }

    /// What is committed of records with so many operations each.
    fn committed(records: &[&[Vec<u8>]]) -> Option<Vec<(u64, Vec<Vec<u8>>)>> {
        let mut recovery = Recovery::default();
        for (lsn, operations) in (1..).zip(records) {
            let count = u32::try_from(operations.len()).unwrap();
            recovery.add(lsn, count, &operations.concat())?;
        }
        let of = |it: &super::Transaction| (it.lsn, it.regions.clone());
        Some(recovery.committed.iter().map(of).collect())
    }

    #[test]
    fn a_region_goes_on_in_the_next_record() {
        let records: [&[Vec<u8>]; 2] = [
            &[
                operation(7, START, b""),
                operation(8, START, b""),
                operation(7, 0, b"one"),
                operation(7, CONTINUED, b"tw"),
            ],
            &[
                operation(7, CONTINUES | CONTINUED, b"o th"),
                operation(7, CONTINUES | END, b"ree"),
                operation(8, 0, b"never ends"),
                operation(7, COMMIT, b""),
            ],
        ];
        let regions = [&b"one"[..], b"two three"].map(<[u8]>::to_vec);
        assert_eq!(committed(&records), Some(vec![(1, regions.to_vec())]));
    }

    #[test]
    fn what_began_before_is_passed_over() {
        let operations = [operation(7, 0, b"rest"), operation(7, COMMIT, b"")];
        assert_eq!(committed(&[&operations]), Some(vec![]));
    }

    #[test]
    fn what_a_recovery_refuses_is_refused() {
        let start = || operation(7, START, b"");
        let mut other = operation(7, 0, b"x");
        other[8] = 1;
        for second in [start(), operation(7, 0x40, b""), other] {
            assert_eq!(committed(&[&[start(), second]]), None);
        }
        assert_eq!(
            committed(&[&[start(), operation(7, CONTINUES, b"x")]]),
            None
        );
        let cut = operation(7, 0, b"four");
        let mut recovery = Recovery::default();
        assert!(recovery.add(1, 1, &cut[..14]).is_none());
        assert!(recovery.add(1, 2, &cut).is_none());
    }
}
