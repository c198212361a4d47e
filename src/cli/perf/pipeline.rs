//! Requests of which several are on their way at a time.
//!
//! A job is one request or several, each of which is sent when the one before has been answered. A
//! channel is answered in the order of its requests, so that whoever waits is a plain queue.

use std::{collections::VecDeque, time::Instant};

use super::{
    conn::{self, ANSWER_TIMEOUT, Connection},
    error::PerfError,
    wire,
};

/// Class and method id, as they start a method payload.
pub type Id = [u8; 4];

/// What is to be done, job after job.
pub trait Jobs {
    /// Whether there is another job to begin.
    fn more(&mut self) -> bool;

    /// Appends request `step`, from 0, of a job to `out`, and returns which methods answer it; `None`
    /// after the last one. Each job has at least one.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    fn request(
        &mut self,
        job: u64,
        step: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static [Id]>, PerfError>;

    /// Takes note of what a request was answered with.
    fn answered(&mut self, _with: Id) {}

    /// Takes note that a job is done, which began at that time.
    fn done(&mut self, began: Instant);
}

/// A job whose request is on its way.
struct Waiting {
    job: u64,
    step: usize,
    began: Instant,
    answers: &'static [Id],
}

/// Does jobs until there are no more, at most `depth` at a time, and waits for all of them.
///
/// # Errors
///
/// When the broker refuses something or does not answer.
pub fn run(connection: &mut Connection, depth: usize, jobs: &mut impl Jobs) -> Result<(), PerfError> {
    let mut pipeline = Pipeline::default();
    let mut heard = Instant::now();
    loop {
        pipeline.begin(depth, jobs)?;
        if !pipeline.out.is_empty() {
            connection.send_bytes(&pipeline.out)?;
            pipeline.out.clear();
        }
        if pipeline.waiting.is_empty() {
            return Ok(());
        }
        if connection.read_some()? {
            heard = Instant::now();
        } else if heard.elapsed() >= ANSWER_TIMEOUT {
            return Err(PerfError::Timeout("a request"));
        }
        while let Some(frame) = connection.input.next_frame()? {
            if frame.kind == wire::METHOD {
                pipeline.take(frame.payload, jobs)?;
            }
        }
    }
}

#[derive(Default)]
struct Pipeline {
    waiting: VecDeque<Waiting>,
    /// Jobs begun so far.
    begun: u64,
    /// Requests that have not been sent yet.
    out: Vec<u8>,
}

impl Pipeline {
    /// Begins as many jobs as there is room for.
    fn begin(&mut self, depth: usize, jobs: &mut impl Jobs) -> Result<(), PerfError> {
        while self.waiting.len() < depth.max(1) && jobs.more() {
            let (job, began) = (self.begun, Instant::now());
            self.begun += 1;
            if let Some(answers) = jobs.request(job, 0, &mut self.out)? {
                self.waiting.push_back(Waiting { job, step: 0, began, answers });
            }
        }
        Ok(())
    }

    /// Takes a method: the answer to the oldest request, bad news, or something else.
    fn take(&mut self, payload: &[u8], jobs: &mut impl Jobs) -> Result<(), PerfError> {
        let id = payload.first_chunk().copied().unwrap_or_default();
        let expected = self.waiting.front().is_some_and(|first| first.answers.contains(&id));
        let Some(Waiting { job, step, began, .. }) = expected.then(|| self.waiting.pop_front()).flatten()
        else {
            return conn::closed(&conn::parse_method(payload)?).map_or(Ok(()), Err);
        };
        jobs.answered(id);
        let step = step + 1;
        match jobs.request(job, step, &mut self.out)? {
            Some(answers) => self.waiting.push_back(Waiting { job, step, began, answers }),
            None => jobs.done(began),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: [u8; 4] = [0, 50, 0, 11];
    const GONE: [u8; 4] = [0, 50, 0, 41];

    /// Jobs of two requests, each of which is two octets: the job and the step.
    #[derive(Default)]
    struct Two {
        left: usize,
        answered: Vec<[u8; 4]>,
        done: usize,
    }

    impl Jobs for Two {
        fn more(&mut self) -> bool {
            let more = self.left > 0;
            self.left = self.left.saturating_sub(1);
            more
        }

        fn request(
            &mut self,
            job: u64,
            step: usize,
            out: &mut Vec<u8>,
        ) -> Result<Option<&'static [Id]>, PerfError> {
            let answers: [&'static [Id]; 2] = [&[OK], &[GONE]];
            let found = answers.get(step).copied();
            if found.is_some() {
                out.extend([job as u8, step as u8]);
            }
            Ok(found)
        }

        fn answered(&mut self, with: Id) {
            self.answered.push(with);
        }

        fn done(&mut self, _began: Instant) {
            self.done += 1;
        }
    }

    #[test]
    fn jobs_go_on_step_by_step_and_the_next_ones_begin() {
        let mut jobs = Two { left: 3, ..Default::default() };
        let mut pipeline = Pipeline::default();
        pipeline.begin(2, &mut jobs).unwrap();
        assert_eq!(pipeline.out, [0, 0, 1, 0], "two at a time");
        pipeline.out.clear();
        for answer in [OK, OK, GONE] {
            pipeline.take(&answer, &mut jobs).unwrap();
        }
        pipeline.begin(2, &mut jobs).unwrap();
        assert_eq!(pipeline.out, [0, 1, 1, 1, 2, 0]);
        assert_eq!(jobs.done, 1);
        for answer in [GONE, OK, GONE] {
            pipeline.take(&answer, &mut jobs).unwrap();
        }
        pipeline.begin(2, &mut jobs).unwrap();
        assert_eq!((jobs.done, pipeline.waiting.len()), (3, 0));
        assert_eq!(jobs.answered, [OK, OK, GONE, GONE, OK, GONE]);
    }

    #[test]
    fn a_refusal_is_the_error() {
        let mut jobs = Two { left: 1, ..Default::default() };
        let mut pipeline = Pipeline::default();
        pipeline.begin(1, &mut jobs).unwrap();
        // channel.close with 404, a text, and what it was about.
        let close = [&[0, 20, 0, 40, 1, 148, 4][..], b"gone", &[0, 50, 0, 10]].concat();
        let error = pipeline.take(&close, &mut jobs).unwrap_err();
        assert_eq!(error.to_string(), "the broker closed the channel: 404 gone");
        let other = [&GONE[..], &[0; 4]].concat();
        assert!(pipeline.take(&other, &mut jobs).is_ok(), "not its answer");
        assert_eq!((pipeline.waiting.len(), jobs.answered.len()), (1, 0));
    }
}
