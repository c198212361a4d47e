"""Bounded queues: what is dropped, what is refused, what becomes of it."""
from stage import scenario, variants


@scenario
def oldest_goes(s):
    c = s.channel()
    c.queue('q', max_length=2)
    s.put('q', *'abcd')
    c.drain('q')


@scenario
def by_bytes(s):
    c = s.channel()
    c.queue('q', max_length_bytes=10)
    s.put('q', 'aaaa', 'bbbb', 'cccc', 'd')
    c.drain('q')


@scenario
def by_bytes_of_bodies_only(s):
    c = s.channel()
    c.queue('q', max_length_bytes=10)
    s.put('q', 'aaaa', 'bbbb', headers={'large': 'x' * 100}, message_id='y' * 100)
    c.drain('q')


@scenario
def larger_than_the_bound(s):
    c = s.channel()
    c.pair(max_length_bytes=5)
    s.put('q', 'aa', 'bbbbbbbbbb')
    s.until('dead', 2)
    c.drain('dead')


@scenario
def by_both(s):
    c = s.channel()
    c.queue('q', max_length=3, max_length_bytes=5)
    s.put('q', 'a', 'b', 'c', 'd', 'eeee')
    c.drain('q')


@scenario
def zero(s):
    c = s.channel()
    c.pair(max_length=0)
    s.put('q', 'a')
    s.until('dead', 1)
    c.consume('q', no_ack=True)
    s.put('q', 'b')
    c.next()
    c.drain('dead')


@scenario
def zero_bytes_and_empty_bodies(s):
    c = s.channel()
    c.queue('q', max_length_bytes=0)
    s.put('q', '', '')
    c.drain('q')


@scenario
def unacknowledged_do_not_count(s):
    c = s.channel()
    c.queue('q', max_length=1)
    s.put('q', 'a')
    c.get('q')
    s.put('q', 'b')
    c.passive('q')


@scenario
def requeued_count_again(s):
    c = s.channel()
    c.pair(max_length=1)
    s.put('q', 'a')
    c.get('q')
    s.put('q', 'b')
    c.nack(1)
    s.until('dead', 1)
    c.drain('dead')
    c.drain('q')


@scenario
def dropped_in_order(s):
    c = s.channel()
    c.pair(max_length=1)
    s.put('q', *'abcd')
    s.until('dead', 3)
    c.drain('dead')


@scenario
def refused_and_nacked(s):
    c = s.channel()
    c.queue('q', max_length=1, overflow='reject-publish')
    c.confirm()
    for body in 'abc':
        c.publish('q', body)
        c.confirms()
    c.drain('q')
    c.publish('q', 'd')
    c.confirms()


@scenario
def refused_without_confirms(s):
    c = s.channel()
    c.queue('q', max_length=1, overflow='reject-publish')
    c.publish('q', 'a')
    c.publish('q', 'b')
    s.until('q', 1)
    c.drain('q')


@scenario
def refused_by_bytes(s):
    c = s.channel()
    c.queue('q', max_length_bytes=5, overflow='reject-publish')
    c.confirm()
    for body in ('aaa', 'bbb', 'c'):
        c.publish('q', body)
        c.confirms()
    c.drain('q')


@scenario
def refused_is_not_dead(s):
    c = s.channel()
    c.pair(max_length=1, overflow='reject-publish')
    s.put('q', 'a', 'b')
    c.passive('dead')


@scenario
def refused_and_dead(s):
    c = s.channel()
    c.pair(max_length=1, overflow='reject-publish-dlx')
    c.confirm()
    for body in 'ab':
        c.publish('q', body, message_id=body)
        c.confirms()
    s.until('dead', 1)
    c.drain('dead')


@scenario
def refused_by_one_of_two(s):
    "One refusal is a refusal"
    c = s.channel()
    c.exchange('x', 'fanout')
    c.queue('q', max_length=0, overflow='reject-publish')
    c.queue('other')
    c.bind('q', 'x')
    c.bind('other', 'x')
    c.confirm()
    c.publish('', 'a', 'x')
    c.confirms()
    c.drain('other')


@scenario
def refused_mandatory_is_not_returned(s):
    c = s.channel()
    c.queue('q', max_length=0, overflow='reject-publish')
    c.confirm()
    c.publish('q', 'a', mandatory=True)
    c.confirms()


@scenario
def refused_in_a_transaction(s):
    c = s.channel()
    c.queue('q', max_length=1, overflow='reject-publish')
    c.call('tx.select')
    c.publish('q', 'a')
    c.publish('q', 'b')
    c.call('tx.commit')
    s.channel().drain('q')


@scenario
def refused_counts_unacknowledged(s):
    c = s.channel()
    c.queue('q', max_length=1, overflow='reject-publish')
    s.put('q', 'a')
    c.get('q')
    s.put('q', 'b', 'c')
    c.passive('q')


@scenario
def consumer_keeps_it_empty(s):
    c = s.channel()
    c.queue('q', max_length=1)
    c.consume('q', no_ack=True)
    s.put('q', 'a', 'b')
    c.next(2)


@scenario
def in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum', max_length=1)
    s.put('q', 'a', 'b', 'c')
    s.until('dead', 2)
    c.drain('dead')
    c.drain('q')


@scenario
def bytes_in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum', max_length_bytes=5)
    s.put('q', 'aaa', 'bbb')
    s.until('dead', 1)
    c.drain('q')


@scenario
def refused_by_a_quorum_queue(s):
    c = s.channel()
    c.quorum('q', max_length=1, overflow='reject-publish')
    s.put('q', 'a')
    s.sleep(0.2)
    s.put('q', 'b')
    s.sleep(0.2)
    s.put('q', 'c')
    s.sleep(0.2)
    s.put('q', 'd')
    c.drain('q')


@scenario
def unacknowledged_in_a_quorum_queue(s):
    c = s.channel()
    c.quorum('q', max_length=1)
    s.put('q', 'a')
    c.get('q')
    s.put('q', 'b')
    s.until('q', 1)
    c.nack(1)
    s.sleep(0.1)
    c.drain('q')


@variants(negative={'x-max-length': -1}, text={'x-max-length': '5'}, bytes_negative={'x-max-length-bytes': -1},
          large={'x-max-length': ('l', 2**40)}, overflow_unknown={'x-overflow': 'drop-tail'},
          overflow_number={'x-overflow': 5}, overflow_alone={'x-overflow': 'reject-publish'},
          quorum_dlx={'x-queue-type': 'quorum', 'x-overflow': 'reject-publish-dlx', 'x-max-length': 1})
def declared_with(s, args):
    s.channel().queue('q', args)
