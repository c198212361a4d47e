"""Quorum queues: what they refuse, delivery counts and limits, order, delayed retry, time-outs, at-least-once."""
from stage import scenario, variants

AT_LEAST_ONCE = {'queue_type': 'quorum', 'dead_letter_strategy': 'at-least-once', 'overflow': 'reject-publish'}


@variants(transient={'durable': False}, exclusive={'exclusive': True}, auto_delete={'auto_delete': True},
          max_priority={'max_priority': 5}, lazy={'queue_mode': 'lazy'}, strategy={'dead_letter_strategy': 'both'},
          strategy_number={'dead_letter_strategy': 5}, limit_text={'delivery_limit': '5'}, limit_large={'delivery_limit': 2**40},
          limit_minus_two={'delivery_limit': -2}, limit_minus_one={'delivery_limit': -1},
          group={'quorum_initial_group_size': 3}, group_negative={'quorum_initial_group_size': -1},
          target={'quorum_target_group_size': 3}, locator={'queue_leader_locator': 'elsewhere'},
          in_memory={'max_in_memory_length': 5}, sac_text={'single_active_consumer': 'yes'},
          timeout_zero={'consumer_timeout': 0}, timeout_text={'consumer_timeout': 'long'},
          retry_unknown={'delayed_retry_type': 'some', 'delayed_retry_min': 5},
          retry_without_min={'delayed_retry_type': 'all'}, retry_min_alone={'delayed_retry_min': 10},
          retry_max_below={'delayed_retry_type': 'all', 'delayed_retry_min': 10, 'delayed_retry_max': 5},
          retry_negative={'delayed_retry_type': 'all', 'delayed_retry_min': -1},
          disconnected={'consumer_disconnected_timeout': 1000}, master={'queue_master_locator': 'min-masters'})
def declared(s, how):
    s.channel().quorum('q', **how)


@scenario
def without_a_name(s):
    s.channel().quorum('')


@scenario
def no_such_type(s):
    s.channel().queue('q', queue_type='octopus')


@scenario
def type_of_a_wrong_type(s):
    s.channel().queue('q', queue_type=5)


@scenario
def exclusive_consumer(s):
    c = s.channel()
    c.quorum('q')
    c.consume('q', exclusive=True)


@scenario
def redeclared_as_classic(s):
    c = s.channel()
    c.quorum('q')
    c.queue('q')


