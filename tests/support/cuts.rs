//! How what a client sends at once is spread over reads.

use super::random::Random;

#[derive(Clone, Debug)]
pub enum Cuts {
    /// All of it in one read.
    Whole,
    /// Two reads: the octets before an offset, and the rest.
    At(usize),
    /// Every octet in a read of its own.
    Everywhere,
    /// Reads of random sizes.
    Random(Random),
}

impl Cuts {
    pub fn pieces<'a>(&mut self, octets: &'a [u8]) -> Vec<&'a [u8]> {
        match self {
            Self::Whole => vec![octets],
            Self::At(at) if *at < octets.len() => vec![&octets[..*at], &octets[*at..]],
            Self::At(_) => vec![octets],
            Self::Everywhere => octets.chunks(1).collect(),
            Self::Random(random) => {
                let mut out = Vec::new();
                let mut rest = octets;
                while !rest.is_empty() {
                    let longest = if random.chance(50) { 20.min(rest.len()) } else { rest.len() };
                    let (piece, tail) = rest.split_at(1 + random.below(longest));
                    out.push(piece);
                    rest = tail;
                }
                out
            }
        }
    }
}
