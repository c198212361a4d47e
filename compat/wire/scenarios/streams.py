"""Streams: reading at offsets, credit by acknowledgements, filters, headers on the way, what is refused, counts, policies."""
import time

from stage import scenario, variants


def stream(s, name='s', *bodies, **x):
    c = s.channel()
    c.queue(name, queue_type='stream', **x)
    if bodies:
        s.put(name, *bodies)
    return c


def read(c, n, **flags):
    """n deliveries, each acknowledged."""
    for _ in range(n):
        event = c.next()
        if event.name != 'basic.deliver':
            break
        c.ack(event['tag'], **flags)


# --- offsets ------------------------------------------------------------------------------------------

@variants(first='first', next='next', zero=0, two=2, two_long=('l', 2), two_short=('s', 2), two_octet=('b', 2), unsigned=('i', 2),
          unsigned_long=('L', 2), minus=-1, long_ago=('T', 1000000000), ahead=('T', 4102444800), time_zero=('T', 0),
          hour='1h', seconds='90s', months='1M', years='1Y', week='7D', digits='5', long='5 minutes', unknown='oldest', empty='',
          upper='FIRST', yes=True, real=1.5, table={}, array=[], void=None, large=2**40, octets=b'first', minus_interval='-5m', zero_interval='0s',
          decimal=('D', (1, 5)), upper_hour='1H', float_=('f', 2.0))
def offset(s, value):
    c = stream(s, 's', 'a', 'b', 'c', 'd')
    c.qos(10)
    c.consume('s', args={'x-stream-offset': value})
    if not c.over:
        c.quiet()
        s.put('s', 'e')
        c.quiet()


@scenario
def offset_default_is_next(s):
    c = stream(s, 's', 'a', 'b')
    c.qos(10)
    c.consume('s')
    s.put('s', 'c', 'd')
    read(c, 2)


@scenario
def offset_beyond_the_end(s):
    c = stream(s, 's', 'a')
    c.qos(10)
    c.consume('s', args={'x-stream-offset': 3})
    s.put('s', 'b', 'c', 'd', 'e')
    read(c, 2)


@scenario
def offset_last_after_several_commits(s):
    c = stream(s, 's', 'a', 'b', 'c')
    c.qos(10)
    c.consume('s', args={'x-stream-offset': 'last'})
    c.quiet()


@scenario
def offset_last_of_an_empty_stream(s):
    c = stream(s)
    c.qos(10)
    c.consume('s', args={'x-stream-offset': 'last'})
    c.quiet()
    s.put('s', 'a')
    c.quiet()


@scenario
def offset_first_of_an_empty_stream(s):
    c = stream(s)
    c.qos(10)
    c.consume('s', args={'x-stream-offset': 'first'})
    s.put('s', 'a', 'b')
    read(c, 2)


@scenario
def offset_of_time_between_messages(s):
    c = stream(s, 's', 'a', 'b')
    s.sleep(2.2)
    between = int(time.time())
    s.sleep(1.2)
    s.put('s', 'c', 'd')
    c.qos(10)
    c.peer.call(c.number, 'basic.consume', queue='s', tag='c', arguments={'x-stream-offset': ('T', between)})
    c.next()
    c.quiet()


@scenario
def two_at_offsets_of_their_own(s):
    c = stream(s, 's', 'a', 'b', 'c')
    d = s.channel()
    for channel, at in ((c, 0), (d, 2)):
        channel.qos(10)
        channel.consume('s', args={'x-stream-offset': at})
        channel.quiet()
    s.put('s', 'd')
    for channel in (c, d):
        channel.quiet()


@scenario
def read_again(s):
    c = stream(s, 's', 'a', 'b', 'c')
    c.qos(10)
    for _ in range(2):
        c.consume('s', args={'x-stream-offset': 'first'})
        read(c, 3)
        c.cancel()
        c.quiet()


# --- credit -------------------------------------------------------------------------------------------

@scenario
def credit_of_one(s):
    c = stream(s, 's', 'a', 'b', 'c')
    c.qos(1)
    c.consume('s', args={'x-stream-offset': 'first'})
    for tag in (1, 2, 3):
        c.next()
        c.quiet()
        c.ack(tag)
    c.quiet()


@scenario
def credit_of_many_by_one_ack(s):
    c = stream(s, 's', *'abcdefgh')
    c.qos(3)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next(3)
    c.quiet()
    c.ack(3, multiple=True)
    c.next(3)
    c.quiet()
    c.ack(5)
    c.next()
    c.quiet()


