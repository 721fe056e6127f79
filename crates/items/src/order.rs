//! The order of an epoch: of its shards, and of the samples in them.
//!
//! `shards`, which reads tars, and `encode`, which reads the feature cache in
//! their place, follow the same three steps, so an epoch has one order, wherever
//! its samples come from:
//!
//! 1. visit the shards in [`ShardPlan::order`];
//! 2. [`push`](ShuffleBuffer::push) each sample of a shard, skipped ones
//!    included, in the order of the tar, and hand on what leaves;
//! 3. after the last shard, hand on what [`pop`](ShuffleBuffer::pop) gives.

use pipeline_engine::rng::{ChaCha8Rng, Draw, below};

use crate::memory::ShardPlan;

impl ShardPlan {
    /// Positions in [`ShardPlan::shards`] in the order in which `epoch` visits them.
    pub fn order(&self, seed: u64, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shards.len()).collect();
        if self.shuffle {
            let mut rng = Draw::new(seed, "shards.shuffle").number(epoch.into()).rng();
            for last in (1..order.len()).rev() {
                order.swap(last, below(&mut rng, last + 1));
            }
        }
        order
    }

    /// The empty shuffle buffer that `epoch` begins with.
    pub fn shuffle_buffer<T>(&self, seed: u64, epoch: u32) -> ShuffleBuffer<T> {
        let capacity = if self.shuffle { self.buffer } else { 0 };
        ShuffleBuffer::new(capacity, &Draw::new(seed, "shards.buffer").number(epoch.into()))
    }
}

/// A reservoir: it fills up, then each item that comes takes the place of a
/// random one, which leaves; at the end the rest leave in random order.
///
/// Which item leaves depends on the draw and on how many items came, not on the items.
///
/// ```
/// # use items::order::ShuffleBuffer;
/// # use pipeline_engine::rng::Draw;
/// let mut buffer = ShuffleBuffer::new(2, &Draw::new(7, "example"));
/// let mut out: Vec<u32> = (0..5).filter_map(|item| buffer.push(item)).collect();
/// assert_eq!(out.len(), 3);
/// out.extend(std::iter::from_fn(|| buffer.pop()));
/// out.sort();
/// assert_eq!(out, [0, 1, 2, 3, 4]);
/// ```
#[derive(Debug)]
pub struct ShuffleBuffer<T> {
    capacity: usize,
    rng: ChaCha8Rng,
    held: Vec<T>,
}

impl<T> ShuffleBuffer<T> {
    /// A buffer that holds at most `capacity` items. With 0 or 1 the order stays.
    pub fn new(capacity: usize, draw: &Draw) -> Self {
        Self { capacity, rng: draw.rng(), held: Vec::new() }
    }

    /// Takes an item; once the buffer is full, returns the one that makes room for it.
    pub fn push(&mut self, item: T) -> Option<T> {
        if self.capacity == 0 {
            return Some(item);
        }
        if self.held.len() < self.capacity {
            self.held.push(item);
            return None;
        }
        let slot = below(&mut self.rng, self.held.len());
        Some(std::mem::replace(&mut self.held[slot], item))
    }

    /// Removes a random item; `None` when the buffer is empty.
    pub fn pop(&mut self) -> Option<T> {
        if self.held.is_empty() {
            return None;
        }
        let slot = below(&mut self.rng, self.held.len());
        Some(self.held.swap_remove(slot))
    }

    /// Items inside.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::sample::Shard;

    fn plan(shards: u32, shuffle: bool, buffer: usize) -> ShardPlan {
        let shard = |number| Arc::new(Shard { number, url: format!("{number}.tar"), identity: String::new() });
        ShardPlan { shards: (0..shards).map(shard).collect(), shuffle, buffer }
    }

    #[test]
    fn an_epoch_visits_each_shard_once_in_an_order_of_its_own() {
        let plan = plan(20, true, 0);
        let first = plan.order(7, 1);
        assert_eq!(first, plan.order(7, 1));
        assert_ne!(first, plan.order(7, 2));
        assert_ne!(first, plan.order(8, 1));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert!(self::plan(0, true, 0).order(7, 1).is_empty());
    }

    #[test]
    fn without_shuffle_nothing_moves() {
        let plan = plan(5, false, 100);
        assert_eq!(plan.order(7, 1), [0, 1, 2, 3, 4]);
        let mut buffer = plan.shuffle_buffer(7, 1);
        assert_eq!(buffer.push('a'), Some('a'));
        assert!(buffer.is_empty());
    }

    /// What comes out of a buffer that 0..n goes through.
    fn through(capacity: usize, n: u32, epoch: u32) -> Vec<u32> {
        let mut buffer = plan(1, true, capacity).shuffle_buffer(7, epoch);
        let mut out = Vec::new();
        for item in 0..n {
            out.extend(buffer.push(item));
            assert!(buffer.len() <= capacity);
        }
        out.extend(std::iter::from_fn(|| buffer.pop()));
        out
    }

    #[test]
    fn every_item_leaves_once_in_an_order_that_the_key_decides() {
        for capacity in [0, 1, 2, 7, 100, 1000] {
            for n in [0, 1, 2, 99] {
                let out = through(capacity, n, 1);
                assert_eq!(out, through(capacity, n, 1));
                let mut sorted = out;
                sorted.sort_unstable();
                assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            }
        }
        assert_ne!(through(32, 100, 1), through(32, 100, 2));
    }

    #[test]
    fn no_item_comes_earlier_than_the_buffer_allows() {
        let in_order: Vec<u32> = (0..100).collect();
        assert_eq!(through(0, 100, 1), in_order);
        assert_eq!(through(1, 100, 1), in_order);
        let out = through(10, 100, 1);
        assert_ne!(out, in_order);
        assert!(out.iter().enumerate().all(|(place, &item)| item <= place as u32 + 9));
    }

    #[test]
    fn a_buffer_as_large_as_the_epoch_shuffles_evenly() {
        // Where item 0 of 8 ends up, over many epochs: each place an eighth of the time.
        let mut places = [0u32; 8];
        for epoch in 0..4000 {
            places[through(8, 8, epoch).iter().position(|&item| item == 0).unwrap()] += 1;
        }
        assert!(places.iter().all(|count| (400..600).contains(count)), "{places:?}");
    }
}
