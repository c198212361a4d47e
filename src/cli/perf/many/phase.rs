//! Following one job after the other, of which there are a known number.

use std::time::Instant;

use super::super::{
    conn::Connection,
    error::PerfError,
    pipeline::{self, Id, Jobs},
    progress::{Progress, ProgressArgs},
};

/// What is asked for each thing, by its number from 0.
pub type Request<'a> = &'a dyn Fn(u64) -> Result<Vec<u8>, PerfError>;

/// One request for each of many things.
pub struct Each<'a> {
    /// What is done, for the line about the progress.
    pub doing: &'static str,
    pub count: u64,
    pub request: Request<'a>,
    pub answers: &'static [Id],
}

impl Each<'_> {
    /// Makes all requests, so many of them at a time.
    ///
    /// # Errors
    ///
    /// As [`pipeline::run`].
    pub fn run(
        &self,
        connection: &mut Connection,
        depth: usize,
        args: &ProgressArgs,
    ) -> Result<(), PerfError> {
        let mut jobs = Going { each: self, begun: 0, done: 0, progress: Progress::new(args) };
        pipeline::run(connection, depth, &mut jobs)
    }
}

struct Going<'a> {
    each: &'a Each<'a>,
    begun: u64,
    done: u64,
    progress: Progress,
}

impl Jobs for Going<'_> {
    fn more(&mut self) -> bool {
        let more = self.begun < self.each.count;
        self.begun += u64::from(more);
        more
    }

    fn request(
        &mut self,
        job: u64,
        step: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static [Id]>, PerfError> {
        if step > 0 {
            return Ok(None);
        }
        out.extend((self.each.request)(job)?);
        Ok(Some(self.each.answers))
    }

    fn done(&mut self, _began: Instant) {
        self.done += 1;
        if self.progress.due() {
            let Each { doing, count, .. } = self.each;
            self.progress.show(&format!("{doing}: {} of {count}", self.done));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_asked_for_once() {
        let request = |number: u64| Ok(vec![u8::try_from(number).unwrap()]);
        let each = Each { doing: "ask", count: 3, request: &request, answers: &[] };
        let mut jobs =
            Going { each: &each, begun: 0, done: 0, progress: Progress::new(&ProgressArgs::default()) };
        let mut out = Vec::new();
        let mut job = 0;
        while jobs.more() {
            assert!(jobs.request(job, 0, &mut out).unwrap().is_some());
            assert!(jobs.request(job, 1, &mut out).unwrap().is_none());
            jobs.done(Instant::now());
            job += 1;
        }
        assert_eq!((out.as_slice(), jobs.done), (&[0, 1, 2][..], 3));
    }
}
