//! Policies, operator policies and arguments together.

use std::cmp::Ordering;

use amq_protocol::types::FieldTable;

use super::keys::{self, Key, Of};
use super::{Definition, Value};
use crate::broker::exchange::arguments::integer;
use crate::broker::queue::arguments::{QueueType, age, text};

/// What a policy and an operator policy set together.
pub fn merged(user: &Definition, operator: &Definition) -> Definition {
    let mut all = user.clone();
    for (name, theirs) in operator {
        let of = keys::find(name).and_then(|key| key.operator).unwrap_or(Of::Latter);
        let value = match (all.get(name), theirs) {
            (Some(Value::Integer(own)), Value::Integer(theirs)) => Value::Integer(which(of, *own, *theirs)),
            _ => theirs.clone(),
        };
        all.insert(name, value);
    }
    all
}

/// Whether the former of two values counts, given how it compares with the latter.
fn former_counts(of: Of, order: Ordering) -> bool {
    match of {
        Of::Smaller | Of::SmallerIfAny => order.is_lt(),
        Of::Larger => order.is_gt(),
        Of::Former => true,
        Of::Latter => false,
    }
}

/// What counts of two numbers.
fn which(of: Of, former: i64, latter: i64) -> i64 {
    match of {
        Of::SmallerIfAny if former < 0 || latter < 0 => former.max(latter),
        _ if former_counts(of, former.cmp(&latter)) => former,
        _ => latter,
    }
}

/// Where a queue's settings come from. Keys are those of arguments, `x-` in front.
pub struct Sources<'a> {
    pub queue_type: QueueType,
    pub arguments: &'a FieldTable,
    pub policies: &'a Definition,
}

impl<'a> Sources<'a> {
    /// What policies say, if the type of queue heeds it, and what is known about it.
    fn by_policy(&self, argument: &str) -> Option<(&'static Key, &'a Value)> {
        if self.policies.is_empty() {
            return None;
        }
        let key = keys::find(argument.strip_prefix("x-")?).filter(|key| key.is_heeded_by(self.queue_type))?;
        Some((key, self.policies.get(key.name)?))
    }

    /// A whole number.
    pub fn integer(&self, argument: &str) -> Option<i64> {
        let declared = self.arguments.inner().get(argument).and_then(integer);
        let Some((key, Value::Integer(set))) = self.by_policy(argument) else { return declared };
        let Some(declared) = declared else { return Some(*set) };
        Some(which(key.against_declared(self.queue_type), *set, declared))
    }

    /// A number that is not negative.
    pub fn number(&self, argument: &str) -> Option<u64> {
        self.integer(argument).and_then(|n| u64::try_from(n).ok())
    }

    /// A name or one of several words.
    pub fn octets(&self, argument: &str) -> Option<&'a [u8]> {
        let declared = self.arguments.inner().get(argument).and_then(text);
        let Some((key, Value::Text(set))) = self.by_policy(argument) else { return declared };
        let Some(declared) = declared else { return Some(set.as_bytes()) };
        // Only ages are compared.
        let order = age(set.as_bytes()).cmp(&age(declared));
        let former = former_counts(key.against_declared(self.queue_type), order);
        Some(if former { set.as_bytes() } else { declared })
    }
}
