"""Messages that expire, by their queue or by themselves, and queues that expire."""
from stage import scenario, variants


@scenario
def of_the_queue(s):
    c = s.channel()
    c.queue('q', message_ttl=60)
    s.put('q', 'a', 'b')
    s.until('q', 0)
    c.get('q')


@scenario
def of_the_message(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='30')
    s.put('q', 'b')
    s.until('dead', 1)
    c.drain('dead')
    c.drain('q')


@scenario
def the_smaller_of_both(s):
    c = s.channel()
    c.pair(message_ttl=30)
    c.queue('slow', message_ttl=60000, dead_letter_exchange='', dead_letter_routing_key='dead')
    s.put('q', 'a', expiration='60000')
    s.until('dead', 1)
    s.put('slow', 'b', expiration='30')
    s.until('dead', 2)
    c.drain('dead')


@scenario
def zero_of_the_queue(s):
    "Expires at once, unless a consumer takes it"
    c = s.channel()
    c.pair(message_ttl=0)
    s.put('q', 'a')
    s.until('dead', 1)
    c.get('q')
    c.consume('q', no_ack=True)
    s.put('q', 'b')
    c.next()
    c.drain('dead')


@scenario
def zero_of_the_message(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='0')
    s.until('dead', 1)
    c.get('q')
    c.consume('q', no_ack=True)
    s.put('q', 'b', expiration='0')
    c.next()
    c.drain('dead')


@scenario
def zero_with_a_full_consumer(s):
    c = s.channel()
    c.pair(message_ttl=0)
    c.qos(1)
    c.consume('q')
    s.put('q', 'a', 'b')
    c.next()
    s.until('dead', 1)
    c.quiet()


@scenario
def zero_requeued(s):
    c = s.channel()
    c.pair(message_ttl=0)
    c.consume('q')
    s.put('q', 'a')
    c.next()
    c.cancel()
    c.nack(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def behind_one_that_lives(s):
    "A message expires when it comes to the head"
    c = s.channel()
    c.pair()
    s.put('q', 'a')
    s.put('q', 'b', expiration='20')
    s.sleep(0.15)
    c.passive('q')
    c.passive('dead')
    c.get('q')
    c.get('q')
    s.until('dead', 1)


@scenario
def behind_one_that_is_consumed(s):
    c = s.channel()
    c.pair()
    c.qos(1)
    s.put('q', 'a')
    s.put('q', 'b', expiration='20')
    s.put('q', 'c')
    c.consume('q')
    c.next()
    s.until('dead', 1)
    c.ack(1)
    c.next()
    c.drain('dead')


@scenario
def of_the_queue_expires_in_order(s):
    c = s.channel()
    c.pair(message_ttl=40)
    s.put('q', *'abc')
    s.until('dead', 3)
    c.drain('dead')


@scenario
def unacknowledged_lives(s):
    c = s.channel()
    c.pair(message_ttl=100)
    s.put('q', 'a')
    c.get('q')
    s.sleep(0.2)
    c.get('dead')
    c.nack(1)
    s.until('dead', 1)
    c.drain('dead')


@scenario
def requeued_keeps_its_time(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='60000')
    c.get('q')
    c.nack(1)
    s.until('q', 1)
    c.get('q')
    c.passive('dead')


@scenario
def in_64_bits(s):
    c = s.channel()
    c.queue('q', message_ttl=('l', 134217728000))
    s.put('q', 'a', expiration='134217728000')
    c.queue('largest', message_ttl=('l', 315360000000))
    s.put('largest', 'a', expiration='315360000000')
    s.sleep(0.1)
    c.get('q')
    c.get('largest')


@variants(too_large=('l', 315360000001), negative=-1, text='60', true=True, double=5.0, short=('s', 100),
          byte=('b', 100), unsigned=('i', 100), timestamp=('T', 100), void=None, decimal=('D', (0, 100)))
def of_a_queue_as(s, ttl):
    s.channel().queue('q', message_ttl=ttl)


@variants(negative='-1', word='soon', empty='', fraction='1.5', too_large='315360000001', plus='+5', space=' 5',
          hexadecimal='0x10')
def of_a_message_as(s, expiration):
    c = s.channel()
    c.queue('q')
    c.confirm()
    c.publish('q', 'a', expiration=expiration)
    c.confirms()


@scenario
def bad_one_goes_nowhere(s):
    "It is refused before it is routed"
    c = s.channel()
    c.publish('nowhere', 'a', expiration='x', mandatory=True)
    c.next()


@scenario
def in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum', message_ttl=60)
    s.put('q', 'a')
    s.put('q', 'b', expiration='60000')
    s.until('dead', 2)
    c.drain('dead')


@scenario
def own_in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum')
    s.put('q', 'a', expiration='20')
    s.until('dead', 1)
    c.drain('dead')


@scenario
def behind_one_that_lives_in_a_quorum_queue(s):
    c = s.channel()
    c.pair(queue_type='quorum')
    s.put('q', 'a')
    s.put('q', 'b', expiration='20')
    s.sleep(0.3)
    c.passive('dead')
    c.get('q')
    s.until('dead', 1)


@scenario
def through_two_waiting_queues(s):
    c = s.channel()
    c.queue('one', message_ttl=30, dead_letter_exchange='', dead_letter_routing_key='two')
    c.queue('two', message_ttl=30, dead_letter_exchange='', dead_letter_routing_key='three')
    c.queue('three')
    s.put('one', 'a')
    s.until('three', 1)
    c.get('three')


@scenario
def at_a_consumer_that_comes_late(s):
    c = s.channel()
    c.pair()
    s.put('q', 'a', expiration='20')
    s.put('q', 'b')
    s.until('dead', 1)
    c.consume('q')
    c.next()
    c.quiet(0.1)


# --- queues -------------------------------------------------------------------------------------------

@scenario
def queue_unused(s):
    c = s.channel()
    c.queue('q', expires=100)
    s.put('q', 'a')
    s.sleep(0.4)
    c.passive('q')


@scenario
def queue_expires_without_dead_letters(s):
    c = s.channel()
    c.pair(expires=100)
    s.put('q', 'a')
    s.sleep(0.4)
    c.passive('dead')
    c.passive('q')


@scenario
def queue_lives_with_a_consumer(s):
    c, other = s.channel(), s.channel()
    c.queue('q', expires=200)
    c.consume('q')
    s.sleep(0.5)
    c.passive('q')
    c.cancel()
    s.sleep(0.6)
    other.passive('q')


@scenario
def queue_lives_by_get_and_declare(s):
    c = s.channel()
    c.queue('q', expires=500)
    for _ in range(2):
        s.sleep(0.3)
        c.get('q')
        s.sleep(0.3)
        c.queue('q', expires=500)
    s.sleep(1.2)
    c.passive('q')


@scenario
def queue_does_not_live_by_publishing(s):
    c = s.channel()
    c.queue('q', expires=400)
    for _ in range(3):
        s.sleep(0.2)
        c.publish('q', 'a')
    s.sleep(0.4)
    c.passive('q')


@variants(zero=0, negative=-1, text='100', too_large=('l', 315360000001), large=('l', 315360000000), true=True)
def queue_by(s, expires):
    s.channel().queue('q', expires=expires)


@scenario
def quorum_queue_unused(s):
    c = s.channel()
    c.quorum('q', expires=100)
    s.sleep(0.5)
    c.passive('q')
