//! The checker itself, on histories made up for it.

use crate::history::{Event, Session, Step};
use crate::ledger::{End, Kind, Ledger};
use crate::message::Id;

/// One producer's messages `0, 1, ...` in the first queue, and what clients see of them.
struct Story {
    ledger: Ledger,
    stamp: u64,
}

const PRODUCER: Session = 1;

fn id(seq: u64) -> Id {
    Id { producer: 1, seq, route: 0, size: 16, durable: true }
}

fn transient(seq: u64) -> Id {
    Id { durable: false, ..id(seq) }
}

fn delivered(id: Id, redelivered: bool) -> Step {
    Step::Delivered { queue: 0, id, redelivered }
}

fn acked(id: Id) -> Step {
    Step::Acked { queue: 0, id }
}

impl Story {
    /// So many messages, sent and confirmed.
    fn with(count: u64) -> Self {
        let mut story = Self { ledger: Ledger::new(true), stamp: 0 };
        for seq in 0..count {
            story.steps(PRODUCER, [Step::Sent(id(seq)), Step::Confirmed(id(seq))]);
        }
        story
    }

    fn steps<const N: usize>(&mut self, session: Session, steps: [Step; N]) {
        for step in steps {
            self.stamp += 1;
            self.ledger.feed(vec![Event { stamp: self.stamp, session, step }]);
        }
    }

    /// A marker is published after all that, and confirmed.
    fn lands(&mut self, session: Session) {
        self.stamp += 1;
        self.steps(session, [Step::Landed { since: self.stamp }]);
    }

    fn syncs(&mut self, session: Session) {
        self.stamp += 1;
        self.steps(session, [Step::Synced { since: self.stamp }]);
    }

    /// The broker ends, starts again, and this is in the queue.
    fn then(&mut self, end: End, seen: &[(Id, bool)]) {
        self.ledger.ends(end);
        self.ledger.look(0, seen.len(), seen);
    }

    fn kinds(&mut self) -> Vec<Kind> {
        let mut kinds: Vec<_> = self.ledger.take_faults().into_iter().map(|fault| fault.kind).collect();
        kinds.sort();
        kinds
    }
}

/// What is found wrong when a number of confirmed messages come back as these after a kill.
fn back(count: u64, seen: &[(Id, bool)]) -> Vec<Kind> {
    let mut story = Story::with(count);
    story.then(End::Kill, seen);
    story.kinds()
}

#[test]
fn all_that_was_confirmed_comes_back() {
    assert_eq!(back(3, &[(id(0), false), (id(1), true), (id(2), false)]), []);
    assert_eq!(back(3, &[(id(0), false), (id(2), false)]), [Kind::Lost]);
    assert_eq!(back(3, &[]), [Kind::Lost; 3]);
}

#[test]
fn each_comes_back_once() {
    assert_eq!(back(2, &[(id(0), false), (id(1), false), (id(1), true)]), [Kind::Duplicate]);
    assert_eq!(back(2, &[(id(0), false), (id(0), false), (id(1), false)]), [Kind::Duplicate]);
}

#[test]
fn in_order_of_their_publishing() {
    assert_eq!(back(3, &[(id(0), false), (id(2), false), (id(1), false)]), [Kind::Reordered]);
    assert_eq!(back(3, &[(id(1), true), (id(2), true), (id(0), false)]), [Kind::Reordered]);
    // What came back to a quorum queue has leave.
    let quorum = |seq| Id { route: 1, ..id(seq) };
    for (flag, wanted) in [(true, vec![]), (false, vec![Kind::Reordered])] {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [0, 1, 2].map(|seq| Step::Sent(quorum(seq))));
        story.ledger.ends(End::Pause);
        story.ledger.look(1, 3, &[(quorum(1), flag), (quorum(0), flag), (quorum(2), false)]);
        assert_eq!(story.kinds(), wanted);
    }
}

