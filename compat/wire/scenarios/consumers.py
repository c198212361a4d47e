"""Consumers: priorities, a single active one, exclusive ones, who is told of what; priorities of messages."""
from stage import scenario, variants

BOTH = {'classic': {}, 'quorum': {'queue_type': 'quorum'}}


@variants(**BOTH)
def higher_priority_goes_first(s, kind):
    c = s.channel()
    c.queue('q', **kind)
    c.consume('q', 'low', args={'x-priority': -5})
    c.consume('q', 'high', args={'x-priority': 5})
    c.consume('q', 'middle')
    c.qos(1)
    s.put('q', 'a', 'b', 'c')
    c.next(3)


@variants(text={'x-priority': 'high'}, float_={'x-priority': 1.5}, large={'x-priority': 2**40}, table={'x-priority': {}})
def priority_of_a_consumer(s, args):
    c = s.channel()
    c.queue('q')
    c.consume('q', args=args)
    s.put('q', 'a')
    c.next()


@variants(**BOTH)
def full_ones_let_others_have_a_turn(s, kind):
    high, low = s.connect().channel(), s.connect().channel()
    high.queue('q', **kind)
    high.qos(1)
    high.consume('q', 'high', args={'x-priority': 9})
    low.consume('q', 'low')
    s.put('q', 'a')
    high.next()
    s.put('q', 'b')
    low.next()
    high.ack(1)
    s.sleep(0.2)
    s.put('q', 'c')
    high.next()


@variants(**BOTH)
def single_active(s, kind):
    first, second = s.connect(), s.connect()
    a, b = first.channel(), second.channel()
    a.queue('q', single_active_consumer=True, **kind)
    a.consume('q', 'a', no_ack=True)
    b.consume('q', 'b', no_ack=True)
    s.put('q', '1', '2')
    a.next(2)
    b.quiet(0.1)
    a.cancel('a')
    s.put('q', '3')
    b.next()
    a.quiet(0.1)


@variants(**BOTH)
def single_active_fails_over(s, kind):
    first, second = s.connect(), s.connect()
    a, b = first.channel(), second.channel()
    a.queue('q', single_active_consumer=True, **kind)
    a.consume('q', 'a')
    b.consume('q', 'b')
    s.put('q', '1', '2')
    a.next(2)
    a.ack(1)
    first.close()
    b.next()


@variants(**BOTH)
def single_active_and_exclusive(s, kind):
    c = s.channel()
    c.queue('q', single_active_consumer=True, **kind)
    c.consume('q', exclusive=True)


@variants(**BOTH)
def single_active_and_get(s, kind):
    c = s.channel()
    c.queue('q', single_active_consumer=True, **kind)
    c.get('q')


@scenario
def exclusive_after_another(s):
    a, b = s.channel(), s.channel()
    a.queue('q')
    a.consume('q', 'a')
    b.consume('q', 'b', exclusive=True)


@scenario
def another_after_exclusive(s):
    a, b = s.channel(), s.channel()
    a.queue('q')
    a.consume('q', 'a', exclusive=True)
    b.consume('q', 'b')


@scenario
def get_beside_exclusive(s):
    a, b = s.channel(), s.channel()
    a.queue('q')
    a.consume('q', 'a', exclusive=True)
    b.get('q')


@variants(**BOTH)
def told_when_the_queue_goes(s, kind):
    a, b = s.connect().channel(), s.connect().channel()
    a.queue('q', **kind)
    a.consume('q', 'a')
    b.delete('q')
    a.next()


@scenario
def not_told_without_the_capability(s):
    a = s.connect(properties={'capabilities': {}}).channel()
    b = s.connect().channel()
    a.queue('q')
    a.consume('q', 'a')
    b.delete('q')
    a.quiet()


@scenario
def tag_of_the_server(s):
    c = s.channel()
    c.queue('q')
    c.consume('q', '')


@scenario
def same_tag_twice(s):
    c = s.channel()
    c.queue('q')
    c.consume('q', 'c')
    c.consume('q', 'c')


@variants(**{'zero': 0, 'one': 1, 'three': 3, 'all': 255})
def classic_priorities(s, most):
    c = s.channel()
    c.queue('q', max_priority=most)
    for priority in (None, 0, 1, 2, 3, 4, 9, 255):
        s.put('q', f'p{priority}', **({} if priority is None else {'priority': priority}))
    c.drain('q')


@variants(negative=-1, large=256, text='5', float_=1.5)
def max_priority(s, value):
    s.channel().queue('q', max_priority=value)


@scenario
def quorum_priorities(s):
    c = s.channel()
    c.quorum('q')
    for priority in (None, 0, 1, 3, 4, 5, 9, 31, 32, 255):
        s.put('q', f'p{priority}', **({} if priority is None else {'priority': priority}))
    c.drain('q')


@scenario
def requeued_goes_back_to_its_priority(s):
    c = s.channel()
    c.queue('q', max_priority=5)
    s.put('q', 'low', priority=1)
    c.get('q')
    s.put('q', 'high', priority=5)
    s.put('q', 'low too', priority=1)
    c.reject(1, requeue=True)
    s.until('q', 3)
    c.drain('q')


@scenario
def full_queue_with_priorities_drops_the_highest(s):
    c = s.channel()
    c.queue('q', max_priority=5, max_length=2)
    s.put('q', 'low', priority=1)
    s.put('q', 'high', priority=5)
    s.put('q', 'middle', priority=3)
    c.drain('q')


@variants(**BOTH)
def prefetch_of_each(s, kind):
    c = s.channel()
    c.queue('q', **kind)
    c.qos(2)
    c.consume('q')
    s.put('q', '1', '2', '3', '4')
    c.next(2)
    c.quiet(0.15)
    c.ack(2, multiple=True)
    c.next(2)


@scenario
def prefetch_for_everybody(s):
    c = s.channel()
    c.queue('q')
    c.queue('r')
    c.qos(1, everybody=True)
    c.consume('q', 'a')
    c.consume('r', 'b')
    s.put('q', '1', '2')
    s.put('r', '3')
    c.quiet()


@scenario
def cancelled_in_between_by_nowait(s):
    c = s.channel()
    c.queue('q')
    c.consume('q')
    c.send('basic.cancel', tag='c', no_wait=True)
    s.put('q', 'a')
    c.quiet(0.1)
    c.passive('q')
