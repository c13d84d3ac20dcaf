//! Where clusters and file records are on the volume. This is the one place where their numbers
//! become bytes.
//!
//! Linux-NTFS documentation, "Clusters" and "File Reference":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/index.html>.

use super::address::{Lcn, RecordNumber, Vcn};
use super::boot::Geometry;
use crate::extent::Extent;

impl Geometry {
    /// The bytes of `clusters` clusters from `start` on. `None` when there are none, or when one of
    /// them is beyond the last of the volume.
    pub(super) fn extent(&self, start: Lcn, clusters: u64) -> Option<Extent> {
        let end = start.0.checked_add(clusters)?;
        let is_inside = end <= self.clusters;
        Extent::between(self.bytes(start.0), self.bytes(end)).filter(|_| is_inside)
    }

    /// Where a cluster of a value starts in the value.
    pub(super) const fn vcn_byte(&self, vcn: Vcn) -> u64 {
        self.bytes(vcn.0)
    }

    /// Where a record starts in the master file table.
    pub(super) const fn record_byte(&self, number: RecordNumber) -> u64 {
        // The number of a reference has 48 bits, and a record at most 64 KiB.
        number.0.saturating_mul(self.record_bytes as u64)
    }

    /// End of the last whole cluster.
    pub(super) const fn clusters_end_bytes(&self) -> u64 {
        self.bytes(self.clusters)
    }

    /// How many bytes so many clusters have. A number of clusters that is too large for that has
    /// the largest number of bytes, and no volume so many.
    pub(super) const fn bytes(&self, clusters: u64) -> u64 {
        clusters.saturating_mul(self.cluster_bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::extent::Extent;
    use crate::filesystem::ntfs::address::{Lcn, Vcn};
    use crate::filesystem::ntfs::boot::Geometry;

    #[test]
    fn clusters_beyond_the_last_have_no_bytes() {
        let geometry = Geometry {
            sector_bytes: 512,
            cluster_bytes: 512,
            clusters: 100,
            record_bytes: 1024,
            index_bytes: 4096,
            mft_lcn: Lcn(4),
            mirror_lcn: Lcn(50),
            size_bytes: 51_712,
        };
        assert_eq!(geometry.extent(Lcn(99), 1), Extent::new(50_688, 512));
        for (start, clusters) in [(100, 1), (99, 2), (5, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(geometry.extent(Lcn(start), clusters), None, "{start}");
        }
        assert_eq!(geometry.vcn_byte(Vcn(3)), 1536);
        assert_eq!(geometry.vcn_byte(Vcn(1 << 60)), u64::MAX);
    }
}
