//! BLAKE2b with a digest of 256 bits and no key (RFC 7693).

use crate::bytes::le64;

const BLOCK_BYTES: usize = 128;

const IV: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// Section 2.7, "Message Schedule SIGMA".
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Which words each of the eight mixings of a round takes: columns, then diagonals.
const LANES: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// The digest of `bytes`.
pub(super) fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    let mut state = IV;
    // Digest length 32, no key, fanout and depth 1.
    state[0] ^= 0x0101_0020;
    let blocks = bytes.len().div_ceil(BLOCK_BYTES).max(1);
    for index in 0..blocks {
        let start = index * BLOCK_BYTES;
        let end = bytes.len().min(start + BLOCK_BYTES);
        let mut block = [0; BLOCK_BYTES];
        block[..end - start].copy_from_slice(&bytes[start..end]);
        compress(&mut state, &block, end, index + 1 == blocks);
    }
    let mut digest = [0; 32];
    for (word, bytes) in state.iter().zip(digest.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn compress(state: &mut [u64; 8], block: &[u8; BLOCK_BYTES], end: usize, is_last: bool) {
    let words: [u64; 16] = std::array::from_fn(|index| le64(block, 8 * index));
    let mut mixed: [u64; 16] = std::array::from_fn(|index| {
        if index < 8 {
            state[index]
        } else {
            IV[index - 8]
        }
    });
    mixed[12] ^= u64::try_from(end).unwrap_or(u64::MAX);
    if is_last {
        mixed[14] = !mixed[14];
    }
    for round in 0..12 {
        let order = &SIGMA[round % 10];
        for (lane, pair) in LANES.iter().zip(order.chunks_exact(2)) {
            mix(&mut mixed, *lane, words[pair[0]], words[pair[1]]);
        }
    }
    for (index, word) in state.iter_mut().enumerate() {
        *word ^= mixed[index] ^ mixed[index + 8];
    }
}

fn mix(words: &mut [u64; 16], [a, b, c, d]: [usize; 4], x: u64, y: u64) {
    words[a] = words[a].wrapping_add(words[b]).wrapping_add(x);
    words[d] = (words[d] ^ words[a]).rotate_right(32);
    words[c] = words[c].wrapping_add(words[d]);
    words[b] = (words[b] ^ words[c]).rotate_right(24);
    words[a] = words[a].wrapping_add(words[b]).wrapping_add(y);
    words[d] = (words[d] ^ words[a]).rotate_right(16);
    words[c] = words[c].wrapping_add(words[d]);
    words[b] = (words[b] ^ words[c]).rotate_right(63);
}

#[cfg(test)]
mod tests {
    use super::blake2b_256;

    fn hexadecimal(bytes: &[u8]) -> String {
        let digest = blake2b_256(bytes);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// By `b2sum -l 256`.
    #[test]
    fn known_values() {
        let cases = [
            (
                0,
                "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
            ),
            (
                128,
                "ae2aa48507885c4c950fb809b2076f959cde9f8ea6da260d9a3587df33dac450",
            ),
            (
                300,
                "3c1292de00a518e36823f9ff908ac2da46be38718c018713403461df077e15f6",
            ),
        ];
        for (len, expected) in cases {
            assert_eq!(hexadecimal(&vec![b'a'; len]), expected, "{len}");
        }
    }
}
