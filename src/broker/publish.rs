//! From an exchange and a routing key to queues.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::commit::Commit;
use super::delay::header;
use super::effects::Effects;
use super::exchange::{Destination, Exchange};
use super::queue::dispatch::Accepted;
use super::vhost::Vhost;
use super::{ExchangeId, Map, Now, QueueId};
use crate::wire::content::Message;
use crate::wire::reply::Exception;

/// What a message that was published came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is taken care of already.
    Done,
    /// It is when this commit is on disk.
    Kept(Commit),
    /// At least one of its queues had no room for it.
    Refused,
}

/// What following bindings needs. It is empty between messages.
#[derive(Debug, Default)]
pub(super) struct Way {
    queues: Vec<QueueId>,
    exchanges: Vec<ExchangeId>,
    seen: HashSet<ExchangeId, foldhash::fast::RandomState>,
    destinations: Vec<Destination>,
    /// Exchanges on the way that remember what passes.
    historic: Vec<ExchangeId>,
    /// Whether exchanges that drop duplicates are not to decide yet.
    preview: bool,
    /// Whether one of them is on the way: it has dropped the message, or has not decided.
    filtered: bool,
    /// The exchange that has let the message in and kept it for a while already.
    released: Option<ExchangeId>,
}

/// Room for so many queues or exchanges is kept for the next message.
const KEPT_MAX: usize = 1024;

impl Way {
    /// Each queue once.
    fn sort(&mut self) {
        if self.queues.len() > 1 {
            self.queues.sort_unstable();
            self.queues.dedup();
        }
    }

    fn clear(&mut self) {
        self.queues.clear();
        self.exchanges.clear();
        self.seen.clear();
        self.destinations.clear();
        self.historic.clear();
        (self.preview, self.filtered, self.released) = (false, false, None);
        self.queues.shrink_to(KEPT_MAX);
        self.exchanges.shrink_to(KEPT_MAX);
        self.seen.shrink_to(KEPT_MAX);
        self.destinations.shrink_to(KEPT_MAX);
        self.historic.shrink_to(KEPT_MAX);
    }
}

/// The queues a message goes to, each once.
pub type Targets = Arc<[QueueId]>;

/// What routing found. It may be [given back](Vhost::give_back), so that the next one needs no memory.
#[derive(Clone, Debug)]
pub struct Route {
    /// The queues, each once.
    pub targets: Vec<QueueId>,
    /// Whether it holds for every message with this exchange and routing key, as long as the topology is the same.
    pub cacheable: bool,
    /// Whether an exchange has dropped it for being a duplicate. Of a [preview](Vhost::preview): whether one may.
    pub filtered: bool,
}

impl Vhost {
    /// Refuses an exchange that is not there or takes no messages from clients.
    pub fn check_publishable(&self, exchange: &[u8]) -> Result<(), Exception> {
        let id = self.exchange_id(exchange)?;
        if self.exchanges[id].internal {
            let described = self.describe("exchange", exchange);
            return Err(Exception::access_refused(format!("cannot publish to internal {described}")));
        }
        Ok(())
    }

    /// The queue that the default exchange leads to.
    fn route_straight(&self, routing_key: &[u8]) -> Option<QueueId> {
        self.queue_names.get(routing_key).copied()
    }

    /// The queues that bindings lead a message to.
    pub fn route(&mut self, message: &Message<'_>) -> Route {
        self.route_copies(message, &[])
    }

    /// The same for a message that has more routing keys than its own.
    pub fn route_copies(&mut self, message: &Message<'_>, more: &[&[u8]]) -> Route {
        self.claims = None;
        self.find_way(message, more, false)
    }

    /// The queues that a message would go to if it were no duplicate. Nobody remembers it.
    pub fn preview(&mut self, message: &Message<'_>, more: &[&[u8]]) -> Route {
        self.find_way(message, more, true)
    }

    fn find_way(&mut self, message: &Message<'_>, more: &[&[u8]], preview: bool) -> Route {
        let mut way = std::mem::take(&mut self.way);
        way.clear();
        way.preview = preview;
        let mut cacheable = true;
        if message.exchange.is_empty() {
            let keys = [message.routing_key].into_iter().chain(more.iter().copied());
            way.queues.extend(keys.filter_map(|key| self.route_straight(key)));
            way.sort();
        } else if let Some(&exchange) = self.exchange_names.get(message.exchange) {
            cacheable = self.follow(exchange, message, more, &mut way);
        }
        let (targets, filtered) = (std::mem::take(&mut way.queues), way.filtered);
        self.way = way;
        Route { targets, cacheable, filtered }
    }

