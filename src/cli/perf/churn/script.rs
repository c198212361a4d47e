//! A client that makes the same requests over and over, several at a time.

use std::time::Instant;

use super::{
    super::{
        conn::Connection,
        error::PerfError,
        pipeline::{self, Id, Jobs},
        request::GET_EMPTY,
    },
    cycle::{Client, Meter},
};

/// A request as bytes, and which methods answer it.
#[derive(Debug)]
pub struct Step {
    pub bytes: Vec<u8>,
    pub answers: &'static [Id],
}

/// A client with as many scripts as it goes through at the same time, each about something else.
pub struct Player {
    pub connection: Connection,
    pub scripts: Vec<Vec<Step>>,
}

impl Client for Player {
    fn run(mut self, meter: &mut Meter<'_>) -> Result<(), PerfError> {
        let depth = self.scripts.len();
        let mut playing = Playing { scripts: &self.scripts, meter };
        pipeline::run(&mut self.connection, depth, &mut playing)?;
        self.connection.close();
        Ok(())
    }
}

struct Playing<'a, 'm> {
    scripts: &'a [Vec<Step>],
    meter: &'a mut Meter<'m>,
}

/// The script of a job. Jobs end in the order in which they began, so that the scripts are free
/// again when it is their turn.
fn script(scripts: &[Vec<Step>], job: u64) -> Option<&Vec<Step>> {
    let turn = job.checked_rem(scripts.len() as u64)?;
    scripts.get(usize::try_from(turn).ok()?)
}

impl Jobs for Playing<'_, '_> {
    fn more(&mut self) -> bool {
        self.meter.go_on()
    }

    fn request(
        &mut self,
        job: u64,
        step: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static [Id]>, PerfError> {
        let step = script(self.scripts, job).and_then(|script| script.get(step));
        Ok(step.map(|step| {
            out.extend(&step.bytes);
            step.answers
        }))
    }

    fn answered(&mut self, with: Id) {
        if with == GET_EMPTY {
            self.meter.miss();
        }
    }

    fn done(&mut self, began: Instant) {
        self.meter.done(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_take_turns_with_the_scripts() {
        let scripts = [1_u8, 2, 3].map(|byte| vec![Step { bytes: vec![byte], answers: &[] }]);
        let bytes = |job| script(&scripts, job).map(|script| script[0].bytes[0]);
        assert_eq!([0, 1, 2, 3, 4].map(bytes), [Some(1), Some(2), Some(3), Some(1), Some(2)]);
        assert!(script(&[], 5).is_none());
    }
}
