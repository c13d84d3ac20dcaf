//! Clone, clone again and verify on plain files.
