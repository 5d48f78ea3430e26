//! The randomness of WASI: SHA-256 over the mission's id and a counter. Whoever knows the id knows all of it; whoever runs the mission again
//! gets the same. How it is made must never change: a replay by a later version draws it again.

use sha2::{Digest as _, Sha256};

use super::Wasi;
use super::world::random::{insecure, insecure_seed, random};

const BLOCK_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Random {
    seed: [u8; BLOCK_BYTES],
    /// Blocks that were made.
    blocks: u64,
    block: [u8; BLOCK_BYTES],
    /// So many bytes of the block were given out.
    given: usize,
}

impl Random {
    pub(super) fn of(mission: &str) -> Self {
        let seed = Sha256::new().chain_update(b"sortie wasi:random 1\0").chain_update(mission).finalize();
        Self { seed: seed.into(), blocks: 0, block: [0; BLOCK_BYTES], given: BLOCK_BYTES }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            if self.given == BLOCK_BYTES {
                let block = Sha256::new().chain_update(self.seed).chain_update(self.blocks.to_le_bytes()).finalize();
                (self.block, self.blocks, self.given) = (block.into(), self.blocks + 1, 0);
            }
            let taken = (BLOCK_BYTES - self.given).min(count - drawn.len());
            drawn.extend_from_slice(&self.block[self.given..][..taken]);
            self.given += taken;
        }
        drawn
    }

    fn u64(&mut self) -> u64 {
        let drawn = self.bytes(8).try_into().expect("eight bytes were asked for");
        u64::from_le_bytes(drawn)
    }

    /// For tables: it is the same whatever was drawn before.
    fn table_seed(&self) -> (u64, u64) {
        let seed = Sha256::new().chain_update(self.seed).chain_update(b"insecure-seed").finalize();
        let half = |at: usize| u64::from_le_bytes(seed[at..at + 8].try_into().expect("eight bytes"));
        (half(0), half(8))
    }
}

impl random::Host for Wasi<'_> {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let count = self.bounded(len, "randomness")?;
        Ok(self.played.random.bytes(count))
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.played.random.u64())
    }
}

impl insecure::Host for Wasi<'_> {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        random::Host::get_random_bytes(self, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self)
    }
}

impl insecure_seed::Host for Wasi<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(self.played.random.table_seed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Missions that were recorded by older versions are replayed by newer ones.
    #[test]
    fn what_is_drawn_stays_what_it_was() {
        let mut random = Random::of("m-1");
        let drawn: String = random.bytes(40).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(drawn, DRAWN);
        assert_eq!(random.u64(), 5_852_458_085_756_082_878);
        assert_eq!(random.table_seed(), (12_455_496_753_177_760_477, 18_422_710_521_505_479_990));
    }

    /// Of `m-1`, by another implementation.
    const DRAWN: &str = "787ef72c3ed0adc57198f4285f2513145585d6be63c971243a34fa83434147c8c51ed3eb89243f1b";

    #[test]
    fn in_pieces_it_is_the_same() {
        let whole = Random::of("m-1").bytes(1_000);
        let mut random = Random::of("m-1");
        let pieces: Vec<u8> = [1, 31, 32, 33, 0, 700, 203].into_iter().flat_map(|count| random.bytes(count)).collect();
        assert_eq!(pieces, whole);
        assert_ne!(Random::of("m-2").bytes(1_000), whole);
    }
}
