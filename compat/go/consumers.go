package main

// Consumers, and queues that treat them in a way of their own.

import (
	"context"
	"fmt"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

func prefetch(_ context.Context, b *broker) error {
	queue, channel := b.queue("prefetch"), b.confirming()
	durable(channel, queue, nil)
	for number := range 10 {
		confirmed(channel, "", queue, text(fmt.Sprint(number)))
	}
	check(channel.Qos(3, 0, false))
	deliveries := consume(channel, queue, nil)
	var seen []amqp.Delivery
	for range 3 {
		seen = append(seen, receive("a message", deliveries))
	}
	nothing("a fourth one", deliveries)
	check(seen[1].Ack(true))
	for range 2 {
		receive("the next", deliveries)
	}
	nothing("a sixth one", deliveries)
	same("ready", depth(channel, queue), 5)
	return nil
}

func consumerCancelled(_ context.Context, b *broker) error {
	queue := b.queue("cancelled")
	_, channel := b.open()
	_, other := b.open()
	durable(channel, queue, nil)
	told := channel.NotifyCancel(make(chan string, 1))
	deliveries := must(channel.Consume(queue, "mine", false, false, false, false, nil))
	must(other.QueueDelete(queue, false, false, false))
	same("consumer", receive("the cancellation", told), "mine")
	if _, open := <-deliveries; open {
		return fmt.Errorf("a message of a queue that is gone")
	}
	durable(channel, queue, nil) // the channel lives on
	return nil
}

func singleActive(_ context.Context, b *broker) error {
	queue := b.queue("single")
	_, channel := b.open()
	durable(channel, queue, amqp.Table{"x-single-active-consumer": true})
	first := must(channel.Consume(queue, "first", true, false, false, false, nil))
	second := must(channel.Consume(queue, "second", true, false, false, false, nil))
	for _, body := range []string{"1", "2"} {
		publish(channel, "", queue, text(body))
		same("to the first", string(receive("a message", first).Body), body)
	}
	check(channel.Cancel("first", false))
	publish(channel, "", queue, text("3"))
	same("to the second", string(receive("a message", second).Body), "3")
	return nil
}

func quorumQueue(_ context.Context, b *broker) error {
	queue, dead, channel := b.queue("quorum"), b.queue("dead"), b.confirming()
	durable(channel, dead, nil)
	durable(channel, queue, amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
	})
	confirmed(channel, "", queue, text("poison"))
	deliveries := consume(channel, queue, nil)
	for _, count := range []any{nil, int64(1), int64(2)} {
		delivery := receive("a delivery", deliveries)
		same("delivery count", delivery.Headers["x-delivery-count"], count)
		check(delivery.Reject(true))
	}
	death := take(channel, dead).Headers["x-death"].([]any)[0].(amqp.Table)
	same("given up", death["reason"], "delivery_limit")
	return nil
}

func stream(_ context.Context, b *broker) error {
	queue := b.queue("stream")
	connection, channel := b.open()
	check(channel.Confirm(false))
	durable(channel, queue, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream})
	for number := range 20 {
		confirmed(channel, "", queue, text(fmt.Sprint(number)))
	}
	read := func(offset any, first, count int) {
		reader := must(connection.Channel())
		check(reader.Qos(5, 0, false))
		deliveries := consume(reader, queue, amqp.Table{"x-stream-offset": offset})
		if offset == "next" {
			confirmed(channel, "", queue, text("20"))
		}
		for number := first; number < first+count; number++ {
			delivery := receive(fmt.Sprint("a message from ", offset), deliveries)
			same("offset", delivery.Headers["x-stream-offset"], int64(number))
			same("body", string(delivery.Body), fmt.Sprint(number))
			check(delivery.Ack(false))
		}
		check(reader.Close())
	}
	read("first", 0, 20)
	read(15, 15, 5)
	read("next", 20, 1)
	return nil
}

func manyChannels(_ context.Context, b *broker) error {
	queue := b.queue("many")
	connection, channel := b.open()
	durable(channel, queue, nil)
	var got atomic.Int32
	channels := make([]*amqp.Channel, 200)
	for number := range channels {
		channels[number] = must(connection.Channel())
		deliveries := consume(channels[number], queue, nil)
		go func() {
			for delivery := range deliveries {
				got.Add(1)
				_ = delivery.Ack(false)
			}
		}()
	}
	for _, each := range channels {
		publish(each, "", queue, text("x"))
	}
	until("all messages", func() bool { return got.Load() == 200 })
	until("none is left", func() bool { return depth(channel, queue) == 0 })
	return nil
}