#[test]
fn in_order_of_their_priorities() {
    // The fourth of a producer's names the priority 0, the last the highest, the others none.
    let prioritized = |seq| Id { route: 3, ..id(seq) };
    for (seen, wanted) in [
        ([6, 4, 0, 3], vec![]),
        ([4, 6, 0, 3], vec![Kind::Reordered]),
        ([6, 4, 3, 0], vec![Kind::Reordered]),
        ([6, 3, 4, 0], vec![Kind::Reordered]),
    ] {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [0, 3, 4, 6].map(|seq| Step::Sent(prioritized(seq))));
        story.ledger.ends(End::Pause);
        story.ledger.look(4, 4, &seen.map(|seq| (prioritized(seq), true)));
        assert_eq!(story.kinds(), wanted, "{seen:?}");
    }
}

#[test]
fn order_is_each_producers_own() {
    let mut story = Story::with(2);
    let other = |seq| Id { producer: 2, ..id(seq) };
    story.steps(5, [Step::Sent(other(0)), Step::Sent(other(1))]);
    story.then(End::Kill, &[(other(0), false), (id(0), false), (other(1), false), (id(1), false)]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn nothing_comes_that_was_not_published() {
    assert_eq!(back(1, &[(id(0), false), (id(7), false)]), [Kind::Phantom]);
    assert_eq!(back(1, &[(id(0), false), (Id { producer: 9, ..id(0) }, false)]), [Kind::Phantom]);
    // The right numbers on another message.
    assert_eq!(back(1, &[(Id { size: 17, ..id(0) }, false)]), [Kind::Lost, Kind::Phantom]);
    // Published to another queue.
    let elsewhere = Id { route: 1, ..id(5) };
    let mut story = Story::with(0);
    story.steps(PRODUCER, [Step::Sent(elsewhere), Step::Confirmed(elsewhere)]);
    story.then(End::Kill, &[(elsewhere, false)]);
    assert_eq!(story.kinds(), [Kind::Phantom]);
}

#[test]
fn zeros_are_torn() {
    let zeros = crate::message::Message { body: vec![0; 100], ..Default::default() };
    let mut story = Story::with(1);
    let what = zeros.identify(0).expect_err("nobody");
    story.steps(2, [Step::Torn { queue: 0, what }]);
    assert_eq!(story.kinds(), [Kind::Torn]);
}

#[test]
fn what_was_not_confirmed_may_come_and_then_stays() {
    for seen in [&[(id(0), false)][..], &[]] {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [Step::Sent(id(0))]);
        story.then(End::Kill, seen);
        assert_eq!(story.kinds(), []);
        // What has been found absent is so for ever, what has been found there as well.
        story.then(End::Kill, &[(id(0), false)]);
        assert_eq!(story.kinds(), if seen.is_empty() { vec![Kind::Phantom] } else { vec![] });
        story.then(End::Kill, &[]);
        assert_eq!(story.kinds(), [Kind::Lost]);
    }
}

#[test]
fn a_fan_out_is_kept_in_each_queue() {
    let fan = Id { route: 2, ..id(0) };
    let mut story = Story::with(0);
    story.steps(PRODUCER, [Step::Sent(fan), Step::Confirmed(fan)]);
    story.ledger.ends(End::Kill);
    story.ledger.look(2, 1, &[(fan, false)]);
    story.ledger.look(3, 0, &[]);
    assert_eq!(story.kinds(), [Kind::Lost]);
}

#[test]
fn acknowledged_ones_stay_away_once_that_has_landed() {
    for (landed, end, wanted) in [
        (true, End::Kill, vec![Kind::CameBack]),
        (false, End::Kill, vec![]),
        (true, End::Stop, vec![Kind::CameBack]),
        (false, End::Stop, vec![]),
        (false, End::Pause, vec![Kind::CameBack]),
    ] {
        let mut story = Story::with(1);
        story.steps(2, [delivered(id(0), false), acked(id(0))]);
        if landed {
            story.lands(2);
        }
        story.then(end, &[(id(0), true)]);
        assert_eq!(story.kinds(), wanted, "{landed} {end:?}");
        // It is there, and may be lost no more.
        story.then(End::Kill, &[]);
        assert_eq!(story.kinds(), [Kind::Lost], "{landed} {end:?}");
    }
}

#[test]
fn an_acknowledgement_in_flight_may_have_arrived() {
    let mut story = Story::with(2);
    story.steps(2, [delivered(id(0), false), delivered(id(1), false), acked(id(0))]);
    story.then(End::Kill, &[(id(1), true)]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn what_lands_is_what_was_sent_before_the_marker() {
    let mut story = Story::with(2);
    story.steps(2, [delivered(id(0), false), delivered(id(1), false), acked(id(0))]);
    let since = story.stamp + 1;
    story.stamp += 1;
    story.steps(2, [acked(id(1)), Step::Landed { since }]);
    story.then(End::Kill, &[(id(1), true)]);
    assert_eq!(story.kinds(), []);
    let mut story = Story::with(1);
    story.steps(2, [delivered(id(0), false), acked(id(0))]);
    // Another connection's marker says nothing.
    story.lands(3);
    story.then(End::Kill, &[(id(0), true)]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn a_clean_stop_loses_nothing_that_was_worked_off() {
    for (synced, end, wanted) in [
        (true, End::Stop, vec![Kind::Lost]),
        (false, End::Stop, vec![]),
        (true, End::Pause, vec![Kind::Lost]),
        (true, End::Kill, vec![]),
    ] {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [Step::Sent(id(0))]);
        if synced {
            story.syncs(PRODUCER);
        }
        story.then(end, &[]);
        assert_eq!(story.kinds(), wanted, "{synced} {end:?}");
    }
}

#[test]
fn a_clean_stop_keeps_what_was_acknowledged_away() {
    for (end, wanted) in [(End::Stop, vec![Kind::CameBack]), (End::Kill, vec![])] {
        let mut story = Story::with(1);
        story.steps(2, [delivered(id(0), false), acked(id(0))]);
        story.syncs(2);
        story.then(end, &[(id(0), true)]);
        assert_eq!(story.kinds(), wanted, "{end:?}");
    }
}

#[test]
fn deliveries_are_remembered_once_they_have_landed() {
    for (landed, end, wanted) in [
        (true, End::Kill, vec![Kind::Unflagged]),
        (false, End::Kill, vec![]),
        (false, End::Stop, vec![Kind::Unflagged]),
        (false, End::Pause, vec![Kind::Unflagged]),
    ] {
        let mut story = Story::with(1);
        story.steps(2, [delivered(id(0), false)]);
        if landed {
            story.lands(2);
        }
        story.then(end, &[(id(0), false)]);
        assert_eq!(story.kinds(), wanted, "{landed} {end:?}");
    }
}

#[test]
fn one_consumer_at_a_time() {
    let mut story = Story::with(1);
    story.steps(2, [delivered(id(0), false)]);
    story.steps(3, [delivered(id(0), true)]);
    assert_eq!(story.kinds(), [Kind::Duplicate]);
    for given_up in [Step::Requeued { queue: 0, id: id(0) }, Step::Ended] {
        let mut story = Story::with(1);
        story.steps(2, [delivered(id(0), false), given_up.clone()]);
        story.steps(3, [delivered(id(0), true)]);
        assert_eq!(story.kinds(), []);
        story.steps(3, [given_up]);
        story.steps(4, [delivered(id(0), false)]);
        assert_eq!(story.kinds(), [Kind::Unflagged]);
    }
}

#[test]
fn acknowledged_ones_do_not_come_to_another_consumer() {
    let mut story = Story::with(1);
    story.steps(2, [delivered(id(0), false), acked(id(0)), Step::Ended]);
    story.steps(3, [delivered(id(0), true)]);
    assert_eq!(story.kinds(), [Kind::CameBack]);
}

#[test]
fn a_broker_that_stops_closes_one_connection_after_the_other() {
    let mut story = Story::with(3);
    story.steps(2, [0, 1, 2].map(|seq| delivered(id(seq), false)));
    story.steps(2, [acked(id(0)), acked(id(1))]);
    story.syncs(2);
    story.steps(2, [Step::Stopping]);
    story.steps(3, [delivered(id(2), true)]);
    assert_eq!(story.kinds(), []);
    story.steps(3, [delivered(id(0), true)]);
    assert_eq!(story.kinds(), [Kind::CameBack], "it was worked off before");
    story.steps(4, [delivered(id(2), false)]);
    assert_eq!(story.kinds(), [Kind::Unflagged]);
}

#[test]
fn first_deliveries_to_a_consumer_are_in_order() {
    let mut story = Story::with(3);
    story.steps(2, [delivered(id(1), false), delivered(id(0), true), delivered(id(2), false)]);
    assert_eq!(story.kinds(), []);
    let mut story = Story::with(3);
    story.steps(2, [delivered(id(1), false), delivered(id(0), false)]);
    assert_eq!(story.kinds(), [Kind::Reordered]);
}

#[test]
fn transient_ones_go_with_the_broker() {
    for (end, wanted) in
        [(End::Kill, vec![Kind::Survived]), (End::Stop, vec![Kind::Survived]), (End::Pause, vec![])]
    {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [Step::Sent(transient(0)), Step::Confirmed(transient(0))]);
        story.then(end, &[(transient(0), false)]);
        assert_eq!(story.kinds(), wanted, "{end:?}");
    }
    for (end, wanted) in [(End::Kill, vec![]), (End::Stop, vec![]), (End::Pause, vec![Kind::Lost])] {
        let mut story = Story::with(0);
        story.steps(PRODUCER, [Step::Sent(transient(0)), Step::Confirmed(transient(0))]);
        story.then(end, &[]);
        assert_eq!(story.kinds(), wanted, "{end:?}");
    }
}

#[test]
fn a_queue_holds_what_it_says() {
    let mut story = Story::with(1);
    story.ledger.ends(End::Kill);
    story.ledger.look(0, 2, &[(id(0), false)]);
    assert_eq!(story.kinds(), [Kind::Miscounted]);
}

#[test]
fn several_kills_in_a_row_change_nothing() {
    let mut story = Story::with(2);
    story.steps(2, [delivered(id(0), false), acked(id(0)), delivered(id(1), false)]);
    story.lands(2);
    story.ledger.ends(End::Kill);
    story.ledger.ends(End::Kill);
    story.then(End::Kill, &[(id(0), true), (id(1), false)]);
    assert_eq!(story.kinds(), [Kind::Unflagged, Kind::CameBack]);
}

#[test]
fn what_was_drained_stays_away() {
    let mut story = Story::with(2);
    story.then(End::Kill, &[(id(0), false), (id(1), false)]);
    story.ledger.drained(0);
    story.then(End::Kill, &[(id(1), true)]);
    assert_eq!(story.kinds(), [Kind::CameBack]);
}

#[test]
fn what_was_given_back_is_redelivered() {
    let mut story = Story::with(2);
    story.then(End::Kill, &[(id(0), false), (id(1), false)]);
    story.ledger.given_back(0);
    story.then(End::Kill, &[(id(0), true), (id(1), false)]);
    assert_eq!(story.kinds(), [Kind::Unflagged]);
}

#[test]
fn old_ones_are_forgotten_but_not_forgiven() {
    let mut story = Story::with(1);
    story.then(End::Kill, &[(id(0), false)]);
    story.ledger.drained(0);
    for _ in 0..20 {
        story.then(End::Kill, &[]);
    }
    assert_eq!(story.ledger.live(0), 0);
    story.then(End::Kill, &[(id(0), true)]);
    assert_eq!(story.kinds(), [Kind::Phantom]);
}