@variants(nack={'name': 'basic.nack', 'requeue': True}, nack_drop={'name': 'basic.nack', 'requeue': False},
          reject={'name': 'basic.reject', 'requeue': True}, reject_drop={'name': 'basic.reject', 'requeue': False})
def credit_by(s, how):
    c = stream(s, 's', 'a', 'b', 'c')
    c.qos(1)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next()
    c.send(tag=1, **how)
    c.quiet()


@scenario
def ack_of_an_unknown_tag(s):
    c = stream(s, 's', 'a')
    c.qos(1)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next()
    c.ack(2)
    c.quiet()


@scenario
def ack_twice(s):
    c = stream(s, 's', 'a')
    c.qos(2)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next()
    c.ack(1)
    c.ack(1)
    c.quiet()


@scenario
def recover(s):
    c = stream(s, 's', 'a', 'b')
    c.qos(2)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next(2)
    c.call('basic.recover', requeue=True)
    c.quiet()


@scenario
def channel_ends_and_another_begins(s):
    c = stream(s, 's', 'a', 'b')
    c.qos(2)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next(2)
    c.close()
    d = s.channel()
    d.qos(2)
    d.consume('s', args={'x-stream-offset': 'first'})
    d.next(2)


@scenario
def transaction(s):
    c = stream(s, 's', 'a', 'b', 'c')
    c.call('tx.select')
    c.qos(1)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.next()
    c.ack(1)
    c.quiet()
    c.send('tx.commit')
    for event in sorted((c._read(5), c._read(5)), key=lambda e: e.name):
        c._record(event)


@scenario
def transaction_of_publishes(s):
    c = stream(s)
    c.call('tx.select')
    c.publish('s', 'a')
    c.publish('s', 'b')
    c.call('tx.commit')
    d = s.channel()
    d.qos(5)
    d.consume('s', args={'x-stream-offset': 'first'})
    read(d, 2)


@scenario
def prefetch_zero(s):
    c = stream(s, 's', 'a')
    c.consume('s', args={'x-stream-offset': 'first'})