@scenario
def counts_of_rejects_and_nacks(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a', headers={'mine': 1})
    c.consume('q')
    for tag, give_back in enumerate([c.nack, c.reject, c.nack, c.reject], 1):
        c.next()
        give_back(tag, requeue=True)
    c.next()


@scenario
def counts_with_get(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a')
    for tag in (1, 2):
        c.get('q')
        c.reject(tag, requeue=True)
        s.until('q', 1)
    c.get('q', no_ack=True)


@scenario
def count_of_a_closed_channel(s):
    c, other = s.channel(), s.channel()
    c.quorum('q')
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.close()
    s.until('q', 1)
    other.get('q')


@scenario
def count_of_a_lost_connection(s):
    c, other = s.connect().channel(), s.connect().channel()
    c.quorum('q')
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.connection.drop()
    s.until('q', 1)
    other.get('q')


@scenario
def count_of_a_cancel(s):
    "A cancelled consumer keeps what it has"
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.cancel()
    c.passive('q')
    c.nack(1)
    s.until('q', 1)
    c.get('q')


@scenario
def count_of_recover(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.call('basic.recover', requeue=True)
    c.quiet()


@scenario
def published_count_is_overwritten(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a', headers={'x-delivery-count': 7, 'x-acquired-count': 9})
    c.get('q')
    c.reject(1, requeue=True)
    s.until('q', 1)
    c.get('q')


@scenario
def limit_of_zero(s):
    c = s.channel()
    c.pair(queue_type='quorum', delivery_limit=0)
    s.put('q', 'a')
    c.get('q')
    c.reject(1, requeue=True)
    s.until('dead', 1)
    c.get('dead')


@scenario
def limit_of_twenty(s):
    c = s.channel()
    c.pair(queue_type='quorum')
    s.put('q', 'a')
    c.consume('q')
    for tag in range(1, 22):
        c.next()
        c.reject(tag, requeue=True)
    s.until('dead', 1)
    c.quiet(0.1)
    c.get('dead')


@scenario
def no_limit(s):
    c = s.channel()
    c.pair(queue_type='quorum', delivery_limit=-1)
    s.put('q', 'a')
    c.consume('q')
    for tag in range(1, 26):
        c.next()
        c.reject(tag, requeue=True)
    c.next()


@scenario
def limit_without_dead_letters(s):
    c = s.channel()
    c.quorum('q', delivery_limit=1)
    s.put('q', 'a', 'b')
    c.qos(1)
    c.consume('q')
    for tag in (1, 2):
        c.next()
        c.reject(tag, requeue=True)
    c.next()
    c.ack(3)
    s.until('q', 0)


@scenario
def limit_by_closed_channels(s):
    c = s.channel()
    c.pair(queue_type='quorum', delivery_limit=1)
    s.put('q', 'a')
    for _ in range(2):
        taker = s.channel()
        taker.get('q')
        taker.close()
        s.sleep(0.1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def limit_is_not_reached_by_nacks(s):
    c = s.channel()
    c.pair(queue_type='quorum', delivery_limit=1)
    s.put('q', 'a')
    c.consume('q')
    for tag in range(1, 5):
        c.next()
        c.nack(tag)
    c.next()


@scenario
def requeued_to_the_front(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', *'abc')
    c.get('q')
    c.nack(1)
    s.until('q', 3)
    c.drain('q')


@scenario
def rejected_to_the_front(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', *'abc')
    c.get('q')
    c.reject(1, requeue=True)
    s.until('q', 3)
    c.drain('q')


@scenario
def requeued_together(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', *'abcd')
    for _ in range(3):
        c.get('q')
    c.nack(3, multiple=True)
    s.until('q', 4)
    c.drain('q')


@scenario
def requeued_backwards(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', *'abcd')
    for _ in range(3):
        c.get('q')
    for tag, n in ((3, 2), (1, 3), (2, 4)):
        c.nack(tag)
        s.until('q', n)
    c.drain('q')


@scenario
def requeued_in_a_classic_queue(s):
    c = s.channel()
    c.queue('q')
    s.put('q', *'abcd')
    for _ in range(3):
        c.get('q')
    for tag, n in ((3, 2), (1, 3), (2, 4)):
        c.nack(tag)
        s.until('q', n)
    c.drain('q')


@scenario
def redelivered_flags(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a', 'b')
    c.qos(1)
    c.consume('q')
    c.next()
    c.nack(1)
    c.next()
    c.ack(2)
    c.next()


@scenario
def retry_of_all_is_delayed(s):
    c = s.channel()
    c.quorum('q', delayed_retry_type='all', delayed_retry_min=300)
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.nack(1)
    c.quiet(0.1)
    c.next()
    c.reject(2, requeue=True)
    c.quiet(0.1)
    c.next()


@scenario
def retry_of_failed_only(s):
    c = s.channel()
    c.quorum('q', delayed_retry_type='failed', delayed_retry_min=60000)
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.nack(1)
    c.next()
    c.reject(2, requeue=True)
    c.quiet(0.3)


@scenario
def retry_of_returned_only(s):
    c = s.channel()
    c.quorum('q', delayed_retry_type='returned', delayed_retry_min=60000)
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.reject(1, requeue=True)
    c.next()
    c.nack(2)
    c.quiet(0.3)


@scenario
def retry_lets_others_pass(s):
    c = s.channel()
    c.quorum('q', delayed_retry_type='all', delayed_retry_min=300)
    c.qos(1)
    s.put('q', 'a', 'b')
    c.consume('q')
    c.next()
    c.nack(1)
    c.next()
    c.ack(2)
    c.next()


@scenario
def retry_is_not_seen_in_counts(s):
    c = s.channel()
    c.quorum('q', delayed_retry_type='all', delayed_retry_min=60000)
    s.put('q', 'a', 'b')
    c.get('q')
    c.nack(1)
    s.sleep(0.1)
    c.passive('q')
    c.get('q', no_ack=True)
    c.get('q')


@scenario
def consumer_timeout_of_the_queue(s):
    c, other = s.channel(), s.channel()
    c.quorum('q', consumer_timeout=500)
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.next(patience=20)
    s.until('q', 1, patience=10)
    other.get('q')


@scenario
def consumer_timeout_of_the_consumer(s):
    c, other = s.channel(), s.channel()
    c.quorum('q')
    s.put('q', 'a')
    c.consume('q', consumer_timeout=500)
    c.next()
    c.next(patience=20)
    s.until('q', 1, patience=10)
    other.get('q')


@scenario
def at_least_once(s):
    c = s.channel()
    c.pair(**AT_LEAST_ONCE)
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def at_least_once_expired(s):
    c = s.channel()
    c.pair(message_ttl=20, **AT_LEAST_ONCE)
    s.put('q', 'a')
    s.until('dead', 1)
    c.drain('dead')


@scenario
def at_least_once_by_limit(s):
    c = s.channel()
    c.pair(delivery_limit=0, **AT_LEAST_ONCE)
    s.put('q', 'a')
    c.get('q')
    c.reject(1, requeue=True)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def at_least_once_waits_for_a_route(s):
    c = s.channel()
    c.exchange('dlx', 'fanout')
    c.queue('dead')
    c.queue('q', dead_letter_exchange='dlx', max_length=1, **AT_LEAST_ONCE)
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.sleep(0.2)
    c.get('q')
    c.passive('q')
    c.passive('dead')


@scenario
def at_least_once_to_a_refusing_queue(s):
    "Another attempt comes later; until then it is nowhere to be had"
    c = s.channel()
    c.queue('dead', max_length=0, overflow='reject-publish')
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='dead', **AT_LEAST_ONCE)
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.sleep(0.2)
    c.passive('q')
    c.passive('dead')


@scenario
def at_least_once_without_overflow(s):
    "Falls back to at-most-once: a length drops the head"
    c = s.channel()
    c.pair(queue_type='quorum', dead_letter_strategy='at-least-once', max_length=1)
    s.put('q', 'a', 'b')
    s.until('dead', 1)
    c.drain('dead')


@scenario
def delete_if_empty(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a')
    c.delete('q', if_empty=True)


@scenario
def global_prefetch(s):
    c = s.channel()
    c.quorum('q')
    c.qos(1, everybody=True)
    c.consume('q')
    s.put('q', 'a', 'b')
    c.next()
    c.quiet(0.1)


@scenario
def purge_and_delete(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a', 'b', 'c')
    c.get('q')
    c.purge('q')
    c.passive('q')
    s.put('q', 'd')
    c.delete('q')


@scenario
def transient_messages_are_shown_as_such(s):
    c = s.channel()
    c.quorum('q')
    s.put('q', 'a', delivery_mode=1)
    s.put('q', 'b', delivery_mode=2)
    s.put('q', 'c')
    c.drain('q')