    /// The queues that one end of a binding leads a message to.
    pub(super) fn route_to(&mut self, destination: Destination, message: &Message<'_>) -> Vec<QueueId> {
        self.claims = None;
        let mut way = std::mem::take(&mut self.way);
        way.clear();
        match destination {
            Destination::Queue(queue) => way.queues.push(queue),
            Destination::Exchange(exchange) => {
                self.follow(exchange, message, &[], &mut way);
            }
        }
        let targets = std::mem::take(&mut way.queues);
        self.way = way;
        targets
    }

    /// The queues that an exchange leads a message to that it has delayed. More keys are as with
    /// [`route_copies`](Self::route_copies).
    pub(super) fn route_released(
        &mut self,
        exchange: ExchangeId,
        message: &Message<'_>,
        more: &[&[u8]],
    ) -> Vec<QueueId> {
        self.claims = None;
        let mut way = std::mem::take(&mut self.way);
        way.clear();
        way.released = Some(exchange);
        self.follow(exchange, message, more, &mut way);
        let targets = std::mem::take(&mut way.queues);
        self.way = way;
        targets
    }

    /// Takes back the list of a route.
    pub fn give_back(&mut self, targets: Vec<QueueId>) {
        self.way.queues = targets;
    }

    /// Follows bindings from exchange to exchange, each exchange and each queue once. An exchange that has nowhere
    /// to send a message to hands it to its alternate exchange. Returns whether the way is the same for all messages
    /// with this routing key. More keys lead to more bindings where an exchange knows bindings by their keys.
    fn follow(&mut self, first: ExchangeId, message: &Message<'_>, more: &[&[u8]], way: &mut Way) -> bool {
        let Way { queues, exchanges, seen, destinations, historic, preview, filtered, released } = way;
        exchanges.push(first);
        seen.insert(first);
        let mut cacheable = true;
        let mut at = 0;
        while let Some(id) = exchanges.get(at).copied() {
            let Some(mut exchange) = self.exchanges.get(id) else { break };
            let is_released = *released == Some(id);
            cacheable &= exchange.goes_by_key();
            if exchange.filter.is_some() && !is_released {
                *filtered |= *preview;
                if !*preview && self.drops(id, message) {
                    *filtered = true;
                    at += 1;
                    continue;
                }
                exchange = &self.exchanges[id];
            }
            if let Some(behind) = exchange.behind.filter(|_| !is_released) {
                cacheable = false;
                if header::wanted(message.properties).is_some() {
                    at += 1;
                    queues.push(behind.queue);
                    continue;
                }
            }
            if exchange.history.is_some() {
                historic.push(id);
            }
            at += 1;
            destinations.clear();
            exchange.matcher.matches(message, &mut self.chance, destinations);
            for key in more {
                exchange.matcher.matches_key(key, destinations);
            }
            if destinations.is_empty() && exchange.is_super_stream() {
                destinations.extend(self.partition_for(id, message.routing_key).map(Destination::Queue));
            }
            if destinations.is_empty() {
                let alternate = self.exchanges.get(id).and_then(Exchange::alternate);
                let alternate = alternate.and_then(|name| self.exchange_names.get(name));
                destinations.extend(alternate.map(|id| Destination::Exchange(*id)));
            }
            for destination in &*destinations {
                match destination {
                    Destination::Queue(queue) => queues.push(*queue),
                    Destination::Exchange(id) if seen.insert(*id) => exchanges.push(*id),
                    Destination::Exchange(_) => {}
                }
            }
        }
        historic.iter().for_each(|id| self.remember(*id, message));
        way.sort();
        cacheable
    }

    /// Has an exchange remember a message, to replay it to bindings to come.
    fn remember(&mut self, exchange: ExchangeId, message: &Message<'_>) {
        let found = self.exchanges.get_mut(exchange).and_then(|exchange| exchange.history.as_mut());
        let Some(history) = found else { return };
        self.remembered -= history.octets();
        history.note(message, self.remembered);
        self.remembered += history.octets();
    }

    /// Brings a message to its queues. Queues that have gone meanwhile are passed over.
    ///
    /// Says what its publisher is to be told, and when.
    pub fn publish(
        &mut self,
        targets: &[QueueId],
        message: &Message<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) -> Outcome {
        self.is_publishing = true;
        let outcome = self.publish_marked(targets, message, 0, now, fx);
        self.is_publishing = false;
        outcome
    }

