//! Names of the queues of a run.

/// Most queues of a run.
pub const QUEUES_MAX: u32 = 100_000;

/// Names such as `name-%d`, with a number in its place, or `name-%04d` with leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    digits: usize,
    after: String,
}

impl Pattern {
    /// Parses a pattern, which must have one place for a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let place = || "must have %d, or %04d and the like, once".to_owned();
        let (before, rest) = text.split_once('%').ok_or_else(place)?;
        let (digits, after) = rest.split_once('d').ok_or_else(place)?;
        let wide = |digits: &str| digits.strip_prefix('0')?.parse().ok().filter(|&wide| wide <= 20);
        let digits = if digits.is_empty() { 0 } else { wide(digits).ok_or_else(place)? };
        if after.contains('%') {
            return Err(place());
        }
        Ok(Self { before: before.to_owned(), digits, after: after.to_owned() })
    }

    /// The name with this number.
    pub fn name(&self, number: u32) -> String {
        let Self { before, digits, after } = self;
        format!("{before}{number:0digits$}{after}")
    }
}

/// Names of so many new queues.
pub fn new_names(id: u64, count: u32) -> Vec<String> {
    match count {
        1 => vec![format!("leveret-perf-{id:08x}")],
        count => (1..=count).map(|number| format!("leveret-perf-{id:08x}-{number:04}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_its_place_in_a_pattern() {
        let name = |pattern, number| Pattern::parse(pattern).map(|pattern| pattern.name(number));
        assert_eq!(name("perf-%d", 12).as_deref(), Ok("perf-12"));
        assert_eq!(name("%d", 0).as_deref(), Ok("0"));
        assert_eq!(name("a-%03d-b", 7).as_deref(), Ok("a-007-b"));
        assert_eq!(name("a-%03d-b", 12345).as_deref(), Ok("a-12345-b"));
        for bad in ["a", "a%", "%s", "%d-%d", "100%-%d", "%3d", "%0xd", "%099d"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn new_queues_have_names_of_their_own() {
        assert_eq!(new_names(0xab, 1), ["leveret-perf-000000ab"]);
        assert_eq!(new_names(1, 2), ["leveret-perf-00000001-0001", "leveret-perf-00000001-0002"]);
    }
}
