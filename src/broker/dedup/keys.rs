//! Keys by their age. Each has a number, which grows: a position in the log of what remembers them.

use std::collections::BTreeMap;

use super::key::Key;
use crate::broker::{Map, Now, QueueId};

/// Keys that are remembered at most, whatever was declared; then the oldest are forgotten. They are some 100 octets each.
const KEYS_MAX: usize = 4 << 20;

/// Keys that are dropped for their age with each one that comes.
const AT_ONCE: usize = 4;

/// Keys with their numbers. Each is there once.
#[derive(Debug, Default)]
pub struct Keys {
    known: Map<Key, Entry>,
    by_number: BTreeMap<u64, Key>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    /// From when on it is not known any more.
    until: Now,
}

impl Keys {
    fn len(&self) -> usize {
        self.known.len()
    }

    pub fn contains(&self, key: Key, now: Now) -> bool {
        self.known.get(&key).is_some_and(|entry| entry.until > now)
    }

    /// Adds a key. If it was there already it has a new number from now on, and the old one is returned.
    pub fn insert(&mut self, key: Key, number: u64, until: Now) -> Option<u64> {
        self.by_number.insert(number, key);
        let old = self.known.insert(key, Entry { number, until })?.number;
        if old == number {
            return None;
        }
        self.by_number.remove(&old);
        Some(old)
    }

    /// The same, and forgets the oldest if there are too many.
    pub fn hold(&mut self, key: Key, number: u64) {
        self.insert(key, number, Now::MAX);
        if self.len() > KEYS_MAX {
            self.pop_oldest();
        }
    }

    /// Forgets one, and says whether it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        let key = self.by_number.remove(&number);
        key.is_some_and(|key| self.known.remove(&key).is_some())
    }

    /// Forgets all but some, which are few.
    pub fn retain(&mut self, mut stays: impl FnMut(u64) -> bool) {
        let Self { known, by_number } = std::mem::take(self);
        for (number, key) in by_number.into_iter().filter(|(number, _)| stays(*number)) {
            if let Some(entry) = known.get(&key) {
                self.insert(key, number, entry.until);
            }
        }
    }

    /// The number of the oldest one, and until when it is known.
    fn oldest(&self) -> Option<(u64, Now)> {
        let (number, key) = self.by_number.first_key_value()?;
        Some((*number, self.known.get(key).map_or(0, |entry| entry.until)))
    }

    fn pop_oldest(&mut self) -> Option<u64> {
        let (number, key) = self.by_number.pop_first()?;
        self.known.remove(&key);
        Some(number)
    }
}

/// The last keys, for some time.
#[derive(Debug)]
pub struct Cache {
    keys: Keys,
    size: usize,
    /// Milliseconds.
    ttl: Option<u64>,
    /// Whether it is to survive if its owner does.
    pub survives: bool,
    /// Where it is kept on disk.
    pub ledger: Option<QueueId>,
    /// The next number, where nobody else counts.
    next: u64,
}

impl Cache {
    pub fn new(size: u64, ttl: Option<u64>, survives: bool) -> Self {
        let size = usize::try_from(size).unwrap_or(KEYS_MAX).clamp(1, KEYS_MAX);
        Self { keys: Keys::default(), size, ttl, survives, ledger: None, next: 0 }
    }

    pub fn contains(&self, key: Key, now: Now) -> bool {
        self.keys.contains(key, now)
    }

    /// A number for the next key.
    pub fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Until when a key is known that comes now, for its own time or the cache's.
    pub fn until(&self, now: Now, own_ttl: Option<u64>) -> Now {
        own_ttl.or(self.ttl).map_or(Now::MAX, |ttl| now.saturating_add(ttl))
    }

    /// Remembers a key. `forget` is told the numbers of those that have to go for it, or whose time is over.
    pub fn insert(&mut self, key: Key, number: u64, until: Now, now: Now, mut forget: impl FnMut(u64)) {
        self.keys.insert(key, number, until).into_iter().for_each(&mut forget);
        while self.keys.len() > self.size {
            self.keys.pop_oldest().into_iter().for_each(&mut forget);
        }
        for _ in 0..AT_ONCE {
            match self.keys.oldest() {
                Some((oldest, until)) if until <= now && oldest != number => {
                    self.keys.remove(oldest);
                    forget(oldest);
                }
                _ => return,
            }
        }
    }

    /// Forgets a key, and says whether it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        self.keys.remove(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::read(&[number; Key::SIZE]).expect("16 octets")
    }

    const NONE: [u64; 0] = [];

    /// What a cache forgets for a key.
    fn insert(cache: &mut Cache, number: u8, now: Now, own_ttl: Option<u64>) -> Vec<u64> {
        let mut gone = Vec::new();
        let next = cache.next_number();
        cache.insert(key(number), next, cache.until(now, own_ttl), now, |number| gone.push(number));
        gone
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut cache = Cache::new(2, None, true);
        assert_eq!(insert(&mut cache, 1, 0, None), NONE);
        assert_eq!(insert(&mut cache, 2, 0, None), NONE);
        assert_eq!(insert(&mut cache, 3, 0, None), [1]);
        assert!(!cache.contains(key(1), Now::MAX - 1) && cache.contains(key(2), Now::MAX - 1));
        cache.remove(2);
        assert!(!cache.contains(key(2), 0));
        assert_eq!(insert(&mut cache, 1, 0, None), NONE);
        assert_eq!(cache.keys.len(), 2);
    }

    #[test]
    fn keys_have_their_time() {
        let mut cache = Cache::new(10, Some(100), true);
        insert(&mut cache, 1, 1000, None);
        insert(&mut cache, 2, 1000, Some(500));
        assert!(cache.contains(key(1), 1099) && !cache.contains(key(1), 1100));
        assert_eq!(insert(&mut cache, 1, 1200, None), [1], "it has a new number");
        assert!(cache.contains(key(1), 1299) && cache.contains(key(2), 1499));
        assert_eq!(insert(&mut cache, 3, 1600, Some(0)), [2, 3]);
        assert!(!cache.contains(key(3), 1600));
        assert_eq!((cache.keys.len(), cache.keys.by_number.len()), (1, 1));
        assert_eq!(cache.until(Now::MAX - 1, None), Now::MAX);
    }

    #[test]
    fn many_go_at_once() {
        let mut keys = Keys::default();
        (1..=5).for_each(|number| keys.hold(key(number), number.into()));
        keys.hold(key(5), 6);
        keys.remove(1);
        keys.retain(|number| number < 4);
        assert_eq!(keys.len(), 2);
        assert!(keys.contains(key(2), 0) && keys.contains(key(3), 0) && !keys.contains(key(5), 0));
    }
}
