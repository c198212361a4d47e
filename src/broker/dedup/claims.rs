//! Exchanges that let each key pass once.
//!
//! Such an exchange decides when a message is routed. What it remembers for that is a claim of the publish until it is
//! known what the message came to: one that no queue has taken, or that was refused, has not passed, and its publisher
//! may send it again.

use super::own_ttl;
use crate::broker::ExchangeId;
use crate::broker::vhost::Vhost;
use crate::wire::content::Message;

/// What the exchanges on the way of one publish have decided.
#[derive(Debug, Default)]
pub struct Claims {
    /// The exchanges that let it pass, with the number of its key there.
    passed: Vec<(ExchangeId, u64)>,
    /// Whether one has dropped it.
    dropped: bool,
}

impl Vhost {
    /// Whether an exchange drops a message for being a duplicate.
    pub(in crate::broker) fn drops(&mut self, id: ExchangeId, message: &Message<'_>) -> bool {
        let now = self.clock;
        let Some(mut filter) = self.exchanges.get_mut(id).and_then(|exchange| exchange.filter.take()) else {
            return false;
        };
        let key = filter.key(message);
        let mut is_known = false;
        if let (Some(key), Some(cache)) = (key, filter.cache()) {
            is_known = cache.contains(key, now);
            if is_known {
                self.claims.get_or_insert_default().dropped = true;
            } else {
                let number = self.enter(cache, key, own_ttl(message), now);
                self.claims.get_or_insert_default().passed.push((id, number));
            }
        }
        filter.duplicates += u64::from(is_known);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.filter = Some(filter);
        }
        is_known
    }

    /// Whether the publisher of a message is to be told when what is under way is on disk, since another one with its key
    /// may be.
    pub(in crate::broker) fn waits_for_first(&mut self, claims: &Claims) -> bool {
        let waits = claims.dropped && self.commits.is_on();
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
        claims.dropped
    }

    /// What has been claimed for a message that went nowhere is forgotten.
    pub(in crate::broker) fn withdraw(&mut self, claims: &Claims) {
        for (id, number) in &claims.passed {
            let Some(mut filter) = self.exchanges.get_mut(*id).and_then(|exchange| exchange.filter.take())
            else {
                continue;
            };
            if let Some(cache) = filter.cache() {
                self.strike(cache, *number);
            }
            if let Some(exchange) = self.exchanges.get_mut(*id) {
                exchange.filter = Some(filter);
            }
        }
    }
}
