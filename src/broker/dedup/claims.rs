//! Exchanges that let each key pass once.
//!
//! Such an exchange decides when a message is routed. What it remembers for that is a claim of the publish until it is
//! known what the message came to: one that no queue has taken, or that was refused, has not passed, and its publisher
//! may send it again.

use super::own_ttl;
use crate::broker::ExchangeId;
use crate::broker::vhost::Vhost;
use crate::wire::content::Message;

/// What the exchanges on the way of one publish have decided. One with copies to other routing keys is routed more
/// than once, and is no duplicate of itself.
#[derive(Debug, Default)]
pub struct Claims {
    /// The exchanges that let it pass, with the number of its key; none for what has no key.
    passed: Vec<(ExchangeId, Option<u64>)>,
    /// Those that dropped it.
    dropped: Vec<ExchangeId>,
}

impl Vhost {
    /// Whether an exchange drops a message for being a duplicate.
    pub(in crate::broker) fn drops(&mut self, id: ExchangeId, message: &Message<'_>) -> bool {
        let decided = self.claims.get_or_insert_default();
        if decided.passed.iter().any(|(exchange, _)| *exchange == id) {
            return false;
        }
        if decided.dropped.contains(&id) {
            return true;
        }
        let now = self.clock;
        let Some(mut filter) = self.exchanges.get_mut(id).and_then(|exchange| exchange.filter.take()) else {
            return false;
        };
        let key = filter.key(message);
        let is_known = match (key, filter.cache()) {
            (Some(key), Some(cache)) => cache.contains(key, now),
            _ => false,
        };
        filter.duplicates += u64::from(is_known);
        let number = match (key.filter(|_| !is_known), filter.cache()) {
            (Some(key), Some(cache)) => Some(self.enter(cache, key, own_ttl(message), now)),
            _ => None,
        };
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.filter = Some(filter);
        }
        let decided = self.claims.get_or_insert_default();
        if is_known {
            decided.dropped.push(id);
        } else {
            decided.passed.push((id, number));
        }
        is_known
    }

    /// Whether the publisher of a message is to be told when what is under way is on disk, since another one with its key
    /// may be.
    pub(in crate::broker) fn waits_for_first(&mut self, claims: &Claims) -> bool {
        let waits = !claims.dropped.is_empty() && self.commits.is_on();
        if waits {
            self.commits.wait_for_current();
        }
        waits
    }

    /// A dead letter has been routed, to nowhere or to queues that are going to get it. Returns whether it was dropped.
    pub(in crate::broker) fn settle_claims(&mut self, nowhere: bool) -> bool {
        let Some(claims) = self.claims.take() else { return false };
        if nowhere {
            self.withdraw(&claims);
        }
        !claims.dropped.is_empty()
    }

    /// What has been claimed for a message that went nowhere is forgotten.
    pub(in crate::broker) fn withdraw(&mut self, claims: &Claims) {
        for (id, number) in &claims.passed {
            let Some(number) = *number else { continue };
            let Some(mut filter) = self.exchanges.get_mut(*id).and_then(|exchange| exchange.filter.take())
            else {
                continue;
            };
            if let Some(cache) = filter.cache() {
                self.strike(cache, number);
            }
            if let Some(exchange) = self.exchanges.get_mut(*id) {
                exchange.filter = Some(filter);
            }
        }
    }
}
