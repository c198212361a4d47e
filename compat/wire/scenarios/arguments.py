"""What queue.declare takes and refuses: every argument in several types, for each type of queue, and declared once more."""
from stage import scenario, variants

ARGUMENTS = ('x-message-ttl', 'x-expires', 'x-max-length', 'x-max-length-bytes', 'x-max-priority', 'x-overflow', 'x-dead-letter-exchange',
             'x-dead-letter-routing-key', 'x-dead-letter-strategy', 'x-delivery-limit', 'x-single-active-consumer', 'x-queue-mode',
             'x-queue-version', 'x-queue-master-locator', 'x-queue-leader-locator', 'x-initial-cluster-size', 'x-max-age',
             'x-stream-max-segment-size-bytes', 'x-stream-filter-size-bytes', 'x-quorum-initial-group-size', 'x-consumer-timeout',
             'x-queue-type', 'x-unknown')
VALUES = {'one': 1, 'zero': 0, 'minus': -1, 'large': 2**40, 'text': 'text', 'digits': '5', 'empty': '', 'yes': True, 'half': 0.5, 'table': {}, 'list': []}
NAMES = {name[2:].replace('-', '_'): name for name in ARGUMENTS}


@variants(**NAMES)
def of_classic(s, name):
    for value in VALUES.values():
        s.channel().queue('', {name: value}, exclusive=True)


@variants(**NAMES)
def of_quorum(s, name):
    for label, value in VALUES.items():
        s.channel().queue(f'q-{label}', {'x-queue-type': 'quorum', name: value} if name != 'x-queue-type' else {name: value})


@variants(**NAMES)
def of_stream(s, name):
    for label, value in VALUES.items():
        s.channel().queue(f'q-{label}', {'x-queue-type': 'stream', name: value} if name != 'x-queue-type' else {name: value})


@variants(durable={'durable': False}, auto_delete={'auto_delete': True}, exclusive={'exclusive': True}, type_={'queue_type': 'quorum'},
          ttl={'message_ttl': 5}, ttl_text={'message_ttl': '5'}, unknown={'unknown': 1}, dlx={'dead_letter_exchange': 'x'},
          type_classic={'queue_type': 'classic'}, mode={'queue_mode': 'default'}, several={'max_length': 5, 'expires': 60000, 'overflow': 'drop-head'})
def otherwise_than_before(s, how):
    c = s.channel()
    c.queue('q')
    c.queue('q', **how)


@variants(less={}, more={'message_ttl': 60001}, other={'message_ttl': '60000'}, same={'message_ttl': 60000}, float_={'message_ttl': 60000.0},
          plus={'message_ttl': 60000, 'max_length': 1})
def otherwise_than_with_arguments(s, how):
    c = s.channel()
    c.queue('q', message_ttl=60000)
    c.queue('q', **how)


@variants(classic='classic', stream='stream', none=None, octopus='octopus', upper='QUORUM')
def quorum_then(s, kind):
    c = s.channel()
    c.quorum('q')
    c.queue('q', **({} if kind is None else {'queue_type': kind}))


@variants(length=255, longer=256 - 1)
def long_names(s, length):
    s.channel().queue('n' * length)


@scenario
def reserved_names(s):
    for name in ('amq.mine', 'amq.', 'amq'):
        s.channel().queue(name)


@scenario
def dead_letter_key_without_exchange(s):
    s.channel().queue('q', dead_letter_routing_key='k')


@scenario
def dead_letter_exchange_nobody_may_use(s):
    user = s.user(configure='.*', write='^q', read='^q')
    c = s.connect(user=user, password='secret').channel()
    c.queue('q', dead_letter_exchange='x')


@scenario
def dead_letter_exchange_of_a_queue_nobody_may_read(s):
    user = s.user(configure='.*', write='.*', read='^x')
    c = s.connect(user=user, password='secret').channel()
    c.queue('q', dead_letter_exchange='x')


@variants(classic={}, quorum={'queue_type': 'quorum'})
def passive_with_other_arguments(s, kind):
    c = s.channel()
    c.queue('q', **kind)
    c.queue('q', passive=True, message_ttl=5, durable=False)


@scenario
def numbers_as_erlang_writes_them(s):
    s.channel().queue('q', message_ttl=60000)
    for number in (0.0, -0.0, 1.0, 100.0, 1000.0, 1200.0, 12000.0, 123456.0, 0.1, 0.01, 0.001, 0.0012, 0.00012, 1.5, -2.5, 1e22, 1e5,
                   9007199254740992.0, 9007199254740991.0, 1.5e300, 1e-10, 123456789.125, 123456789012345680.0, 1 / 3, 5e-324):
        s.channel().queue('q', message_ttl=number)
