package main

// What may happen to a message.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const largest = 16 << 20 // bytes that a broker takes in one message, unless told otherwise

func get(_ context.Context, b *broker) error {
	queue, channel := b.queue("get"), b.confirming()
	durable(channel, queue, nil)
	_, there, err := channel.Get(queue, false)
	check(err)
	same("there is one in an empty queue", there, false)
	confirmed(channel, "", queue, text("one"))
	confirmed(channel, "", queue, text("two"))
	for _, redelivered := range []bool{false, true} {
		message, there, err := channel.Get(queue, false)
		check(err)
		same("there is one", there, true)
		same("body", string(message.Body), "one")
		same("left", message.MessageCount, uint32(1))
		same("redelivered", message.Redelivered, redelivered)
		if redelivered {
			check(message.Ack(false))
		} else {
			check(message.Nack(false, true))
		}
	}
	same("left", depth(channel, queue), 1)
	return nil
}

func acknowledgements(_ context.Context, b *broker) error {
	queue := b.queue("acks")
	connection, channel := b.open()
	durable(channel, queue, nil)
	for number := range 6 {
		publish(channel, "", queue, text(fmt.Sprint(number)))
	}
	deliveries := consume(channel, queue, nil)
	var seen []amqp.Delivery
	see := func(count int) {
		for len(seen) < count {
			seen = append(seen, receive("a message", deliveries))
		}
	}
	see(6)
	check(seen[1].Ack(true))
	check(seen[2].Reject(false))
	check(seen[3].Reject(true))
	see(7)
	same("again", string(seen[6].Body), "3")
	same("redelivered", seen[6].Redelivered, true)
	check(seen[5].Nack(true, true))
	see(9)
	check(channel.Recover(true))
	see(12)
	check(seen[11].Ack(true))
	check(channel.Close())
	same("left", depth(must(connection.Channel()), queue), 0)
	return nil
}

func returns(_ context.Context, b *broker) error {
	_, channel := b.open()
	came := channel.NotifyReturn(make(chan amqp.Return, 1))
	message := text("lost")
	message.Headers = amqp.Table{"order": int32(7)}
	check(channel.PublishWithContext(context.Background(), "", b.queue("missing"), true, false, message))
	returned := receive("the return", came)
	same("code", returned.ReplyCode, uint16(312))
	same("text", returned.ReplyText, "NO_ROUTE")
	same("headers", returned.Headers, message.Headers)
	same("body", string(returned.Body), "lost")
	return nil
}

func transactions(_ context.Context, b *broker) error {
	queue := b.queue("tx")
	connection, channel := b.open()
	observer := must(connection.Channel())
	durable(channel, queue, nil)
	check(channel.Tx())
	publish(channel, "", queue, text("rolled back"))
	check(channel.TxRollback())
	publish(channel, "", queue, text("committed"))
	same("before the commit", depth(observer, queue), 0)
	check(channel.TxCommit())
	same("after the commit", depth(observer, queue), 1)
	same("message", string(take(observer, queue).Body), "committed")
	return nil
}

func ttl(_ context.Context, b *broker) error {
	short, long, gone := b.queue("short"), b.queue("long"), b.queue("gone")
	connection, channel := b.open()
	durable(channel, short, amqp.Table{amqp.QueueMessageTTLArg: 100})
	durable(channel, long, nil)
	durable(channel, gone, amqp.Table{amqp.QueueTTLArg: 200})
	publish(channel, "", short, text("by the queue"))
	message := text("by itself")
	message.Expiration = "100"
	publish(channel, "", long, message)
	publish(channel, "", long, text("stays"))
	until("the short queue is empty", func() bool { return depth(channel, short) == 0 })
	until("one message is left", func() bool { return depth(channel, long) == 1 })
	same("left", string(take(channel, long).Body), "stays")
	time.Sleep(500 * time.Millisecond)
	refused(connection, 404, func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(gone, true, false, false, false, nil)
		return err
	})
	return nil
}

