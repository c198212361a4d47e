//! The exchange class.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, exchange};
use amq_protocol::types::AMQPValue;

use super::run::unimplemented_method;
use super::{Context, Session};
use crate::broker::exchange::declare::{self, Declaration, check_not_default};
use crate::wire::reply::Exception;

use exchange::AMQPMethod as M;

impl Session {
    pub(super) fn exchange_method(
        &mut self,
        number: u16,
        method: exchange::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let (no_wait, ok) = match method {
            M::Declare(declare) => {
                let no_wait = declare.nowait;
                self.declare_exchange(declare, cx)?;
                (no_wait, M::DeclareOk(exchange::DeclareOk {}))
            }
            M::Delete(delete) => {
                let name = strip_cr_lf(delete.exchange.as_str());
                check_not_default(name.as_bytes())?;
                // System exchanges are refused to everyone, whatever the permissions.
                if !name.starts_with("amq.") {
                    self.may_configure(cx, "exchange", &name)?;
                }
                cx.vhost.delete_exchange(name.as_bytes(), delete.if_unused)?;
                (delete.nowait, M::DeleteOk(exchange::DeleteOk {}))
            }
            M::Bind(bind) => {
                let (to, from) = (strip_cr_lf(bind.destination.as_str()), strip_cr_lf(bind.source.as_str()));
                let key = bind.routing_key.as_str().as_bytes();
                self.may_bind_exchanges(cx, &to, &from, key)?;
                cx.vhost.bind_exchange(to.as_bytes(), from.as_bytes(), key, bind.arguments)?;
                (bind.nowait, M::BindOk(exchange::BindOk {}))
            }
            M::Unbind(unbind) => {
                let (to, from) =
                    (strip_cr_lf(unbind.destination.as_str()), strip_cr_lf(unbind.source.as_str()));
                let key = unbind.routing_key.as_str().as_bytes();
                self.may_bind_exchanges(cx, &to, &from, key)?;
                cx.vhost.unbind_exchange(to.as_bytes(), from.as_bytes(), key, &unbind.arguments)?;
                (unbind.nowait, M::UnbindOk(exchange::UnbindOk {}))
            }
            _ => return Err(unimplemented_method()),
        };
        self.reply_unless(no_wait, number, &AMQPClass::Exchange(ok), cx);
        Ok(())
    }

    fn may_bind_exchanges(
        &self,
        cx: &Context<'_>,
        destination: &str,
        source: &str,
        routing_key: &[u8],
    ) -> Result<(), Exception> {
        check_not_default(destination.as_bytes())?;
        check_not_default(source.as_bytes())?;
        self.may_write(cx, "exchange", destination.as_bytes())?;
        self.may_read(cx, "exchange", source.as_bytes())?;
        self.may_read_topic(cx, source.as_bytes(), routing_key)
    }

    fn declare_exchange(&mut self, wanted: exchange::Declare, cx: &mut Context<'_>) -> Result<(), Exception> {
        let name = strip_cr_lf(wanted.exchange.as_str());
        if wanted.passive {
            check_not_default(name.as_bytes())?;
            self.may_look_at(cx, "exchange", &name)?;
            return cx.vhost.check_exchange(name.as_bytes());
        }
        let kind = declare::kind(wanted.kind.as_str())?;
        check_not_default(name.as_bytes())?;
        self.may_configure(cx, "exchange", &name)?;
        let declaration = Declaration {
            name: name.as_str().into(),
            kind,
            durable: wanted.durable,
            auto_delete: wanted.auto_delete,
            internal: wanted.internal,
            arguments: wanted.arguments,
            creator: Some(Arc::clone(&self.settings.user)),
        };
        if cx.vhost.exchange(name.as_bytes()).is_none() {
            cx.vhost.check_new_exchange(&declaration)?;
            if let Some(AMQPValue::LongString(alternate)) =
                declaration.arguments.inner().get("alternate-exchange")
            {
                self.may_read(cx, "exchange", name.as_bytes())?;
                self.may_write(cx, "exchange", alternate.as_bytes())?;
            }
        }
        cx.vhost.declare_exchange(declaration)
    }
}

/// A name without the line ends that RabbitMQ takes out of names.
pub(super) fn strip_cr_lf(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}
