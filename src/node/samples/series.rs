//! Numbers over time: samples of one object, at whole multiples of five seconds.
//!
//! A sample is kept only where something has changed since the one before; in between, what was last counted holds. The
//! finest samples are kept for some minutes, fewer of them for longer.

use std::collections::VecDeque;

/// Seconds since 1970.
pub type Seconds = u64;

/// Seconds between two samples, and what a rate is made of.
pub const STEP: Seconds = 5;

/// For how many seconds samples are kept at which distance, as RabbitMQ has it (`sample_retention_policies`).
#[derive(Clone, Copy, Debug)]
pub struct Retention(&'static [(Seconds, Seconds)]);

/// For queues, exchanges, channels and connections.
pub const BASIC: Retention = Retention(&[(600, STEP), (3600, 60)]);
/// For vhosts and the node.
pub const GLOBAL: Retention = Retention(&[(600, STEP), (3600, 60), (28_800, 600), (86_400, 1800)]);

impl Retention {
    /// For how many seconds there are samples, at each distance.
    pub fn ages(self) -> Vec<Seconds> {
        self.0.iter().map(|(age, _)| *age).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample<const N: usize> {
    at: Seconds,
    values: [u64; N],
}

/// Samples at one distance, oldest first.
#[derive(Clone, Debug)]
struct Level<const N: usize> {
    samples: VecDeque<Sample<N>>,
    /// Whether there were earlier ones.
    cut: bool,
}

impl<const N: usize> Default for Level<N> {
    fn default() -> Self {
        Self { samples: VecDeque::new(), cut: false }
    }
}

/// The samples of one object's `N` numbers.
#[derive(Clone, Debug)]
pub struct Series<const N: usize> {
    retention: Retention,
    levels: Vec<Level<N>>,
}

impl<const N: usize> Level<N> {
    fn push(&mut self, sample: Sample<N>, most: usize) {
        while self.samples.len() >= most.max(2) {
            self.samples.pop_front();
            self.cut = true;
        }
        self.samples.push_back(sample);
    }

    /// What held at a time: the latest sample up to then. `None` if that is not known here any more.
    fn at(&self, time: Seconds) -> Option<[u64; N]> {
        let count = self.samples.partition_point(|sample| sample.at <= time);
        match count.checked_sub(1).and_then(|last| self.samples.get(last)) {
            Some(sample) => Some(sample.values),
            None if self.cut => None,
            None => Some([0; N]),
        }
    }
}

impl<const N: usize> Series<N> {
    pub fn new(retention: Retention) -> Self {
        Self { retention, levels: vec![Level::default()] }
    }

    /// Octets that a sample takes.
    pub const SAMPLE: usize = size_of::<Sample<N>>();

    /// How many samples there may be of an object, if nothing limits them.
    pub fn most(retention: Retention) -> usize {
        retention.0.iter().map(|(age, step)| (age / step + 1) as usize).sum()
    }

    /// The last one.
    pub fn last(&self) -> Option<[u64; N]> {
        self.levels.first()?.samples.back().map(|sample| sample.values)
    }

    /// Adds what holds at a time, which is later than all before. `room` is how many samples of each distance may be kept
    /// at the most.
    pub fn push(&mut self, at: Seconds, values: [u64; N], room: usize) {
        let before = self.levels.first().and_then(|level| level.samples.back().copied());
        if before.is_some_and(|before| before.values == values) {
            return;
        }
        if let Some(before) = before {
            self.round_up(before, at, room);
        }
        self.push_to(0, Sample { at, values }, room);
    }

    /// Where a coarser step lies between two samples, the first of these holds at it.
    fn round_up(&mut self, before: Sample<N>, at: Seconds, room: usize) {
        for index in 1..self.retention.0.len() {
            let step = self.retention.0[index].1;
            let first = before.at.next_multiple_of(step);
            if first < at {
                self.push_to(index, Sample { at: first, ..before }, room);
            }
        }
    }

    fn push_to(&mut self, index: usize, sample: Sample<N>, room: usize) {
        let Some((age, step)) = self.retention.0.get(index) else { return };
        while self.levels.len() <= index {
            self.levels.push(Level::default());
        }
        self.levels[index].push(sample, room.min((age / step) as usize + 1));
    }

    /// Forgets all but the last sample, which is then taken for what has always been.
    pub fn forget(&mut self) {
        self.levels.truncate(1);
        if let Some(level) = self.levels.first_mut() {
            level.cut |= !level.samples.is_empty();
            level.samples.drain(..level.samples.len().saturating_sub(1));
        }
    }

    /// What held at a time, as exactly as it is known.
    pub fn at(&self, time: Seconds) -> [u64; N] {
        let found = self.levels.iter().find_map(|level| level.at(time));
        // Before all that is known it is taken for what it was first known to be.
        let earliest = || self.levels.iter().rev().find_map(|level| level.samples.front());
        found.unwrap_or_else(|| earliest().map_or([0; N], |sample| sample.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_last_holds() {
        let mut series = Series::new(BASIC);
        assert_eq!((series.at(100), series.last()), ([0], None));
        series.push(100, [7], usize::MAX);
        series.push(105, [7], usize::MAX);
        series.push(120, [9], usize::MAX);
        let at = [95, 100, 105, 119, 120, 1000].map(|time| series.at(time)[0]);
        assert_eq!(at, [0, 7, 7, 7, 9, 9]);
        assert_eq!(series.levels[0].samples.len(), 2, "what does not change takes no memory");
    }

    #[test]
    fn what_is_old_is_known_less_exactly() {
        let mut series = Series::new(BASIC);
        for n in 1..=1000 {
            series.push(n * STEP, [n], usize::MAX);
        }
        let now = 1000 * STEP;
        assert_eq!([now, now - 600].map(|time| series.at(time)[0]), [1000, 880]);
        // A minute's first sample counts for all of it.
        assert_eq!([now - 1200, now - 1205, now - 3550].map(|time| series.at(time)[0]), [756, 756, 288]);
        let kept: Vec<_> = series.levels.iter().map(|level| level.samples.len()).collect();
        assert_eq!(kept, [121, 61]);
        // Long before it is what it was when it was first known.
        assert_eq!(series.at(5), series.levels[1].samples[0].values);
    }

    #[test]
    fn what_is_forgotten_has_no_rate() {
        let mut series = Series::new(BASIC);
        series.forget();
        for n in 1..=100 {
            series.push(n * STEP, [n], usize::MAX);
        }
        series.forget();
        assert_eq!((series.at(50 * STEP), series.last()), ([100], Some([100])));
        assert_eq!((series.levels.len(), series.levels[0].samples.len()), (1, 1));
        series.push(101 * STEP, [103], usize::MAX);
        assert_eq!([90, 100, 101].map(|n| series.at(n * STEP)[0]), [100, 100, 103]);
    }

    #[test]
    fn it_takes_no_more_than_there_is_room_for() {
        let mut series = Series::new(GLOBAL);
        for n in 1..=100_000 {
            series.push(n * STEP, [n, 2 * n], 3);
        }
        assert!(series.levels.iter().all(|level| level.samples.len() <= 3));
        assert_eq!(series.at(100_000 * STEP - STEP), [99_999, 199_998]);
    }
}
