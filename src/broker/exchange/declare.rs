//! Declaring and deleting exchanges.

use amq_protocol::types::FieldTable;

use super::arguments::{check_equivalence, check_exchange_name, inequivalent};
use super::{Exchange, Kind, hash, history};
use crate::broker::dedup;
use crate::broker::definitions::{Change, End};
use crate::broker::delay;
use crate::broker::vhost::Vhost;
use crate::broker::{ExchangeId, Name};
use crate::wire::reply::Exception;

/// What `exchange.declare` asks for.
#[derive(Debug)]
pub struct Declaration {
    pub name: Name,
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    /// Who declares it, if anybody does.
    pub creator: Option<Name>,
}

/// The type called `name`, or RabbitMQ's refusal.
pub fn kind(name: &str) -> Result<Kind, Exception> {
    Kind::from_name(name).ok_or_else(|| {
        let how = if name.is_empty() { "invalid" } else { "unknown" };
        Exception::precondition_failed(format!("{how} exchange type '{name}'"))
    })
}

/// Refuses the default exchange, which can be neither declared nor deleted nor bound.
pub fn check_not_default(name: &[u8]) -> Result<(), Exception> {
    if name.is_empty() {
        return Err(Exception::access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

/// Refuses a name that is RabbitMQ's own.
pub fn check_not_reserved(kind: &str, name: &str) -> Result<(), Exception> {
    if name.starts_with("amq.") {
        return Err(Exception::access_refused(format!(
            "{kind} name '{name}' contains reserved prefix 'amq.*'"
        )));
    }
    Ok(())
}

impl Vhost {
    /// Checks what can be refused in an exchange that does not exist yet.
    pub fn check_new_exchange(&self, declaration: &Declaration) -> Result<(), Exception> {
        check_not_reserved("exchange", &declaration.name)?;
        let described = self.describe("exchange", declaration.name.as_bytes());
        check_exchange_name(&declaration.arguments, "alternate-exchange", &described)?;
        dedup::check_exchange(declaration.kind, &declaration.arguments)?;
        let kind = match declaration.kind {
            Kind::Delayed => delay::exchange::check(&declaration.arguments)?,
            other => other,
        };
        match kind {
            Kind::ConsistentHash => hash::check(&declaration.arguments),
            Kind::RecentHistory => history::check(&declaration.arguments),
            _ => Ok(()),
        }
    }

    /// Creates the exchange, or checks that the one of that name is the same.
    pub fn declare_exchange(&mut self, declaration: Declaration) -> Result<(), Exception> {
        if let Some(current) = self.exchange(declaration.name.as_bytes()) {
            return self.check_same_exchange(current, &declaration);
        }
        self.check_new_exchange(&declaration)?;
        let Declaration { name, kind, durable, auto_delete, internal, arguments, creator } = declaration;
        let mut exchange = Exchange::new(name, kind, durable, auto_delete, internal, arguments);
        exchange.creator = creator;
        let deduplicates = exchange.filter.is_some();
        let id = self.insert_exchange(exchange);
        self.add_delays(id, None);
        self.record(|vhost| vhost.exchanges[id].durable().map(Change::PutExchange));
        if deduplicates {
            let name = Name::clone(&self.exchanges[id].name);
            self.open_ledger(&End::Exchange(name));
        }
        self.exchange_created(id);
        Ok(())
    }

    fn check_same_exchange(&self, current: &Exchange, wanted: &Declaration) -> Result<(), Exception> {
        let described = self.describe("exchange", current.name.as_bytes());
        let properties = [
            ("type", wanted.kind.name(), current.kind.name()),
            ("durable", text(wanted.durable), text(current.durable)),
            ("auto_delete", text(wanted.auto_delete), text(current.auto_delete)),
            ("internal", text(wanted.internal), text(current.internal)),
        ];
        for (key, new, old) in properties {
            if new != old {
                return Err(inequivalent(key, &described, &format!("'{new}'"), &format!("'{old}'")));
            }
        }
        check_equivalence(&described, &current.arguments, &wanted.arguments, &["alternate-exchange"])
    }

    /// Checks that an exchange is there (`exchange.declare` with `passive`).
    pub fn check_exchange(&self, name: &[u8]) -> Result<(), Exception> {
        self.exchange_id(name).map(drop)
    }

    /// Deletes an exchange; one that is not there is as good as deleted.
    pub fn delete_exchange(&mut self, name: &[u8], if_unused: bool) -> Result<(), Exception> {
        check_not_default(name)?;
        if name.starts_with(b"amq.") {
            let described = self.describe("exchange", name);
            return Err(Exception::access_refused(format!("deletion of system {described} not allowed")));
        }
        let Some(&id) = self.exchange_names.get(name) else { return Ok(()) };
        if if_unused && !self.exchanges[id].bindings.is_empty() {
            let described = self.describe("exchange", name);
            return Err(Exception::precondition_failed(format!("{described} in use")));
        }
        let sources = self.remove_exchange(id);
        self.delete_unbound(sources);
        Ok(())
    }

    /// Takes an exchange away with its bindings, and returns the exchanges that may go for that.
    pub(super) fn remove_exchange(&mut self, id: ExchangeId) -> Vec<ExchangeId> {
        let mut sources = Vec::new();
        let Some(exchange) = self.exchanges.get(id) else { return sources };
        let all: Vec<_> = exchange.bindings.values().chain(&exchange.inbound).copied().collect();
        for binding in all {
            sources.extend(self.remove_binding(binding));
        }
        if let Some(exchange) = self.exchanges.remove(id) {
            self.exchange_names.remove(exchange.name.as_bytes());
            self.forget_topics(&exchange);
            if let Some(behind) = exchange.behind {
                self.remove_delays(behind);
            }
            self.remembered -= exchange.history.as_ref().map_or(0, |history| history.octets());
            if let Some(filter) = &exchange.filter {
                self.close_ledger(&filter.known);
            }
            self.touched.exchanges.push(id);
            self.exchange_deleted(&exchange.name);
            self.record(|_| exchange.durable.then_some(Change::DeleteExchange(exchange.name)));
        }
        self.topology += 1;
        sources
    }
}

fn text(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}