    /// The same with marks that stay with it (`broker/dead_letter`).
    #[inline]
    pub fn publish_marked(
        &mut self,
        targets: &[QueueId],
        message: &Message<'_>,
        marks: u8,
        now: Now,
        fx: &mut impl Effects,
    ) -> Outcome {
        for queue in targets {
            if let Some(found) = self.queues.get_mut(*queue) {
                found.published += 1;
                if !found.touched {
                    found.touched = true;
                    self.touched.queues.push(*queue);
                }
            }
        }
        self.bring(targets, message, marks, now, fx)
    }

    /// The same for what no client has published, which is not counted.
    #[inline]
    pub(super) fn bring(
        &mut self,
        targets: &[QueueId],
        message: &Message<'_>,
        marks: u8,
        now: Now,
        fx: &mut impl Effects,
    ) -> Outcome {
        // What was claimed when it was routed, if that has just been done.
        let claims = self.claims.take();
        let mut kept = claims.as_ref().is_some_and(|claims| self.waits_for_first(claims));
        let mut refused = false;
        for queue in targets {
            match self.enqueue(*queue, message, marks, now, fx) {
                Accepted::Done => {}
                Accepted::Kept => kept = true,
                Accepted::Refused => refused = true,
            }
        }
        if let Some(claims) = claims.filter(|_| refused || targets.is_empty()) {
            self.withdraw(&claims);
        }
        match self.commits.current() {
            _ if refused => Outcome::Refused,
            Some(commit) if kept => Outcome::Kept(commit),
            _ => Outcome::Done,
        }
    }
}

/// A channel's memory of where messages went, for one state of the topology.
///
/// This is on every message's way: a route is found by a hash of what it was asked for, without copying that together,
/// and the one used last is tried first, since most publishers stay with one. Of the default exchange only that one is
/// remembered: its queues are found by their names as fast, however many they are.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: (u64, u64),
    straight: Straight,
    hasher: foldhash::fast::RandomState,
    routes: Vec<Known>,
    /// Where in `routes` what has a hash is. Of two with one hash the later one is remembered.
    places: Map<u64, usize>,
    /// Where in `routes` the route used last is.
    last: usize,
    /// How much `routes` holds, in targets.
    weight: usize,
}

/// The default exchange.
#[derive(Debug, Default)]
struct Straight {
    /// Whether it may be published to.
    is_open: bool,
    exchange: ExchangeId,
    /// The routing key used last, and its queue if there is one.
    routing_key: Vec<u8>,
    target: Option<QueueId>,
}

/// Where messages to an exchange with a routing key go.
#[derive(Debug)]
struct Known {
    /// Exchange and routing key, each with its length in front: as they come in `basic.publish`, so that they are hashed
    /// and compared in one piece.
    names: Box<[u8]>,
    exchange: ExchangeId,
    targets: Targets,
}

/// A cache holds at most about this many targets, and an entry counts for as many as it takes the memory of; then it
/// begins anew.
const WEIGHT_MAX: usize = 64 << 10;
const ENTRY_WEIGHT: usize = 12;

impl Straight {
    fn get(&mut self, vhost: &Vhost, routing_key: &[u8]) -> Option<(ExchangeId, &[QueueId])> {
        if !self.is_open {
            return None;
        }
        if self.target.is_none() || *self.routing_key != *routing_key {
            self.target = vhost.route_straight(routing_key);
            self.routing_key.clear();
            self.routing_key.extend_from_slice(routing_key);
        }
        Some((self.exchange, self.target.as_slice()))
    }
}

impl RouteCache {
    /// The exchange, and where messages go that come with it and this routing key, each name with its length in front, if
    /// that is known for the vhost's topology and the given version of permissions.
    pub fn get(&mut self, vhost: &Vhost, permissions: u64, names: &[u8]) -> Option<(ExchangeId, &[QueueId])> {
        let version = (vhost.topology(), permissions);
        if self.version != version {
            self.version = version;
            self.clear();
            return None;
        }
        if let [0, _, routing_key @ ..] = names {
            return self.straight.get(vhost, routing_key);
        }
        if self.routes.get(self.last).is_none_or(|known| *known.names != *names) {
            let place = *self.places.get(&self.hasher.hash_one(names))?;
            self.routes.get(place).filter(|known| *known.names == *names)?;
            self.last = place;
        }
        let known = self.routes.get(self.last)?;
        Some((known.exchange, &known.targets))
    }

