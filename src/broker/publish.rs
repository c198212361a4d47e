//! From an exchange and a routing key to queues.

use std::sync::Arc;

use super::effects::Effects;
use super::exchange::Destination;
use super::vhost::Vhost;
use super::{ExchangeId, Map, Now, QueueId};
use crate::wire::content::Message;
use crate::wire::properties;
use crate::wire::reply::Exception;

/// The queues a message goes to, each once.
pub type Targets = Arc<[QueueId]>;

/// What routing found.
#[derive(Clone, Debug)]
pub struct Route {
    pub targets: Targets,
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
    pub fn route(&self, message: &Message<'_>) -> Route {
        let nobody = Route { targets: Arc::from([]), cacheable: true };
        if message.exchange.is_empty() {
            return match self.queue_names.get(message.routing_key) {
                Some(queue) => Route { targets: Arc::from([*queue]), cacheable: true },
                None => nobody,
            };
        }
        let Some(&exchange) = self.exchange_names.get(message.exchange) else { return nobody };
        self.follow(exchange, message)
    }

    /// Follows bindings from exchange to exchange, each exchange and each queue once. An exchange that has nowhere
    /// to send a message to hands it to its alternate exchange.
    fn follow(&self, first: ExchangeId, message: &Message<'_>) -> Route {
        let mut queues: Vec<QueueId> = Vec::new();
        let mut exchanges = vec![first];
        let mut destinations = Vec::new();
        let mut cacheable = true;
        let mut at = 0;
        let headers = Headers::new(message.properties);
        while let Some(exchange) = exchanges.get(at).and_then(|id| self.exchanges.get(*id)) {
            at += 1;
            cacheable &= !exchange.looks_at_headers();
            destinations.clear();
            if exchange.name.is_empty() {
                destinations
                    .extend(self.queue_names.get(message.routing_key).map(|q| Destination::Queue(*q)));
            } else {
                let headers = if exchange.looks_at_headers() { headers.get() } else { None };
                exchange.matches(message.routing_key, headers, &mut destinations);
            }
            if destinations.is_empty() {
                let alternate = exchange.alternate().and_then(|name| self.exchange_names.get(name));
                destinations.extend(alternate.map(|id| Destination::Exchange(*id)));
            }
            for destination in &destinations {
                match destination {
                    Destination::Queue(queue) => queues.push(*queue),
                    Destination::Exchange(id) if !exchanges.contains(id) => exchanges.push(*id),
                    Destination::Exchange(_) => {}
                }
            }
        }
        if queues.len() > 1 {
            queues.sort_unstable();
            queues.dedup();
        }
        Route { targets: queues.into(), cacheable }
    }

    /// Brings a message to its queues. Queues that have gone meanwhile are passed over.
    pub fn publish(&mut self, targets: &[QueueId], message: &Message<'_>, now: Now, fx: &mut impl Effects) {
        for queue in targets {
            self.enqueue(*queue, message, now, fx);
        }
    }
}

/// A message's header table, found when first asked for.
struct Headers<'a> {
    properties: &'a [u8],
}

impl<'a> Headers<'a> {
    fn new(properties: &'a [u8]) -> Self {
        Self { properties }
    }

    fn get(&self) -> Option<&'a [u8]> {
        if properties::flags(self.properties) & properties::HEADERS == 0 {
            return None;
        }
        properties::walk(self.properties).ok()?.headers
    }
}

/// An exchange, a routing key, and where they lead.
type Remembered = (Box<[u8]>, Box<[u8]>, Targets);

/// A channel's memory of where messages went, for one state of the topology.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: (u64, u64),
    /// The route used last: most publishers stay with one.
    last: Option<Remembered>,
    /// Targets by exchange and routing key, written one after the other behind the exchange's length.
    routes: Map<Box<[u8]>, Targets>,
    key: Vec<u8>,
}

/// A cache holds at most this many routes; then it begins anew.
const ROUTES_MAX: usize = 1024;

impl RouteCache {
    /// Where messages to this exchange with this key go, if that is known for the given version of topology and
    /// permissions.
    pub fn get(&mut self, version: (u64, u64), exchange: &[u8], routing_key: &[u8]) -> Option<&[QueueId]> {
        if self.version != version {
            self.version = version;
            self.last = None;
            self.routes.clear();
            return None;
        }
        let same = |(x, k, _): &Remembered| **x == *exchange && **k == *routing_key;
        if self.last.as_ref().is_some_and(same) {
            return self.last.as_ref().map(|(_, _, targets)| &**targets);
        }
        self.write_key(exchange, routing_key);
        self.routes.get(self.key.as_slice()).map(|targets| &**targets)
    }

    /// Remembers a route for the version that [`get`](Self::get) was last asked for.
    pub fn insert(&mut self, exchange: &[u8], routing_key: &[u8], targets: Targets) {
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.write_key(exchange, routing_key);
        self.routes.insert(self.key.as_slice().into(), Arc::clone(&targets));
        self.last = Some((exchange.into(), routing_key.into(), targets));
    }

    fn write_key(&mut self, exchange: &[u8], routing_key: &[u8]) {
        self.key.clear();
        self.key.push(exchange.len() as u8);
        self.key.extend_from_slice(exchange);
        self.key.extend_from_slice(routing_key);
    }
}
