"""Dead-lettering: reasons, x-death and its merging, keys and CC, cycles, missing exchanges."""
from stage import scenario, variants


@scenario
def rejected(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', message_id='m', headers={'mine': 5})
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def nacked(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', 'b')
    c.get('q')
    c.get('q')
    c.nack(2, requeue=False, multiple=True)
    s.until('dead', 2)
    c.drain('dead')


@scenario
def expired(s):
    c = s.channel()
    c.pair(message_ttl=20)
    s.put('q', 'a')
    s.until('dead', 1)
    c.drain('dead')


@scenario
def expired_by_its_own_expiration(s):
    "The property goes, what it was is kept; further expirations do not change what is kept"
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='10')
    s.until('dead', 1)
    c.get('dead')


@scenario
def original_expiration_after_rejection(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='60000')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def original_expiration_through_two_queues(s):
    c = s.channel()
    c.pair()
    c.queue('first', dead_letter_exchange='', dead_letter_routing_key='q', message_ttl=10)
    s.put('first', 'a', expiration='60000')
    s.until('q', 1)
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def maxlen(s):
    c = s.channel()
    c.pair(max_length=1)
    s.put('q', 'a', 'b', 'c')
    s.until('dead', 2)
    c.drain('dead')
    c.drain('q')


@scenario
def maxlen_by_bytes(s):
    c = s.channel()
    c.pair(max_length_bytes=5)
    s.put('q', 'aaa', 'bbb')
    s.until('dead', 1)
    c.drain('dead')


@scenario
def delivery_limit(s):
    c = s.channel()
    c.pair(queue_type='quorum', delivery_limit=1)
    s.put('q', 'a')
    c.consume('q')
    for tag in (1, 2):
        c.next()
        c.reject(tag, requeue=True)
    s.until('dead', 1)
    c.get('dead')


@scenario
def acknowledged_is_not_dead(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', 'b')
    c.get('q')
    c.ack(1)
    c.get('q', no_ack=True)
    s.until('q', 0)
    c.get('dead')


@scenario
def purged_is_not_dead(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a')
    c.purge('q')
    c.get('dead')


@scenario
def deleted_is_not_dead(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a')
    c.delete('q')
    c.get('dead')


@scenario
def second_death_of_the_same_kind_is_counted(s):
    c = s.channel()
    c.queue('wait', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='q')
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='wait')
    s.put('q', 'a', headers={'mine': True})
    c.consume('q')
    for tag in (1, 2, 3):
        c.next()
        c.reject(tag)
    c.next()


@scenario
def deaths_by_reason_and_queue(s):
    "The same queue for two reasons makes two entries, the newest first"
    c = s.channel()
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='back')
    c.queue('back', message_ttl=30, dead_letter_exchange='', dead_letter_routing_key='q')
    s.put('q', 'a')
    c.consume('back')
    c.get('q')
    c.reject(1)
    c.next()
    c.cancel()
    c.reject(2)
    s.until('q', 1)
    c.get('q')
    c.reject(3)
    s.until('back', 0)
    s.until('q', 1)
    c.get('q')


@scenario
def older_entry_comes_to_the_front(s):
    c = s.channel()
    c.queue('one', dead_letter_exchange='', dead_letter_routing_key='two')
    c.queue('two', dead_letter_exchange='', dead_letter_routing_key='three')
    c.queue('three', dead_letter_exchange='', dead_letter_routing_key='one')
    s.put('one', 'a')
    for tag, queue in enumerate(['one', 'two', 'three', 'one', 'two'], 1):
        s.until(queue, 1)
        c.get(queue)
        c.reject(tag)
    s.until('three', 1)
    c.get('three')


@scenario
def last_death_follows_and_first_stays(s):
    c = s.channel()
    c.queue('one', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='q')
    c.pair()
    s.put('one', 'a')
    s.until('q', 1)
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def republished_deaths(s):
    "What a client publishes as x-death is kept, but it starts anew"
    c = s.channel()
    c.pair()
    death = {'queue': 'q', 'reason': 'rejected', 'count': ('l', 7), 'exchange': 'e', 'routing-keys': ['k']}
    s.put('q', 'a', headers={'x-death': [death], 'x-first-death-queue': 'w', 'x-last-death-reason': 'expired'})
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def deaths_of_a_wrong_type(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', headers={'x-death': 'not at all', 'x-first-death-queue': 5})
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def key_stays_without_a_key(s):
    c = s.channel()
    c.exchange('dlx', 'topic')
    c.exchange('x', 'topic')
    c.queue('dead')
    c.bind('dead', 'dlx', 'a.*')
    c.queue('q', dead_letter_exchange='dlx')
    c.bind('q', 'x', '#')
    s.put('a.b', 'a', exchange='x')
    s.put('b.b', 'b', exchange='x')
    c.get('q')
    c.get('q')
    c.nack(2, requeue=False, multiple=True)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def cc_is_routed_again_without_a_key(s):
    c = s.channel()
    c.exchange('dlx', 'direct')
    for queue in ('one', 'two', 'three'):
        c.queue(queue)
        c.bind(queue, 'dlx', queue)
    c.queue('q', dead_letter_exchange='dlx')
    c.exchange('x', 'fanout')
    c.bind('q', 'x')
    s.put('one', 'a', exchange='x', headers={'CC': ['two'], 'BCC': ['three'], 'mine': 1})
    c.get('q')
    c.reject(1)
    s.until('two', 1)
    c.drain('one')
    c.drain('two')
    c.drain('three')


@scenario
def cc_goes_with_a_key(s):
    c = s.channel()
    c.pair()
    c.queue('two')
    c.exchange('x', 'fanout')
    c.bind('q', 'x')
    s.put('one', 'a', exchange='x', headers={'CC': ['two'], 'BCC': ['three'], 'mine': 1})
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.drain('dead')
    c.drain('two')


@scenario
def no_such_exchange(s):
    c = s.channel()
    c.queue('q', dead_letter_exchange='nowhere')
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.until('q', 0)
    c.passive('q')


@scenario
def exchange_comes_later(s):
    c = s.channel()
    c.queue('q', dead_letter_exchange='dlx')
    s.put('q', 'a', 'b')
    c.get('q')
    c.reject(1)
    c.exchange('dlx', 'fanout')
    c.queue('dead')
    c.bind('dead', 'dlx')
    c.get('q')
    c.reject(2)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def exchange_without_a_queue(s):
    c = s.channel()
    c.exchange('dlx', 'fanout')
    c.queue('q', dead_letter_exchange='dlx')
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.until('q', 0)


@scenario
def unrouted_goes_to_the_alternate(s):
    c = s.channel()
    c.exchange('other', 'fanout')
    c.exchange('dlx', 'direct', {'alternate-exchange': 'other'})
    c.queue('dead')
    c.bind('dead', 'other')
    c.queue('q', dead_letter_exchange='dlx')
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def internal_exchange(s):
    c = s.channel()
    c.exchange('dlx', 'fanout', internal=True)
    c.queue('dead')
    c.bind('dead', 'dlx')
    c.queue('q', dead_letter_exchange='dlx')
    s.put('q', 'a')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def expired_in_a_circle_ends(s):
    c = s.channel()
    c.queue('one', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='two')
    c.queue('two', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='one')
    s.put('one', 'a')
    s.sleep(0.3)
    c.get('one')
    c.get('two')


@scenario
def circle_to_itself_by_rejection_goes_on(s):
    c = s.channel()
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='q')
    s.put('q', 'a')
    c.consume('q')
    for tag in (1, 2, 3):
        c.next()
        c.reject(tag)
    c.next()


@scenario
def circle_with_a_rejection_goes_on(s):
    "An expiry in a circle is allowed again after a rejection"
    c = s.channel()
    c.queue('q', dead_letter_exchange='', dead_letter_routing_key='wait')
    c.queue('wait', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='more')
    c.queue('more', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='q')
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.reject(1)
    c.next()
    c.reject(2)
    c.next()


@scenario
def maxlen_circle_ends(s):
    c = s.channel()
    c.queue('q', max_length=1, dead_letter_exchange='', dead_letter_routing_key='q')
    s.put('q', 'a', 'b')
    s.sleep(0.1)
    c.drain('q')


@scenario
def to_several_queues(s):
    c = s.channel()
    c.exchange('dlx', 'fanout')
    for queue in ('one', 'two'):
        c.queue(queue)
        c.bind(queue, 'dlx')
    c.queue('q', dead_letter_exchange='dlx', dead_letter_routing_key='new')
    s.put('q', 'a', delivery_mode=2, priority=3)
    c.get('q')
    c.reject(1)
    s.until('two', 1)
    c.drain('one')
    c.drain('two')


@scenario
def transient_stays_transient(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', delivery_mode=1, content_type='t', timestamp=5, app_id='a', type='y', correlation_id='c')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def requeued_then_rejected(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a')
    c.consume('q')
    c.next()
    c.nack(1)
    c.next()
    c.reject(2)
    s.until('dead', 1)
    c.get('dead')


@scenario
def dead_letters_reach_a_waiting_consumer(s):
    c, other = s.channel(), s.channel()
    c.pair()
    other.consume('dead', no_ack=True)
    s.put('q', 'a', 'b')
    c.get('q')
    c.get('q')
    c.reject(2)
    other.next()
    c.reject(1)
    other.next()


@scenario
def order_of_a_multiple_nack(s):
    c = s.channel()
    c.pair()
    s.put('q', *'abcd')
    for _ in range(4):
        c.get('q')
    c.nack(0, requeue=False, multiple=True)
    s.until('dead', 4)
    c.drain('dead')


@variants(exchange={'x-dead-letter-exchange': 5}, key={'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 5},
          key_alone={'x-dead-letter-routing-key': 'k'}, strategy={'x-dead-letter-strategy': 'at-most-once'})
def refused(s, args):
    s.channel().queue('q', args)


@scenario
def deaths_in_a_quorum_queue(s):
    "x-death goes into the headers of what a quorum queue keeps as well"
    c = s.channel()
    c.queue('first', message_ttl=10, dead_letter_exchange='', dead_letter_routing_key='q')
    c.queue('dead')
    c.quorum('q', dead_letter_exchange='', dead_letter_routing_key='dead')
    s.put('first', 'a')
    s.until('q', 1)
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def nack_in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum')
    s.put('q', 'a')
    c.get('q')
    c.nack(1, requeue=False)
    s.until('dead', 1)
    c.get('dead')