    /// Remembers a route for the version that [`get`](Self::get) was last asked for.
    pub fn insert(&mut self, names: &[u8], exchange: ExchangeId, targets: Targets) {
        if names.first() == Some(&0) {
            self.straight.is_open = true;
            self.straight.exchange = exchange;
            return;
        }
        if self.weight > WEIGHT_MAX {
            self.clear();
        }
        self.weight += targets.len() + ENTRY_WEIGHT + names.len() / size_of::<QueueId>();
        self.places.insert(self.hasher.hash_one(names), self.routes.len());
        self.routes.push(Known { names: names.into(), exchange, targets });
    }

    fn clear(&mut self) {
        self.straight = Straight::default();
        self.routes.clear();
        self.places.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue::declare::Declaration;

    /// A vhost with queues of these names.
    fn with_queues<const N: usize>(names: [&str; N]) -> (Vhost, [QueueId; N]) {
        let mut vhost = Vhost::new("v");
        let ids = names.map(|name| declare(&mut vhost, name));
        (vhost, ids)
    }

    fn declare(vhost: &mut Vhost, name: &str) -> QueueId {
        let declaration = Declaration {
            name: name.into(),
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Default::default(),
            creator: None,
        };
        vhost.declare_queue(None, declaration).expect("a queue");
        vhost.queue_names[name.as_bytes()]
    }

    fn targets<'a>(
        cache: &'a mut RouteCache,
        vhost: &Vhost,
        permissions: u64,
        names: &[u8],
    ) -> Option<&'a [QueueId]> {
        cache.get(vhost, permissions, names).map(|(_, targets)| targets)
    }

    #[test]
    fn routes_are_told_apart_and_forgotten_with_their_version() {
        let (mut vhost, [a, b]) = with_queues(["a", "b"]);
        let mut cache = RouteCache::default();
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x01x\x02yz"), None);
        cache.insert(b"\x01x\x02yz", ExchangeId::default(), Arc::from([a]));
        cache.insert(b"\x02xy\x01z", ExchangeId::default(), Arc::from([b]));
        for _ in 0..2 {
            assert_eq!(targets(&mut cache, &vhost, 1, b"\x01x\x02yz"), Some(&[a][..]));
            assert_eq!(targets(&mut cache, &vhost, 1, b"\x02xy\x01z"), Some(&[b][..]));
            assert_eq!(targets(&mut cache, &vhost, 1, b"\x02xy\x00"), None);
        }
        // Two with one hash are never taken for each other.
        let hash = cache.hasher.hash_one(b"\x01x\x02yz");
        cache.places.insert(hash, 1);
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x01x\x02yz"), None);
        cache.insert(b"\x01x\x02yz", ExchangeId::default(), Arc::from([a]));
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x01x\x02yz"), Some(&[a][..]));
        assert_eq!(targets(&mut cache, &vhost, 2, b"\x01x\x02yz"), None);
        assert_eq!(targets(&mut cache, &vhost, 2, b"\x02xy\x01z"), None);
        cache.insert(b"\x01x\x02yz", ExchangeId::default(), Arc::from([a]));
        declare(&mut vhost, "c");
        assert_eq!(targets(&mut cache, &vhost, 2, b"\x01x\x02yz"), None);
    }

    #[test]
    fn the_default_exchange_leads_to_queues_by_name_once_it_is_open() {
        let (mut vhost, [a, b]) = with_queues(["a", "b"]);
        let mut cache = RouteCache::default();
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x00\x01a"), None);
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x00\x01a"), None);
        cache.insert(b"\x00\x01a", ExchangeId::default(), Arc::from([a]));
        for (key, target) in
            [("a", Some(a)), ("b", Some(b)), ("a", Some(a)), ("a", Some(a)), ("c", None), ("", None)]
        {
            assert_eq!(
                targets(&mut cache, &vhost, 1, &[&[0, key.len() as u8], key.as_bytes()].concat()),
                Some(target.as_slice()),
                "{key}"
            );
        }
        let c = declare(&mut vhost, "c");
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x00\x01c"), None, "permissions are looked at again");
        cache.insert(b"\x00\x01a", ExchangeId::default(), Arc::from([a]));
        assert_eq!(targets(&mut cache, &vhost, 1, b"\x00\x01c"), Some(&[c][..]));
        assert_eq!(targets(&mut cache, &vhost, 2, b"\x00\x01c"), None);
    }

    #[test]
    fn a_cache_is_bounded_by_what_it_holds() {
        let many: Targets = vec![QueueId::default(); 10_000].into();
        let mut cache = RouteCache::default();
        cache.get(&Vhost::new("v"), 1, b"\x00\x00");
        for n in 0..100u32 {
            cache.insert(&n.to_le_bytes(), ExchangeId::default(), Arc::clone(&many));
        }
        assert!(cache.routes.len() <= 3, "{} routes", cache.routes.len());
    }
}
