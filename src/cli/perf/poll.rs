//! Asking for messages one by one, with `basic.get`.

use super::{
    conn::{self, CHANNEL},
    error::PerfError,
    wire,
};

/// Class and method id of `basic.get`.
const GET: [u8; 4] = [0, 60, 0, 70];

/// Requests for messages that are sent in turn.
#[derive(Debug)]
pub struct Poll {
    /// The frames of one turn.
    frames: Vec<Vec<u8>>,
    /// The one that is next.
    next: usize,
    /// Requests sent so far.
    sent: u64,
    /// How many may be unanswered.
    in_flight: u64,
}

impl Poll {
    /// Asks for the queues of each channel in turn, with `pipeline` requests unanswered on each
    /// channel that has one.
    ///
    /// # Errors
    ///
    /// When the name of a queue is too long.
    pub fn new<Q: AsRef<str>>(channels: &[Vec<Q>], no_ack: bool, pipeline: u16) -> Result<Self, PerfError> {
        let mut frames = Vec::new();
        let longest = channels.iter().map(Vec::len).max().unwrap_or(0);
        // A turn asks on all channels before it comes to the second queue of one.
        for nth in 0..longest {
            for (channel, queues) in (CHANNEL..).zip(channels) {
                if let Some(queue) = queues.get(nth) {
                    frames.push(frame(channel, queue.as_ref(), no_ack)?);
                }
            }
        }
        let busy = channels.iter().filter(|queues| !queues.is_empty()).count();
        Ok(Self { frames, next: 0, sent: 0, in_flight: u64::from(pipeline) * busy as u64 })
    }

    /// Appends requests until as many are unanswered as may be; `answered` have been up to now.
    pub fn top_up(&mut self, answered: u64, out: &mut Vec<u8>) {
        while self.sent < answered + self.in_flight {
            out.extend(&self.frames[self.next]);
            self.next = (self.next + 1) % self.frames.len();
            self.sent += 1;
        }
    }
}

/// A `basic.get`.
fn frame(channel: u16, queue: &str, no_ack: bool) -> Result<Vec<u8>, PerfError> {
    let queue = conn::short(queue)?;
    let mut arguments = vec![0, 0];
    wire::push_short(&mut arguments, &queue);
    arguments.push(u8::from(no_ack));
    let mut frame = Vec::new();
    wire::push_method(&mut frame, channel, GET, &arguments);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use amq_protocol::{
        frame::AMQPFrame,
        protocol::{AMQPClass, basic},
    };

    use super::*;

    fn get(channel: u16, queue: &str, no_ack: bool) -> Vec<u8> {
        let get = basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack });
        wire::encode(&AMQPFrame::Method(channel, AMQPClass::Basic(get))).unwrap()
    }

    #[test]
    fn queues_and_channels_are_asked_in_turn() {
        let channels = [vec!["a", "c"], vec!["b"], vec![]];
        let mut poll = Poll::new(&channels, true, 2).unwrap();
        let mut out = Vec::new();
        poll.top_up(0, &mut out);
        let turn = [get(1, "a", true), get(2, "b", true), get(1, "c", true)];
        assert_eq!(out, [turn.concat(), turn[0].clone()].concat());
    }

    #[test]
    fn each_answer_makes_room_for_one_more() {
        let mut poll = Poll::new(&[vec!["q"]], false, 3).unwrap();
        let one = get(1, "q", false);
        for (answered, more) in [(0, 3), (0, 0), (1, 1), (4, 3), (4, 0)] {
            let mut out = Vec::new();
            poll.top_up(answered, &mut out);
            assert_eq!(out, one.repeat(more));
        }
        // A consumer without a queue has nothing to ask for.
        let mut out = Vec::new();
        Poll::new(&[Vec::<String>::new()], false, 3).unwrap().top_up(0, &mut out);
        assert!(out.is_empty());
    }
}
