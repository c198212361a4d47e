//! How many files and sockets this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::error::PerfError;

/// Descriptors besides those of the connections: standard streams, what is read from `/proc`.
const OTHERS: u64 = 64;

/// Makes sure that this process may have so many sockets, up to what the system allows it.
///
/// # Errors
///
/// [`PerfError::Usage`] when the system does not.
pub fn allow(sockets: u64) -> Result<(), PerfError> {
    let Some(new) = raised(getrlimit(Resource::Nofile), sockets + OTHERS) else {
        return Ok(());
    };
    setrlimit(Resource::Nofile, new).map_err(|error| {
        PerfError::Usage(format!(
            "{sockets} connections need more open files than this process may have ({error}; see ulimit -Hn)"
        ))
    })
}

/// The limit to ask for where `wanted` descriptors are more than the present one allows. The maximum
/// is raised where it must be, which only root may.
fn raised(limit: Rlimit, wanted: u64) -> Option<Rlimit> {
    let at_least = |present: Option<u64>| present.map(|present| present.max(wanted));
    let allowed = limit.current.is_none_or(|current| current >= wanted);
    (!allowed).then(|| Rlimit { current: Some(wanted), maximum: at_least(limit.maximum) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_but_never_lowered() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(raised(limit(Some(1024), Some(4096)), 1024), None);
        assert_eq!(raised(limit(Some(1024), Some(4096)), 2000), Some(limit(Some(2000), Some(4096))));
        assert_eq!(raised(limit(Some(1024), Some(4096)), 5000), Some(limit(Some(5000), Some(5000))));
        assert_eq!(raised(limit(Some(1024), None), 5000), Some(limit(Some(5000), None)));
        assert_eq!(raised(limit(None, None), u64::MAX), None);
    }

    #[test]
    fn what_there_is_already_is_allowed() {
        assert!(allow(1).is_ok());
        let impossible = allow(1 << 60).unwrap_err().to_string();
        assert!(impossible.contains("need more open files"), "{impossible}");
    }
}
