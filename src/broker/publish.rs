//! From an exchange and a routing key to queues.

use std::collections::HashSet;
use std::sync::Arc;

use super::commit::Commit;
use super::effects::Effects;
use super::exchange::Destination;
use super::vhost::Vhost;
use super::{ExchangeId, Map, Now, QueueId};
use crate::wire::content::Message;
use crate::wire::properties;
use crate::wire::reply::Exception;

/// What following bindings needs. It is empty between messages.
#[derive(Debug, Default)]
pub(super) struct Way {
    queues: Vec<QueueId>,
    exchanges: Vec<ExchangeId>,
    seen: HashSet<ExchangeId, foldhash::fast::RandomState>,
    destinations: Vec<Destination>,
}

/// Room for so many queues or exchanges is kept for the next message.
const KEPT_MAX: usize = 1024;

impl Way {
    fn clear(&mut self) {
        self.queues.clear();
        self.exchanges.clear();
        self.seen.clear();
        self.destinations.clear();
        self.queues.shrink_to(KEPT_MAX);
        self.exchanges.shrink_to(KEPT_MAX);
        self.seen.shrink_to(KEPT_MAX);
        self.destinations.shrink_to(KEPT_MAX);
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

    /// The queues that bindings lead a message to.
    pub fn route(&mut self, message: &Message<'_>) -> Route {
        let mut way = std::mem::take(&mut self.way);
        way.clear();
        let mut cacheable = true;
        if message.exchange.is_empty() {
            way.queues.extend(self.queue_names.get(message.routing_key));
        } else if let Some(&exchange) = self.exchange_names.get(message.exchange) {
            cacheable = self.follow(exchange, message, &mut way);
        }
        let targets = std::mem::take(&mut way.queues);
        self.way = way;
        Route { targets, cacheable }
    }

    /// Takes back the list of a route.
    pub fn give_back(&mut self, targets: Vec<QueueId>) {
        self.way.queues = targets;
    }

    /// Follows bindings from exchange to exchange, each exchange and each queue once. An exchange that has nowhere
    /// to send a message to hands it to its alternate exchange. Returns whether the way is the same for all messages
    /// with this routing key.
    fn follow(&self, first: ExchangeId, message: &Message<'_>, way: &mut Way) -> bool {
        let Way { queues, exchanges, seen, destinations } = way;
        exchanges.push(first);
        seen.insert(first);
        let mut cacheable = true;
        let mut at = 0;
        while let Some(exchange) = exchanges.get(at).and_then(|id| self.exchanges.get(*id)) {
            at += 1;
            cacheable &= !exchange.looks_at_headers();
            destinations.clear();
            if exchange.name.is_empty() {
                destinations
                    .extend(self.queue_names.get(message.routing_key).map(|q| Destination::Queue(*q)));
            } else {
                let headers = exchange.looks_at_headers().then(|| headers(message.properties)).flatten();
                exchange.matches(message.routing_key, headers, destinations);
            }
            if destinations.is_empty() {
                let alternate = exchange.alternate().and_then(|name| self.exchange_names.get(name));
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
        if queues.len() > 1 {
            queues.sort_unstable();
            queues.dedup();
        }
        cacheable
    }

    /// Brings a message to its queues. Queues that have gone meanwhile are passed over.
    ///
    /// Returns the commit that its publisher has to wait for, `None` if it is taken care of already.
    pub fn publish(
        &mut self,
        targets: &[QueueId],
        message: &Message<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) -> Option<Commit> {
        let mut kept = false;
        for queue in targets {
            kept |= self.enqueue(*queue, message, now, fx);
        }
        if kept { self.commits.current() } else { None }
    }
}

/// A message's header table.
fn headers(raw: &[u8]) -> Option<&[u8]> {
    if properties::flags(raw) & properties::HEADERS == 0 {
        return None;
    }
    properties::walk(raw).ok()?.headers
}

/// A channel's memory of where messages went, for one state of the topology.
///
/// Its keys are exchange and routing key, written one after the other behind the exchange's length.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: (u64, u64),
    /// The route used last: most publishers stay with one.
    last: Option<Targets>,
    last_key: Vec<u8>,
    routes: Map<Box<[u8]>, Targets>,
    /// How much `routes` holds, in targets.
    weight: usize,
    key: Vec<u8>,
}

/// A cache holds at most about this many targets, and an entry counts for as many as it takes the memory of; then it
/// begins anew.
const WEIGHT_MAX: usize = 16 << 10;
const ENTRY_WEIGHT: usize = 8;

impl RouteCache {
    /// Where messages to this exchange with this key go, if that is known for the given version of topology and
    /// permissions.
    pub fn get(&mut self, version: (u64, u64), exchange: &[u8], routing_key: &[u8]) -> Option<&[QueueId]> {
        if self.version != version {
            self.version = version;
            self.clear();
            return None;
        }
        if !self.is_last(exchange, routing_key) {
            self.write_key(exchange, routing_key);
            self.last = Some(Arc::clone(self.routes.get(self.key.as_slice())?));
            std::mem::swap(&mut self.key, &mut self.last_key);
        }
        self.last.as_deref()
    }

    /// Remembers a route for the version that [`get`](Self::get) was last asked for.
    pub fn insert(&mut self, exchange: &[u8], routing_key: &[u8], targets: Targets) {
        if self.weight > WEIGHT_MAX {
            self.clear();
        }
        self.write_key(exchange, routing_key);
        self.weight += targets.len() + ENTRY_WEIGHT + self.key.len() / size_of::<QueueId>();
        self.routes.insert(self.key.as_slice().into(), targets);
    }

    fn clear(&mut self) {
        self.last = None;
        self.routes.clear();
        self.weight = 0;
    }

    fn is_last(&self, exchange: &[u8], routing_key: &[u8]) -> bool {
        let Some((size, key)) = self.last_key.split_first() else { return false };
        self.last.is_some()
            && *size as usize == exchange.len()
            && key.starts_with(exchange)
            && key[exchange.len()..] == *routing_key
    }

    fn write_key(&mut self, exchange: &[u8], routing_key: &[u8]) {
        self.key.clear();
        self.key.push(exchange.len() as u8);
        self.key.extend_from_slice(exchange);
        self.key.extend_from_slice(routing_key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_apart_and_forgotten_with_their_version() {
        let mut names: slotmap::SlotMap<QueueId, ()> = slotmap::SlotMap::with_key();
        let [a, b] = std::array::from_fn(|_| names.insert(()));
        let mut cache = RouteCache::default();
        assert_eq!(cache.get((1, 1), b"x", b"yz"), None);
        cache.insert(b"x", b"yz", Arc::from([a]));
        cache.insert(b"xy", b"z", Arc::from([b]));
        for _ in 0..2 {
            assert_eq!(cache.get((1, 1), b"x", b"yz"), Some(&[a][..]));
            assert_eq!(cache.get((1, 1), b"xy", b"z"), Some(&[b][..]));
            assert_eq!(cache.get((1, 1), b"xy", b""), None);
        }
        assert_eq!(cache.get((2, 1), b"x", b"yz"), None);
        assert_eq!(cache.get((2, 1), b"xy", b"z"), None);
    }

    #[test]
    fn a_cache_is_bounded_by_what_it_holds() {
        let many: Targets = vec![QueueId::default(); 10_000].into();
        let mut cache = RouteCache::default();
        cache.get((1, 1), b"", b"");
        for n in 0..100u32 {
            cache.insert(b"x", &n.to_be_bytes(), Arc::clone(&many));
        }
        assert!(cache.routes.len() <= 3, "{} routes", cache.routes.len());
    }
}
