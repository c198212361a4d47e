"""What messages ask for: copies, replies, user-id, returns; and where exchanges of several types bring them."""
from stage import scenario, variants


def two(c, *names):
    for name in names or ('q', 'r'):
        c.queue(name)


@scenario
def cc_and_bcc(s):
    c = s.channel()
    two(c, 'q', 'r', 't')
    s.put('q', 'm', headers={'CC': ['r'], 'BCC': ['t'], 'x': 1})
    for name in 'qrt':
        c.drain(name)


@variants(text={'CC': 'r'}, number={'CC': 5}, numbers={'CC': [1, 2]}, table={'CC': {}}, bcc={'BCC': 'r'}, both={'CC': 1, 'BCC': 2})
def copies_that_are_no_list(s, headers):
    c = s.channel()
    two(c)
    c.publish('q', 'm', headers=headers)
    c.next()


@scenario
def copies_through_an_exchange(s):
    c = s.channel()
    two(c, 'q', 'r')
    c.exchange('x', 'topic')
    c.bind('q', 'x', 'a.*')
    c.bind('r', 'x', 'b.*')
    s.put('a.1', 'm', exchange='x', headers={'CC': ['b.1', 'a.2', 'c']})
    c.drain('q')
    c.drain('r')


@scenario
def returned_with_its_copies(s):
    c = s.channel()
    c.publish('nowhere', 'm', mandatory=True, headers={'CC': ['neither'], 'BCC': ['secret']})
    c.next()


@variants(right='guest', wrong='somebody', empty='')
def user_id(s, user):
    c = s.channel()
    c.queue('q')
    c.confirm()
    c.publish('q', 'm', user_id=user)
    c.confirms()
    c.get('q') if not c.over else None


@scenario
def user_id_of_an_impersonator(s):
    user = s.user(tags='impersonator')
    c = s.connect(user=user, password='secret').channel()
    c.queue('q')
    c.publish('q', 'm', user_id='somebody')
    s.until('q', 1)
    c.get('q')


@scenario
def reply(s):
    asking, answering = s.connect().channel(), s.connect().channel()
    asking.queue('q')
    asking.consume('amq.rabbitmq.reply-to', 'replies', no_ack=True)
    asking.publish('q', 'how?', reply_to='amq.rabbitmq.reply-to', correlation_id='1')
    s.until('q', 1)
    asked = answering.get('q', no_ack=True)
    answering.publish(asked.props['reply_to'], 'so', correlation_id='1')
    asking.next()


@scenario
def reply_to_somebody_gone(s):
    first = s.connect()
    asking, answering = first.channel(), s.connect().channel()
    asking.queue('q')
    asking.consume('amq.rabbitmq.reply-to', 'replies', no_ack=True)
    asking.publish('q', 'how?', reply_to='amq.rabbitmq.reply-to')
    s.until('q', 1)
    asked = answering.get('q', no_ack=True)
    first.close()
    answering.publish(asked.props['reply_to'], 'so', mandatory=True)
    answering.quiet()


@scenario
def reply_without_consuming(s):
    c = s.channel()
    c.publish('q', 'how?', reply_to='amq.rabbitmq.reply-to')
    c.next()


@scenario
def replies_with_acknowledgement(s):
    s.channel().consume('amq.rabbitmq.reply-to', 'replies')


@scenario
def replies_twice(s):
    c = s.channel()
    c.consume('amq.rabbitmq.reply-to', 'a', no_ack=True)
    c.consume('amq.rabbitmq.reply-to', 'b', no_ack=True)


@scenario
def replies_cancelled(s):
    c = s.channel()
    c.consume('amq.rabbitmq.reply-to', 'a', no_ack=True)
    c.cancel('a')
    c.publish('q', 'how?', reply_to='amq.rabbitmq.reply-to')
    c.next()


@scenario
def alternate_by_argument(s):
    c = s.channel()
    two(c)
    c.exchange('other', 'fanout')
    c.bind('r', 'other')
    c.exchange('x', 'direct', {'alternate-exchange': 'other'})
    c.bind('q', 'x', 'k')
    s.put('k', 'here', exchange='x')
    s.put('elsewhere', 'there', exchange='x')
    c.drain('q')
    c.drain('r')


@scenario
def alternate_by_policy(s):
    c = s.channel()
    two(c)
    c.exchange('other', 'fanout')
    c.bind('r', 'other')
    c.exchange('x', 'direct')
    s.policy('p', {'alternate-exchange': 'other'}, '^x$', 'exchanges')
    s.sleep(0.5)
    s.put('elsewhere', 'there', exchange='x')
    c.drain('r')
    s.no_policy('p')
    s.sleep(0.5)
    c.publish('elsewhere', 'nowhere', 'x', mandatory=True)
    c.next()


@scenario
def alternate_that_is_not_there(s):
    c = s.channel()
    c.exchange('x', 'direct', {'alternate-exchange': 'missing'})
    c.publish('k', 'm', 'x', mandatory=True)
    c.next()


@scenario
def alternate_is_not_returned(s):
    c = s.channel()
    c.queue('r')
    c.exchange('other', 'fanout')
    c.bind('r', 'other')
    c.exchange('x', 'direct', {'alternate-exchange': 'other'})
    c.confirm()
    c.publish('k', 'm', 'x', mandatory=True)
    c.confirms()
    c.drain('r')


@variants(number=5, float_=1.5, flag=True)
def alternate_of_a_wrong_type(s, value):
    s.channel().exchange('x', 'direct', {'alternate-exchange': value})


@variants(word='soon', negative='-1', fraction='1.5', large='315360000001', empty='')
def expiration(s, text):
    c = s.channel()
    c.queue('q')
    c.publish('q', 'm', expiration=text)
    c.next()


@scenario
def shares_of_a_hash(s):
    c = s.channel()
    two(c)
    c.exchange('x', 'x-consistent-hash')
    c.bind('q', 'x', '1')
    c.bind('r', 'x', '0')
    c.bind('r', 'x', '2')
    s.put('a', 'm', exchange='x')


@variants(word='many', negative='-1', empty='')
def share_of_a_hash(s, weight):
    c = s.channel()
    c.queue('q')
    c.exchange('x', 'x-consistent-hash')
    c.bind('q', 'x', weight)


@variants(both={'hash-header': 'h', 'hash-property': 'message_id'}, property_={'hash-property': 'priority'},
          known={'hash-property': 'message_id'}, header={'hash-header': 'h'})
def what_is_hashed(s, args):
    s.channel().exchange('x', 'x-consistent-hash', args)


@scenario
def at_random(s):
    c = s.channel()
    c.queue('q')
    c.exchange('x', 'x-random')
    c.bind('q', 'x', 'whatever')
    s.put('a', 'm', exchange='x')
    c.drain('q')


@scenario
def hashed_by_modulus(s):
    c = s.channel()
    c.queue('q')
    c.exchange('x', 'x-modulus-hash')
    c.bind('q', 'x', 'whatever')
    s.put('a', 'm', exchange='x')
    c.drain('q')


@scenario
def unknown_type(s):
    s.channel().exchange('x', 'x-octopus')


@variants(topic='topic', headers='headers', fanout='fanout')
def other_type_than_before(s, kind):
    c = s.channel()
    c.exchange('x', 'direct')
    c.exchange('x', kind)
