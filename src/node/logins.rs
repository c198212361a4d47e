//! Logins, slowed down where somebody seems to guess.
//!
//! Passwords are hashed on a thread for that. Whoever fails for the same name from the same address again and again (or for
//! any names from one address) has to wait before the next attempt is looked at, longer each time, and only a few
//! attempts wait at a time. That holds for attempts with the right password, too, or the time that an answer takes would
//! tell; but nobody waits for longer than a few seconds, and the first success ends it for its name.
//!
//! Many may share an address: behind a proxy, or on this machine. So whoever has succeeded from there lately does not wait
//! because others fail for other names.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::Node;
use crate::auth::sasl::{Certified, Credentials};
use crate::auth::{Refused, User};

/// Failures of one name from one address that cost nothing, and of all names together.
const FREE: u32 = 5;
const FREE_OF_ADDRESS: u32 = 20;
/// How long to wait after one more, twice as long after the next, and at the most.
const STEP: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Attempts that wait at a time; others wait for their turn, so long at the most, and are refused then.
const TURNS: usize = 4;
const TURN_MAX: Duration = Duration::from_secs(3);
/// Failures are forgotten after that.
const MEMORY: Duration = Duration::from_secs(60);
/// Successes are forgotten after that.
const TRUST: Duration = Duration::from_secs(3600);
/// As many names and addresses are kept in mind, of either kind.
const KNOWN_MAX: usize = 4096;

/// Somebody who has failed, as a hash of name and address.
#[derive(Debug)]
struct Suspect {
    failures: u32,
    last: Instant,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Default)]
pub struct Logins {
    hasher: foldhash::fast::RandomState,
    suspects: Mutex<HashMap<u64, Suspect>>,
    /// Who has succeeded, and when: as a hash of name and address.
    trusted: Mutex<HashMap<u64, Instant>>,
}

impl Logins {
    /// This name from this address, and all names from there.
    fn keys(&self, name: &str, address: IpAddr) -> [(u64, u32); 2] {
        let address = network(address);
        let of_address = self.hasher.hash_one(address);
        [(self.hasher.hash_one((name, address)), FREE), (of_address, FREE_OF_ADDRESS)]
    }

    /// Those of the keys that an attempt may have to wait for.
    fn keys_that_count(&self, name: &str, address: IpAddr) -> impl Iterator<Item = (u64, u32)> {
        let keys = self.keys(name, address);
        let since = self.trusted.lock().get(&keys[0].0).copied();
        let count = if since.is_some_and(|since| since.elapsed() <= TRUST) { 1 } else { keys.len() };
        keys.into_iter().take(count)
    }

    /// Waits until an attempt may be looked at. What comes back is held while it is; `None` is returned where too many
    /// others wait.
    async fn turn(&self, name: &str, address: IpAddr) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut held = Vec::new();
        for (key, free) in self.keys_that_count(name, address) {
            let Some((turns, wait)) = self.wait_of(key, free) else { continue };
            // The semaphore is never closed.
            held.push(timeout(TURN_MAX, turns.acquire_owned()).await.ok()?.ok()?);
            sleep(wait).await;
        }
        Some(held)
    }

    fn wait_of(&self, key: u64, free: u32) -> Option<(Arc<Semaphore>, Duration)> {
        let mut suspects = self.suspects.lock();
        let suspect = suspects.get(&key)?;
        if suspect.last.elapsed() > MEMORY {
            suspects.remove(&key);
            return None;
        }
        let over = suspect.failures.checked_sub(free)?;
        let wait = STEP.saturating_mul(1 << over.min(10)).min(WAIT_MAX);
        Some((Arc::clone(&suspect.turns), wait))
    }

    /// Forgets who has failed.
    pub(super) fn forget(&self) {
        self.suspects.lock().clear();
        self.trusted.lock().clear();
    }

    fn note(&self, name: &str, address: IpAddr, succeeded: bool) {
        let keys = self.keys(name, address);
        if succeeded {
            // That of the address stays: who has one password could guess others' for ever.
            self.suspects.lock().remove(&keys[0].0);
            let mut trusted = self.trusted.lock();
            make_room(&mut trusted, TRUST, |since| *since);
            trusted.insert(keys[0].0, Instant::now());
            return;
        }
        let mut suspects = self.suspects.lock();
        for (key, _) in keys {
            make_room(&mut suspects, MEMORY, |suspect| suspect.last);
            let new =
                || Suspect { failures: 0, last: Instant::now(), turns: Arc::new(Semaphore::new(TURNS)) };
            let suspect = suspects.entry(key).or_insert_with(new);
            suspect.failures =
                if suspect.last.elapsed() > MEMORY { 1 } else { suspect.failures.saturating_add(1) };
            suspect.last = Instant::now();
        }
    }
}

/// Who counts as one: of IPv6 everybody in the smallest network there is, which has more addresses than can be counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Where no more have room, forgets those of whom nothing has been heard for long, or else the half of whom nothing has been
/// heard for longest.
fn make_room<T>(known: &mut HashMap<u64, T>, memory: Duration, last: impl Fn(&T) -> Instant) {
    if known.len() < KNOWN_MAX {
        return;
    }
    known.retain(|_, one| last(one).elapsed() <= memory);
    if known.len() < KNOWN_MAX {
        return;
    }
    let mut times: Vec<_> = known.values().map(&last).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    known.retain(|_, one| last(one) > middle);
}

