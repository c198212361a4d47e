//! Messages for many queues, so many for each.

use amq_protocol::protocol::{AMQPClass, confirm};

use super::super::{
    confirms::Confirms,
    conn::{self, ANSWER_TIMEOUT, CHANNEL, Connection},
    error::PerfError,
    progress::{Progress, ProgressArgs},
    request, wire,
};

/// Messages unconfirmed at most.
const WINDOW: u32 = 1000;
/// Bytes to send at a time.
const TOGETHER: usize = 64 * 1024;

/// What to publish where.
pub struct Fill<'a> {
    pub queues: u64,
    /// The name of a queue by its number.
    pub name: &'a dyn Fn(u64) -> String,
    /// Messages for each queue.
    pub messages: u64,
    pub size: u32,
    pub persistent: bool,
}

impl Fill<'_> {
    /// Publishes everything, one message for each queue in turn, until it is all confirmed. Returns
    /// how many were refused.
    ///
    /// # Errors
    ///
    /// When the broker refuses or does not answer.
    pub fn run(&self, connection: &mut Connection, args: &ProgressArgs) -> Result<u64, PerfError> {
        let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
        connection.call(CHANNEL, select, "confirm.select", |answer| {
            matches!(answer, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)))
        })?;
        let content = request::content(self.size, self.persistent, connection.frame_max)?;
        let mut confirms = Confirms::new(WINDOW);
        let mut progress = Progress::new(args);
        let (mut published, mut out) = (0, Vec::new());
        let total = self.queues * self.messages;
        loop {
            out.clear();
            while published < total && confirms.room() > 0 && out.len() < TOGETHER {
                out.extend(request::publish(&(self.name)(published % self.queues), &content)?);
                confirms.published(1);
                published += 1;
            }
            if !out.is_empty() {
                connection.send_bytes(&out)?;
            }
            if confirms.room() == 0 || (published == total && confirms.outstanding() > 0) {
                listen(connection, &mut confirms)?;
            } else if published == total {
                return Ok(confirms.nacked);
            }
            progress.show(&format!("publish: {published} of {total}"));
        }
    }
}

/// Waits for a confirm.
fn listen(connection: &mut Connection, confirms: &mut Confirms) -> Result<(), PerfError> {
    let (since, before) = (std::time::Instant::now(), confirms.outstanding());
    while confirms.outstanding() == before {
        while let Some(frame) = connection.input.next_frame()? {
            if frame.kind == wire::METHOD && !confirms.apply(frame.payload) {
                conn::closed(&conn::parse_method(frame.payload)?).map_or(Ok(()), Err)?;
            }
        }
        if confirms.outstanding() == before && !connection.read_some()? && since.elapsed() >= ANSWER_TIMEOUT {
            return Err(PerfError::Timeout("a publish"));
        }
    }
    Ok(())
}