@scenario
def prefetch_zero_after_one(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.qos(0)
    c.consume('s', args={'x-stream-offset': 'first'})


@scenario
def prefetch_of_everybody(s):
    c = stream(s, 's', 'a', 'b')
    c.qos(1, everybody=True)
    c.consume('s', args={'x-stream-offset': 'first'})
    c.quiet()


@scenario
def no_ack(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s', no_ack=True)


@scenario
def no_ack_and_no_prefetch(s):
    c = stream(s, 's', 'a')
    c.consume('s', no_ack=True)


@scenario
def exclusive(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s', exclusive=True, args={'x-stream-offset': 'first'})
    c.quiet()
    c.consume('s', 'd', args={'x-stream-offset': 'first'})
    c.quiet()
    c.consume('s', 'e', exclusive=True, args={'x-stream-offset': 'first'})
    c.quiet()


@scenario
def same_tag_twice(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s')
    c.consume('s')


@scenario
def priority_is_refused(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s', priority=5)


@variants(timeout={'consumer_timeout': 5000}, unknown={'unknown': 5}, sac={'single_active_consumer': True}, cancel={'cancel_on_ha_failover': True},
          credit={'credit': {'credit': 5}})
def consumer_argument(s, args):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s', stream_offset='first', **args)
    if not c.over:
        c.quiet()


@scenario
def offset_on_other_queues(s):
    for kind in ('classic', 'quorum'):
        c = s.channel()
        c.queue(kind, queue_type=kind)
        c.consume(kind, stream_offset='first')


@scenario
def filter_on_other_queues(s):
    for kind in ('classic', 'quorum'):
        c = s.channel()
        c.queue(kind, queue_type=kind)
        c.consume(kind, stream_filter='a', stream_match_unfiltered=True)


@scenario
def cancel(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    c.consume('s')
    c.cancel()
    s.put('s', 'b')
    c.quiet()


@scenario
def cancel_with_unacknowledged(s):
    c = stream(s, 's', 'a', 'b')
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.next(2)
    c.cancel()
    c.ack(1)
    c.ack(2)
    c.quiet()


@scenario
def deleted_under_consumers(s):
    c = stream(s, 's', 'a')
    d = s.channel()
    for channel in (c, d):
        channel.qos(5)
        channel.consume('s', stream_offset='first')
        channel.next()
    e = s.channel()
    e.delete('s')
    c.next()
    d.next()
    c.ack(1)
    c.quiet()


@scenario
def deleted_and_declared_again(s):
    c = stream(s, 's', 'a', 'b')
    c.delete('s')
    c.queue('s', queue_type='stream')
    s.put('s', 'c')
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.quiet()


# --- what is refused ----------------------------------------------------------------------------------

@scenario
def get(s):
    c = stream(s, 's', 'a')
    c.get('s')


@scenario
def get_without_acknowledgement(s):
    c = stream(s, 's', 'a')
    c.get('s', no_ack=True)


@scenario
def get_of_an_empty_one(s):
    c = stream(s)
    c.get('s')


@scenario
def purge(s):
    c = stream(s)
    c.purge('s')


@variants(unused={'if_unused': True}, empty={'if_empty': True}, both={'if_unused': True, 'if_empty': True})
def delete_if(s, how):
    c = stream(s, 's', 'a')
    c.qos(1)
    c.consume('s', stream_offset='first')
    c.next()
    c.delete('s', **how)
    c.quiet()


@variants(same={}, age={'max_age': '1h'}, bytes_={'max_length_bytes': 5}, classic={'queue_type': 'classic'})
def declared_again(s, how):
    c = stream(s)
    c.queue('s', **{'queue_type': 'stream', **how})


# --- counts -------------------------------------------------------------------------------------------

@scenario
def counts(s):
    c = stream(s)
    s.put('s', 'a', 'b', 'c')
    c.qos(2)
    c.consume('s', stream_offset='first')
    c.next(2)
    s.sleep(6)                                          # RabbitMQ counts every five seconds
    c.passive('s')
    s.http('GET', 'queues/VHOST/s', None, 'type', 'messages', 'messages_ready', 'messages_unacknowledged', 'durable', 'auto_delete', 'exclusive',
           'arguments', 'consumers', 'segments', 'state', 'policy', 'effective_policy_definition')
    c.delete('s')
    c.next()


# --- messages on their way ----------------------------------------------------------------------------

def through(s, **props):
    c = stream(s)
    c.qos(10)
    c.consume('s', stream_offset='first')
    c.confirm()
    c.publish('s', 'body', **props)
    events = [c._read(5), c._read(5)]
    for event in sorted(events, key=lambda e: e.name):
        c._record(event)


@variants(nothing={}, transient={'delivery_mode': 1}, persistent={'delivery_mode': 2}, mode_zero={'delivery_mode': 0}, mode_five={'delivery_mode': 5},
          priority={'priority': 5},
          everything={'content_type': 'text/plain', 'content_encoding': 'utf-8', 'headers': {'a': 1}, 'delivery_mode': 2, 'priority': 3,
                      'correlation_id': 'cid', 'reply_to': 'rt', 'expiration': '60000', 'message_id': 'mid', 'timestamp': 1000000000, 'type': 'type',
                      'user_id': 'guest', 'app_id': 'app', 'cluster_id': 'cluster'})
def property(s, props):
    through(s, **props)


HEADERS = {
    'bool': True, 'octet': ('b', -5), 'unsigned_octet': ('B', 200), 'short': ('s', -300), 'unsigned_short': ('u', 60000), 'int': -70000,
    'unsigned_int': ('i', 4000000000), 'long': 2**40, 'float_': ('f', 1.5), 'double': 2.5, 'decimal': ('D', (2, 314)), 'text': 'text',
    'octets': b'\x00\xff', 'time': ('T', 1000000000), 'void': None, 'table': {'b': 1, 'a': 'x'}, 'array': [1, 'x', {'y': None}],
    'empty_table': {}, 'empty_array': [], 'deep': {'a': {'b': {'c': [1, [2, 3]]}}},
}


@variants(**HEADERS)
def header(s, value):
    through(s, headers={'mine': value})


@variants(**HEADERS)
def header_with_x(s, value):
    through(s, headers={'x-mine': value})


@scenario
def headers_in_an_order(s):
    through(s, headers={'z': 1, 'a': 2, 'x-b': 3, 'x-a': 4, 'm': 5, '': 6})


@variants(number=5, text='x')
def header_of_the_name_that_is_given(s, value):
    through(s, headers={'x-stream-offset': value})


@scenario
def header_twice(s):
    through(s, headers={'CC': ['other'], 'BCC': ['more']})


@scenario
def through_an_exchange(s):
    c = stream(s)
    c.exchange('x', 'topic')
    c.bind('s', 'x', 'a.#')
    c.qos(5)
    c.consume('s', stream_offset='first')
    s.put('a.b', 'body', exchange='x')
    c.next()


@scenario
def empty_body(s):
    c = stream(s, 's', '')
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.next()


@scenario
def large_body(s):
    c = stream(s, 's', 'x' * 300000)
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.next()


@scenario
def dead_letters_into_a_stream(s):
    c = stream(s)
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='s')
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.next()


@scenario
def mandatory(s):
    c = stream(s)
    c.confirm()
    c.publish('s', 'a', mandatory=True)
    c.confirms()
    c.publish('t', 'a', mandatory=True)
    c.confirms()


# --- filters ------------------------------------------------------------------------------------------

def filtered(s, *args, unfiltered=None, values=('a', 'b', None, 'a', 'c'), **x):
    """One message each, each in a chunk of its own."""
    c = stream(s, 's', **x)
    for n, value in enumerate(values):
        s.put('s', f'{n} {value}', **({'headers': {'x-stream-filter-value': value}} if value is not None else {}))
        s.sleep(0.1)
    c.qos(10)
    more = {} if unfiltered is None else {'x-stream-match-unfiltered': unfiltered}
    c.consume('s', args={'x-stream-offset': 'first', 'x-stream-filter': args[0], **more})
    if not c.over:
        c.quiet()


@variants(one='a', list_of_one=['a'], list_of_two=['a', 'c'], none='d', empty='', empty_list=[], number=5, list_of_numbers=[1], table={}, yes=True,
          octets=b'a', void=None, mixed=['a', 5])
def filter(s, value):
    filtered(s, value)


@variants(yes=True, no=False, text='true', number=1)
def filter_and_unfiltered(s, value):
    filtered(s, 'a', unfiltered=value)


@variants(number=5, yes=True, void=None, empty='', octets=b'a')
def filter_value(s, value):
    filtered(s, 'a', unfiltered=True, values=(value, 'a', 'b'))


@variants(smallest=16, largest=255)
def filter_size(s, size):
    filtered(s, 'a', stream_filter_size_bytes=size)


@scenario
def match_unfiltered_alone(s):
    c = stream(s, 's', 'a')
    c.qos(10)
    c.consume('s', stream_offset='first', stream_match_unfiltered=True)
    c.quiet()


# --- policies -----------------------------------------------------------------------------------------

@variants(age={'max-age': '1h'}, age_bad={'max-age': '1 hour'}, bytes_={'max-length-bytes': 1000}, segment={'stream-max-segment-size-bytes': 1000},
          segment_large={'stream-max-segment-size-bytes': 2**32}, length={'max-length': 5}, ttl={'message-ttl': 5})
def policy(s, definition):
    stream(s)
    s.policy('p', definition, apply_to='streams')
    s.sleep(6)
    s.http('GET', 'queues/VHOST/s', None, 'effective_policy_definition', 'policy')


@scenario
def policies_and_operators(s):
    stream(s, 's', max_age='2h', max_length_bytes=5000)
    s.policy('p', {'max-age': '1h', 'max-length-bytes': 1000, 'stream-max-segment-size-bytes': 500, 'max-length': 5}, apply_to='all')
    s.policy('o', {'max-age': '3h', 'max-length-bytes': 700}, apply_to='queues', operator=True)
    s.sleep(6)
    s.http('GET', 'queues/VHOST/s', None, 'effective_policy_definition', 'policy', 'operator_policy', 'arguments')


# --- declaring ----------------------------------------------------------------------------------------

@variants(transient={'durable': False}, exclusive={'exclusive': True}, auto_delete={'auto_delete': True}, all_three={'durable': False, 'exclusive': True, 'auto_delete': True},
          transient_exclusive={'durable': False, 'exclusive': True})
def declared(s, how):
    c = s.channel()
    c.queue('s', queue_type='stream', **how)


@scenario
def declared_without_a_name(s):
    c = s.channel()
    event = c.queue('', queue_type='stream')
    if not c.over:
        s.aliases[event['queue']] = 'NAME'
        c.delete(event['queue'])


@variants(day='1D', zero='0s', minus='-1s', real='1.5h', space='1 h', lower='1d', minute='5m', month='5M', year='2Y', second='30s', no_unit='5', no_number='h',
          two='1h30m', long='99999999999999999999s', octets=b'1h', plus='+1h', leading='007s', unit_first='h1')
def age(s, value):
    c = s.channel()
    c.queue('s', {'x-queue-type': 'stream', 'x-max-age': value})


@variants(less='1h', same='2h', minutes='120m')
def declared_again_with_another_age(s, age):
    c = stream(s, 's', max_age='2h')
    c.queue('s', queue_type='stream', max_age=age)


@variants(gb3=3000000000, more=3000000001, chunk=1)
def segments_of(s, size):
    s.channel().queue('s', queue_type='stream', stream_max_segment_size_bytes=size)


@variants(fifteen=15, most=255, more=256)
def filters_of(s, size):
    s.channel().queue('s', queue_type='stream', stream_filter_size_bytes=size)


# --- where to begin, in a stream without messages -----------------------------------------------------

@variants(number=5, zero=0, long_ago=('T', 1000000000), hour='1h', next='next')
def offset_in_an_empty_stream(s, value):
    c = stream(s)
    c.qos(10)
    c.consume('s', args={'x-stream-offset': value})
    s.put('s', *'abcdefgh')
    c.quiet()


# --- more of credit -----------------------------------------------------------------------------------

@variants(nack={'name': 'basic.nack', 'requeue': True, 'multiple': True}, nack_drop={'name': 'basic.nack', 'requeue': False, 'multiple': True},
          ack={'name': 'basic.ack', 'multiple': True})
def credit_by_many(s, how):
    c = stream(s, 's', *'abcdefgh')
    c.qos(3)
    c.consume('s', stream_offset='first')
    c.next(3)
    c.send(tag=2, **how)
    c.next(2)
    c.quiet()


@scenario
def ack_of_everything(s):
    c = stream(s, 's', *'abcde')
    c.qos(2)
    c.consume('s', stream_offset='first')
    c.next(2)
    c.ack(0, multiple=True)
    c.next(2)
    c.quiet()


@scenario
def ack_of_two_streams_at_once(s):
    c = stream(s, 's', *'abcd')
    stream(s, 't', *'abcd')
    c.qos(1)
    c.consume('s', 'c', stream_offset='first')
    c.next()
    c.consume('t', 'd', stream_offset='first')
    c.next()
    c.ack(2, multiple=True)
    c.quiet()
    c.ack(3)
    c.quiet()


@scenario
def prefetch_is_that_of_the_consumer(s):
    c = stream(s, 's', *'abcdef')
    c.qos(2)
    c.consume('s', 'c', stream_offset='first')
    c.next(2)
    c.qos(1)
    c.consume('s', 'd', stream_offset='first')
    c.next()
    c.ack(1)
    c.quiet()


@scenario
def prefetch_of_65535(s):
    c = stream(s, 's', *'abc')
    c.qos(65535)
    c.consume('s', stream_offset='first')
    c.next(3)


@scenario
def consumed_without_a_tag(s):
    c = stream(s, 's', 'a')
    c.qos(5)
    event = c.consume('s', tag='', stream_offset='first')
    c.next()
    c.cancel(event['tag'])


@scenario
def cancelled_and_begun_again_behind_it(s):
    c = stream(s, 's', 'a', 'b', 'c')
    c.qos(5)
    c.consume('s', stream_offset='first')
    c.next(3)
    c.cancel()
    c.consume('s', args={'x-stream-offset': 2})
    c.next()
    c.ack(4)
    c.quiet()


@scenario
def no_local(s):
    c = stream(s)
    c.qos(5)
    c.call('basic.consume', queue='s', tag='c', no_local=True, arguments={'x-stream-offset': 'first'})
    c.publish('s', 'a')
    c.next()


# --- more of filters ----------------------------------------------------------------------------------

@variants(long='v' * 300, unicode='zürich', zero='a\0b')
def filter_of_a_text(s, text):
    filtered(s, text, values=(text, 'a'))


@scenario
def filter_through_an_exchange(s):
    c = stream(s)
    c.exchange('x', 'fanout')
    c.bind('s', 'x')
    s.put('k', 'one', exchange='x', headers={'x-stream-filter-value': 'a'})
    s.sleep(0.1)
    s.put('k', 'two', exchange='x', headers={'x-stream-filter-value': 'b'})
    c.qos(5)
    c.consume('s', stream_offset='first', stream_filter='b')
    c.quiet()


@scenario
def filter_at_an_offset(s):
    c = stream(s)
    for n, value in enumerate('abab'):
        s.put('s', f'{n} {value}', headers={'x-stream-filter-value': value})
        s.sleep(0.1)
    c.qos(5)
    c.consume('s', args={'x-stream-offset': 2, 'x-stream-filter': 'a'})
    c.quiet()


@scenario
def publishing_in_one_go(s):
    c = stream(s)
    c.confirm()
    for n in range(20):
        c.publish('s', n)
    c.confirms()
    d = s.channel()
    d.qos(50)
    d.consume('s', args={'x-stream-offset': 5})
    d.next(15)
    d.quiet()