impl Node {
    /// Lets somebody in, or not. `address` is where they come from, `local` whether that is this machine.
    pub async fn log_in(
        &self,
        credentials: Credentials,
        (address, local): (IpAddr, bool),
    ) -> Result<Arc<User>, Refused> {
        // Certificates are not guessed.
        let (name, password) = match credentials {
            Credentials::Password { user, password } => (user, password),
            Credentials::Certificate(Certified::Somebody(user)) => {
                return self.auth().login_trusted(&user, local);
            }
            Credentials::Certificate(Certified::Nobody(why)) => return Err(Refused::Certificate(why)),
            Credentials::Certificate(Certified::NoTls) => {
                return Err(Refused::Certificate("not TLS connection"));
            }
        };
        let Some(_turn) = self.logins.turn(&name, address).await else {
            return Err(Refused::TooMany(name));
        };
        // Looked up after the wait.
        let (auth, wanted) = (self.auth(), name.clone());
        let hashed = spawn_blocking(move || auth.login(&wanted, &password, local)).await;
        // It fails only when the node is going down.
        let login = hashed.unwrap_or_else(|_| Err(Refused::Password(name.clone())));
        self.logins.note(&name, address, login.is_ok());
        login
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// What an attempt has to wait.
    fn wait(logins: &Logins, name: &str, last: u8) -> Duration {
        let waits =
            logins.keys_that_count(name, address(last)).filter_map(|(key, free)| logins.wait_of(key, free));
        waits.map(|(_, wait)| wait).sum()
    }

    #[test]
    fn those_who_fail_wait_longer_each_time_until_they_succeed() {
        let logins = Logins::default();
        for _ in 0..FREE {
            assert_eq!(wait(&logins, "ada", 1), Duration::ZERO);
            logins.note("ada", address(1), false);
        }
        assert_eq!(wait(&logins, "ada", 1), STEP);
        logins.note("ada", address(1), false);
        assert_eq!(wait(&logins, "ada", 1), STEP * 2);
        (0..10).for_each(|_| logins.note("ada", address(1), false));
        assert_eq!(wait(&logins, "ada", 1), WAIT_MAX);
        // Others do not wait for that.
        assert_eq!(wait(&logins, "bob", 1), Duration::ZERO);
        assert_eq!(wait(&logins, "ada", 2), Duration::ZERO);
        logins.note("ada", address(1), true);
        assert_eq!(wait(&logins, "ada", 1), Duration::ZERO);
    }

    #[test]
    fn many_names_from_one_address_wait_too() {
        let logins = Logins::default();
        (0..FREE_OF_ADDRESS).for_each(|n| logins.note(&n.to_string(), address(1), false));
        assert_eq!(wait(&logins, "ada", 1), STEP);
        assert_eq!(wait(&logins, "ada", 2), Duration::ZERO);
    }

    #[test]
    fn others_at_an_address_do_not_lock_out_who_has_come_from_there() {
        let logins = Logins::default();
        logins.note("ada", address(1), true);
        (0..100).for_each(|n| logins.note(&n.to_string(), address(1), false));
        assert_eq!(wait(&logins, "ada", 1), Duration::ZERO);
        assert_eq!(wait(&logins, "bob", 1), WAIT_MAX);
        // Guesses for that name are slowed down as ever.
        (0..FREE).for_each(|_| logins.note("ada", address(1), false));
        assert_eq!(wait(&logins, "ada", 1), STEP);
        // A success of one does not help the others at its address.
        logins.note("bob", address(1), true);
        assert_eq!(wait(&logins, "eve", 1), WAIT_MAX);
        assert_eq!(wait(&logins, "bob", 1), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let logins = Logins::default();
        for n in 0..FREE_OF_ADDRESS {
            logins.note(&n.to_string(), format!("2001:db8::{n}").parse().expect("an address"), false);
        }
        let count = |address: &str| {
            let keys = logins.keys_that_count("ada", address.parse().expect("an address"));
            keys.filter(|(key, free)| logins.wait_of(*key, *free).is_some()).count()
        };
        assert_eq!((count("2001:db8::ffff:1"), count("2001:db8:0:1::1")), (1, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let logins = Logins::default();
        (0..3 * KNOWN_MAX).for_each(|n| logins.note(&n.to_string(), address(1), false));
        assert!(logins.suspects.lock().len() <= KNOWN_MAX);
        (0..3 * KNOWN_MAX).for_each(|n| logins.note(&n.to_string(), address(2), true));
        assert!(logins.trusted.lock().len() <= KNOWN_MAX);
        assert_eq!(wait(&logins, "ada", 1), WAIT_MAX, "who fails most is kept in mind");
    }

    #[test]
    fn only_a_few_wait_at_a_time() {
        let logins = Logins::default();
        (0..=FREE).for_each(|_| logins.note("ada", address(1), false));
        let (key, free) = logins.keys("ada", address(1))[0];
        let turn = || logins.wait_of(key, free).and_then(|(turns, _)| turns.try_acquire_owned().ok());
        let held: Vec<_> = (0..TURNS).map(|_| turn().expect("a turn")).collect();
        assert!(turn().is_none());
        drop(held);
        assert!(turn().is_some());
    }
}
