//! A batch put aside: a command that has to wait for the disk, and all after it.
//!
//! Commands are run straight from the input they were parsed from, which belongs to a thread and not to the
//! connection. What has to wait is copied out of it, and only then.

use std::collections::VecDeque;

use super::command::Command;

#[derive(Debug)]
pub struct Aside {
    /// The part of the input that the commands refer to.
    input: Box<[u8]>,
    commands: VecDeque<Command>,
    /// Whether the first command waits; else they can go on at once.
    pub waiting: bool,
}

impl Aside {
    /// Puts commands aside of which the first has to wait.
    pub fn new(input: &[u8], first: Command, rest: impl Iterator<Item = Command>) -> Self {
        let mut commands: VecDeque<_> = std::iter::once(first).chain(rest).collect();
        let spans = || commands.iter().filter_map(Command::span);
        let (begin, end) = (spans().map(|s| s.start).min(), spans().map(|s| s.end).max());
        let (begin, end) = (begin.unwrap_or(0), end.unwrap_or(0));
        commands.iter_mut().for_each(|command| command.move_back(begin));
        Self { input: input[begin as usize..end as usize].into(), commands, waiting: true }
    }

    /// The input, and the commands one after the other.
    pub fn parts(&mut self) -> (&[u8], impl Iterator<Item = Command>) {
        (&self.input, std::iter::from_fn(|| self.commands.pop_front()))
    }

    /// Puts a command back that has to wait again.
    pub fn wait(&mut self, command: Command) {
        self.commands.push_front(command);
        self.waiting = true;
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};

    use crate::auth::{Auth, Permission};
    use crate::broker::queue::declare::Declaration;
    use crate::broker::{ConnectionId, Vhost};
    use crate::session::outbox::Outboxes;
    use crate::session::stamps::Stamps;
    use crate::session::{Context, Session, Settings, State};
    use crate::wire::frame::{self, BODY, END, HEADER, METHOD};
    use crate::wire::method;
    use crate::wire::reply::Exception;

    const FRAME_MAX: usize = 4096;

    fn random() -> [u8; 16] {
        [1; 16]
    }

    /// A session with channel 1 in confirm mode and a queue, `q`.
    struct Rig {
        vhost: Vhost,
        outboxes: Outboxes,
        auth: Auth,
        session: Session,
    }

    impl Rig {
        fn new() -> Self {
            let (mut vhost, mut outboxes) = (Vhost::new("/"), Outboxes::default());
            let mut auth = Auth::default();
            auth.put_user("guest", None, Vec::new());
            auth.put_permission("guest", "/", Permission::all().expect("a good pattern"));
            let id = vhost.connect();
            outboxes.open(id, FRAME_MAX, true, std::sync::Arc::default());
            let settings = Settings {
                user: "guest".into(),
                impersonates: false,
                vhost: "/".into(),
                frame_max: FRAME_MAX,
                channel_max: 16,
                heartbeat: 0,
                message_size_max: 1 << 20,
                consumer_max: None,
                stamps: Stamps::default(),
            };
            let queue = Declaration {
                name: "q".into(),
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments: Default::default(),
                creator: None,
            };
            vhost.declare_queue(None, queue).expect("a queue");
            let mut rig = Self { vhost, outboxes, auth, session: Session::new(id, settings) };
            let mut input = Vec::new();
            put(&mut input, &AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: true });
            put(&mut input, &AMQPClass::Confirm(select));
            rig.send(&input);
            assert_eq!(rig.received(), "20.11");
            rig
        }

        fn cx<R>(&mut self, run: impl FnOnce(&mut Session, &mut Context<'_>) -> R) -> R {
            let Self { vhost, outboxes, auth, session } = self;
            run(session, &mut Context { vhost, outboxes, auth, now: 0, random })
        }

        fn send(&mut self, input: &[u8]) {
            let mut batch = Vec::new();
            assert_eq!(self.session.parse(input, &mut batch).octets, input.len());
            let mut commands = batch.drain(..);
            while commands.len() > 0 {
                self.cx(|session, cx| session.run(input, &mut commands, cx));
            }
        }

        /// So many messages of the queue are in memory, or all; says who is told.
        fn set_warm(&mut self, warm: Option<usize>) -> Vec<ConnectionId> {
            self.vhost.set_warm(b"q", warm, &mut self.outboxes);
            self.outboxes.take_retries()
        }

        /// What has been sent: methods by their numbers, and bodies.
        fn received(&mut self) -> String {
            let mut octets = Vec::new();
            self.outboxes.take_dirty(|gathered| octets.extend_from_slice(gathered.buffer));
            let (mut at, mut shown) = (0, Vec::new());
            while let Some(frame) = frame::at(&octets, at, FRAME_MAX).expect("whole frames") {
                match (frame.kind, frame.payload(&octets)) {
                    (METHOD, payload) => shown.push(format!("{}.{}", payload[1], payload[3])),
                    (BODY, payload) => shown.push(String::from_utf8_lossy(payload).into_owned()),
                    _ => {}
                }
                at = frame.next();
            }
            shown.join(" ")
        }

        fn ready(&self) -> usize {
            self.vhost.queue(b"q").expect("the queue").ready()
        }
    }

    fn put(out: &mut Vec<u8>, class: &AMQPClass) {
        let channel = u16::from(!matches!(class, AMQPClass::Connection(_)));
        method::put(out, channel, class);
    }

    fn put_get(out: &mut Vec<u8>) {
        put_get_from(out, "q");
    }

