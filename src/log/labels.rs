//! Labels: what a chunk's records are labelled with, in a few octets, so that whoever looks for some labels need not
//! read what cannot have them.
//!
//! It is a Bloom filter: it may say that a label is there that is not, and never the other way round. Labels are
//! numbers, hashes made by whoever appends, which have to stay the same for good.

/// Bits that a label sets.
const BITS: u64 = 3;

/// The labels of some records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Whether there is a record without any.
    bare: bool,
    bits: Box<[u8]>,
}

/// What somebody looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Records without a label.
    pub bare: bool,
    /// Records with one of these.
    pub labels: Vec<u64>,
}

impl Labels {
    /// None yet; `size` octets, at least one.
    pub fn new(size: u8) -> Self {
        Self { bare: false, bits: vec![0; usize::from(size.max(1))].into() }
    }

    /// One more record has this label, or none.
    pub fn add(&mut self, label: Option<u64>) {
        let Some(label) = label else {
            self.bare = true;
            return;
        };
        for place in places(label, self.bits.len()) {
            self.bits[place / 8] |= 1 << (place % 8);
        }
    }

    /// Whether there may be a record that is looked for.
    pub fn may_hold(&self, wanted: &Wanted) -> bool {
        let has = |label: &u64| {
            places(*label, self.bits.len()).all(|place| self.bits[place / 8] & 1 << (place % 8) != 0)
        };
        (wanted.bare && self.bare) || wanted.labels.iter().any(has)
    }

    /// As an index has it: octets, bare or not, bits.
    pub fn put(labels: Option<&Self>, out: &mut Vec<u8>) {
        let Some(labels) = labels else { return out.push(0) };
        out.push(labels.bits.len() as u8);
        out.push(u8::from(labels.bare));
        out.extend_from_slice(&labels.bits);
    }

    /// Reads what [`put`](Self::put) has written off the front of some octets; `None` if it is cut off.
    pub fn read(octets: &mut &[u8]) -> Option<Option<Box<Self>>> {
        let (size, rest) = octets.split_first()?;
        if *size == 0 {
            *octets = rest;
            return Some(None);
        }
        let (bare, rest) = rest.split_first()?;
        let (bits, rest) = rest.split_at_checked(usize::from(*size))?;
        *octets = rest;
        Some(Some(Box::new(Self { bare: *bare != 0, bits: bits.into() })))
    }
}

/// The bits of a label in so many octets, by two halves of its hash.
fn places(label: u64, octets: usize) -> impl Iterator<Item = usize> {
    let (one, two) = (label >> 32, label & 0xffff_ffff | 1);
    (0..BITS).map(move |n| ((one + n * two) % (octets as u64 * 8)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let mix = |n: u64| {
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let mut labels = Labels::new(16);
        (0..8).for_each(|n| labels.add(Some(mix(n))));
        let wanted = |n| Wanted { bare: false, labels: vec![mix(n)] };
        assert!((0..8).all(|n| labels.may_hold(&wanted(n))));
        let wrong = (100..1100).filter(|n| labels.may_hold(&wanted(*n))).count();
        assert!(wrong < 100, "{wrong} of 1000");
        let bare = Wanted { bare: true, labels: Vec::new() };
        assert!(!labels.may_hold(&bare) && !labels.may_hold(&Wanted::default()));
        labels.add(None);
        assert!(labels.may_hold(&bare));
        let mut out = Vec::new();
        Labels::put(Some(&labels), &mut out);
        Labels::put(None, &mut out);
        for cut in 0..18 {
            assert_eq!(Labels::read(&mut &out[..cut]), None);
        }
        let mut rest = &out[..];
        assert_eq!(Labels::read(&mut rest), Some(Some(Box::new(labels))));
        assert_eq!(Labels::read(&mut rest), Some(None));
        assert!(rest.is_empty());
    }
}