// Rejected work waits in a queue and comes back; the third time it is given up.
func deadLetters(_ context.Context, b *broker) error {
	work, waiting, retry := b.queue("work"), b.queue("waiting"), b.exchange("retry")
	_, channel := b.open()
	check(channel.ExchangeDeclare(retry, "direct", true, false, false, false, nil))
	durable(channel, work, amqp.Table{"x-dead-letter-exchange": retry, "x-dead-letter-routing-key": "later"})
	durable(channel, waiting, amqp.Table{
		"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": work,
	})
	check(channel.QueueBind(waiting, "later", retry, false, nil))
	publish(channel, "", work, text("job"))
	jobs := consume(channel, work, nil)
	for try := range 3 {
		job := receive("the job", jobs)
		counts := map[string]int64{}
		if try > 0 {
			for _, each := range job.Headers["x-death"].([]any) {
				death := each.(amqp.Table)
				counts[death["queue"].(string)+" "+death["reason"].(string)] = death["count"].(int64)
			}
			same("deaths", counts, map[string]int64{work + " rejected": int64(try), waiting + " expired": int64(try)})
			same("first death", job.Headers["x-first-death-queue"], work)
		}
		if try < 2 {
			check(job.Reject(false))
		} else {
			check(job.Ack(false))
		}
	}
	return nil
}

func priorities(_ context.Context, b *broker) error {
	queue, channel := b.queue("priorities"), b.confirming()
	durable(channel, queue, amqp.Table{"x-max-priority": 5})
	for number, priority := range []uint8{0, 5, 1, 9, 1} {
		message := text(fmt.Sprint(number))
		message.Priority = priority
		confirmed(channel, "", queue, message)
	}
	order := ""
	for range 5 {
		order += string(take(channel, queue).Body)
	}
	same("order", order, "13240")
	return nil
}

func delayed(_ context.Context, b *broker) error {
	exchange, queue := b.prefix+".delayed", b.queue("delayed")
	connection, doomed := b.open()
	kind := amqp.Table{"x-delayed-type": "direct"}
	if err := doomed.ExchangeDeclare(exchange, "x-delayed-message", true, false, false, false, kind); err != nil {
		return skipped("the broker has no such exchange: " + err.Error())
	}
	channel := must(connection.Channel())
	durable(channel, queue, nil)
	check(channel.QueueBind(queue, "k", exchange, false, nil))
	begin := time.Now()
	later := text("later")
	later.Headers = amqp.Table{"x-delay": int32(400)}
	publish(channel, exchange, "k", later)
	publish(channel, exchange, "k", text("at once"))
	same("first", string(take(channel, queue).Body), "at once")
	same("second", string(take(channel, queue).Body), "later")
	if time.Since(begin) < 400*time.Millisecond {
		return fmt.Errorf("it came before its time")
	}
	return channel.ExchangeDelete(exchange, false, false)
}

func bigMessage(_ context.Context, b *broker) error {
	queue, channel := b.queue("big"), b.confirming()
	durable(channel, queue, nil)
	body := bytes.Repeat([]byte("All work and no "), largest/16)
	confirmed(channel, "", queue, amqp.Publishing{Body: body, DeliveryMode: amqp.Persistent})
	same("digest", sha256.Sum256(take(channel, queue).Body), sha256.Sum256(body))
	connection, _ := b.open()
	refused(connection, 406, func(channel *amqp.Channel) error {
		return channel.PublishWithContext(context.Background(), "", queue, false, false, amqp.Publishing{Body: append(body, '!')})
	})
	return nil
}

func headerTypes(_ context.Context, b *broker) error {
	queue := b.queue("headers")
	_, channel := b.open()
	durable(channel, queue, nil)
	moment := time.Unix(1_772_323_199, 0)
	message := amqp.Publishing{
		Headers: amqp.Table{
			"bool": true, "int8": int8(-8), "int16": int16(-16), "int32": int32(-32), "int64": int64(1) << 62,
			"float32": float32(0.5), "float64": 1e-300, "text": "ä€𝄞", "empty": "", "bytes": []byte{0, 255}, "none": nil,
			"decimal": amqp.Decimal{Scale: 1, Value: 15}, "time": moment, "list": []any{int32(1), "two", nil, amqp.Table{"four": int32(4)}},
			"table": amqp.Table{"deep": amqp.Table{"deeper": []any{true}}}, strings.Repeat("k", 128): "long name",
		},
		ContentType: "a/b", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 3, CorrelationId: "c", ReplyTo: "r",
		Expiration: "60000", MessageId: "m", Timestamp: moment, Type: "t", UserId: "guest", AppId: "a",
	}
	publish(channel, "", queue, message)
	got := take(channel, queue)
	for name, value := range message.Headers {
		same(name, got.Headers[name], value)
	}
	same("properties", amqp.Publishing{
		Headers: message.Headers, ContentType: got.ContentType, ContentEncoding: got.ContentEncoding, DeliveryMode: got.DeliveryMode,
		Priority: got.Priority, CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo, Expiration: got.Expiration,
		MessageId: got.MessageId, Timestamp: got.Timestamp, Type: got.Type, UserId: got.UserId, AppId: got.AppId,
	}, message)
	return nil
}