    fn put_get_from(out: &mut Vec<u8>, queue: &str) {
        let get = basic::Get { queue: queue.into(), no_ack: true };
        put(out, &AMQPClass::Basic(basic::AMQPMethod::Get(get)));
    }

    fn put_publish(out: &mut Vec<u8>, body: &str) {
        let publish = basic::Publish {
            exchange: "".into(),
            routing_key: "q".into(),
            mandatory: false,
            immediate: false,
        };
        put(out, &AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        frame::put_head(out, HEADER, 1, 14);
        out.extend_from_slice(&[0, 60, 0, 0]);
        out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        out.extend_from_slice(&[0, 0, END]);
        if !body.is_empty() {
            frame::put_head(out, BODY, 1, body.len());
            out.extend_from_slice(body.as_bytes());
            out.push(END);
        }
    }

    #[test]
    fn what_waits_goes_on_where_it_stopped() {
        let mut rig = Rig::new();
        let mut input = Vec::new();
        ["one", "two"].iter().for_each(|body| put_publish(&mut input, body));
        put_get(&mut input);
        ["", "four", "five"].iter().for_each(|body| put_publish(&mut input, body));
        put_get(&mut input);
        put_publish(&mut input, "six");
        assert!(rig.set_warm(Some(0)).is_empty());
        rig.send(&input);
        assert!(rig.session.is_waiting());
        assert_eq!((rig.received().as_str(), rig.ready()), ("60.80", 2), "what came before is confirmed");
        // Trying too early does no harm.
        rig.cx(|session, cx| session.go_on(cx));
        assert!(rig.session.is_waiting());
        let id = rig.session.id();
        assert_eq!(rig.set_warm(None), [id, id], "one call for each time it waited");
        rig.set_warm(Some(0));
        rig.cx(|session, cx| session.go_on(cx));
        assert!(rig.session.is_waiting() && rig.received().is_empty(), "somebody else was first");
        rig.set_warm(None);
        rig.cx(|session, cx| session.go_on(cx));
        assert!(!rig.session.has_aside() && !rig.session.is_waiting());
        assert_eq!(rig.received(), "60.71 one 60.80 60.71 two 60.80");
        let mut input = Vec::new();
        (0..4).for_each(|_| put_get(&mut input));
        rig.send(&input);
        assert_eq!(rig.received(), "60.71 60.71 four 60.71 five 60.71 six");
    }

    #[test]
    fn what_waits_may_mean_the_queue_declared_last() {
        let mut rig = Rig::new();
        let declare = queue::Declare { queue: "q".into(), passive: true, ..queue::Declare::default() };
        let mut input = Vec::new();
        put(&mut input, &AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        put_publish(&mut input, "one");
        put_get_from(&mut input, "");
        put_get_from(&mut input, "");
        rig.set_warm(Some(0));
        rig.send(&input);
        assert!(rig.session.is_waiting());
        rig.set_warm(None);
        rig.cx(|session, cx| session.go_on(cx));
        assert_eq!(rig.received(), "50.11 60.80 60.71 one 60.72");
    }

    #[test]
    fn a_second_wait_keeps_what_is_left() {
        let mut rig = Rig::new();
        let mut input = Vec::new();
        ["one", "two", "three"].iter().for_each(|body| put_publish(&mut input, body));
        (0..3).for_each(|_| put_get(&mut input));
        put_publish(&mut input, "four");
        rig.set_warm(Some(1));
        rig.send(&input);
        assert_eq!(rig.received(), "60.80 60.71 one");
        rig.set_warm(Some(1));
        rig.cx(|session, cx| session.go_on(cx));
        assert!(rig.session.is_waiting());
        assert_eq!((rig.received().as_str(), rig.ready()), ("60.71 two", 1));
        rig.set_warm(Some(1));
        rig.cx(|session, cx| session.go_on(cx));
        assert!(!rig.session.has_aside());
        assert_eq!((rig.received().as_str(), rig.ready()), ("60.71 three 60.80", 1));
    }

    #[test]
    fn a_connection_that_is_closed_meanwhile_waits_no_longer() {
        let mut rig = Rig::new();
        let mut input = Vec::new();
        put_get(&mut input);
        put_publish(&mut input, "never");
        let close = connection::AMQPMethod::CloseOk(connection::CloseOk {});
        put(&mut input, &AMQPClass::Connection(close));
        rig.set_warm(Some(0));
        rig.send(&input);
        assert!(rig.session.is_waiting());
        rig.cx(|session, cx| session.refuse(0, &Exception::internal_error("somebody"), cx));
        assert!(rig.session.has_aside() && !rig.session.is_waiting());
        rig.cx(|session, cx| session.go_on(cx));
        assert!(!rig.session.has_aside());
        assert_eq!((rig.session.state(), rig.ready()), (State::Over, 0));
        assert_eq!(rig.received(), "10.50");
    }

    #[test]
    fn a_queue_that_goes_ends_the_wait() {
        let mut rig = Rig::new();
        let mut input = Vec::new();
        put_get(&mut input);
        rig.set_warm(Some(0));
        rig.send(&input);
        rig.vhost.delete_queue(None, b"q", false, false, &mut rig.outboxes).expect("deleted");
        assert_eq!(rig.outboxes.take_retries(), [rig.session.id()]);
        rig.cx(|session, cx| session.go_on(cx));
        assert_eq!(rig.received(), "20.40", "it is not there");
    }
}
