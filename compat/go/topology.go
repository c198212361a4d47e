package main

// Exchanges, bindings and queues that are not plain.

import (
	"context"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

func alternateExchange(_ context.Context, b *broker) error {
	primary, other, queue, channel := b.exchange("main"), b.exchange("other"), b.queue("unrouted"), b.confirming()
	check(channel.ExchangeDeclare(other, "fanout", true, false, false, false, nil))
	check(channel.ExchangeDeclare(primary, "direct", true, false, false, false, amqp.Table{"alternate-exchange": other}))
	durable(channel, queue, nil)
	check(channel.QueueBind(queue, "", other, false, nil))
	confirmed(channel, primary, "nobody", text("caught"))
	got := take(channel, queue)
	same("exchange", got.Exchange, primary)
	same("routing key", got.RoutingKey, "nobody")
	return nil
}

func exchangeToExchange(_ context.Context, b *broker) error {
	source, middle, queue, channel := b.exchange("source"), b.exchange("middle"), b.queue("end"), b.confirming()
	check(channel.ExchangeDeclare(source, "topic", true, false, false, false, nil))
	check(channel.ExchangeDeclare(middle, "fanout", true, false, false, false, nil))
	durable(channel, queue, nil)
	check(channel.ExchangeBind(middle, "a.#", source, false, nil))
	check(channel.QueueBind(queue, "", middle, false, nil))
	for _, key := range []string{"a.b", "b.a"} {
		confirmed(channel, source, key, text(key))
	}
	same("message", string(take(channel, queue).Body), "a.b")
	check(channel.ExchangeUnbind(middle, "a.#", source, false, nil))
	confirmed(channel, source, "a.b", text("to nobody"))
	same("left", depth(channel, queue), 0)
	return nil
}

func headersExchange(ctx context.Context, b *broker) error {
	exchange := b.exchange("headers")
	_, channel := b.open()
	check(channel.ExchangeDeclare(exchange, "headers", true, false, false, false, nil))
	queues := map[string]string{}
	for _, match := range []string{"all", "any"} {
		name := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
		interest := amqp.Table{"x-match": match, "format": "pdf", "pages": int32(3)}
		check(channel.QueueBind(name, "", exchange, false, interest))
		check(channel.QueueBind(name, "", exchange, false, amqp.Table{"x-match": "all", "end": true}))
		queues[match] = name
	}
	for _, each := range []struct {
		text    string
		headers amqp.Table
	}{
		{"both", amqp.Table{"format": "pdf", "pages": int32(3)}}, {"one", amqp.Table{"format": "pdf", "pages": int32(4)}},
		{"none", amqp.Table{"format": "txt"}}, {"end", amqp.Table{"end": true}},
	} {
		message := text(each.text)
		message.Headers = each.headers
		publish(channel, exchange, "", message)
	}
	same("all", must(textsUntil(ctx, "end", channel, queues["all"])), []string{"both"})
	same("any", must(textsUntil(ctx, "end", channel, queues["any"])), []string{"both", "one"})
	return nil
}

func exclusiveQueues(_ context.Context, b *broker) error {
	owner, channel := b.open()
	stranger, _ := b.open()
	queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
	same("named by the server", strings.HasPrefix(queue, "amq.gen-"), true)
	look := func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(queue, false, false, true, false, nil)
		return err
	}
	refused(stranger, 405, look)
	check(owner.Close())
	until("it goes with its connection", func() bool {
		channel := must(stranger.Channel())
		err, _ := look(channel).(*amqp.Error)
		return err != nil && err.Code == 404
	})
	return nil
}

func autoDelete(_ context.Context, b *broker) error {
	name := b.prefix + ".fleeting"
	connection, channel := b.open()
	check(channel.ExchangeDeclare(name, "fanout", true, true, false, false, nil))
	must(channel.QueueDeclare(name, true, true, false, false, nil))
	check(channel.QueueBind(name, "", name, false, nil))
	must(channel.Consume(name, "fleeting", true, false, false, false, nil))
	same("consumers", must(channel.QueueDeclarePassive(name, true, true, false, false, nil)).Consumers, 1)
	check(channel.Cancel("fleeting", false))
	refused(connection, 404, func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(name, true, true, false, false, nil)
		return err
	})
	refused(connection, 404, func(channel *amqp.Channel) error {
		return channel.ExchangeDeclarePassive(name, "fanout", true, true, false, false, nil)
	})
	return nil
}
