//! F2FS from golden images, with damage.
