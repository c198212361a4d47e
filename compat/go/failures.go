package main

// Connections, what is refused, and what fails.

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func connectionOptions(_ context.Context, b *broker) error {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("compat: options")
	connection := b.dial(must(given("COMPAT_URI_VHOST")), amqp.Config{
		Heartbeat: 7 * time.Second, ChannelMax: 20, FrameSize: 8192, Properties: properties,
	})
	same("channel max", connection.Config.ChannelMax, uint16(20))
	same("frame max", connection.Config.FrameSize, 8192)
	same("heartbeat", connection.Config.Heartbeat, 7*time.Second)
	same("product", connection.Properties["product"], "RabbitMQ")
	for _, capability := range []string{"basic.nack", "consumer_cancel_notify", "publisher_confirms", "exchange_exchange_bindings"} {
		same(capability, connection.Properties["capabilities"].(amqp.Table)[capability], true)
	}
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
	publish(channel, "", queue, amqp.Publishing{Body: bytes.Repeat([]byte("x"), 100_000)}) // in frames of 8192
	same("body", len(take(channel, queue).Body), 100_000)

	_, err := amqp.Dial(strings.Replace(b.uri, "guest:guest", "guest:wrong", 1))
	same("a wrong password", errors.Is(err, amqp.ErrCredentials), true)
	_, err = amqp.Dial(b.uri + "no-such-vhost")
	var refusal *amqp.Error
	same(fmt.Sprint("a vhost that is not there: ", err), errors.As(err, &refusal) && refusal.Code == 530, true)
	return nil
}

func overTLS(_ context.Context, b *broker) error {
	uri := must(given("COMPAT_URI_TLS"))
	pool := x509.NewCertPool()
	same("certificate", pool.AppendCertsFromPEM(must(os.ReadFile(must(given("COMPAT_CA"))))), true)
	connection := b.dial(uri, amqp.Config{TLSClientConfig: &tls.Config{RootCAs: pool}})
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
	publish(channel, "", queue, amqp.Publishing{Body: bytes.Repeat([]byte("secret"), 100_000)})
	same("body", len(take(channel, queue).Body), 600_000)
	return nil
}

func missingExchange(_ context.Context, b *broker) error {
	connection, _ := b.open()
	exchange := b.prefix + ".missing"
	reason := refused(connection, 404, func(channel *amqp.Channel) error {
		return channel.PublishWithContext(context.Background(), exchange, "k", false, false, text("lost"))
	})
	same("reply text", reason, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", exchange))
	must(connection.Channel())
	return nil
}

func permissionDenied(_ context.Context, b *broker) error {
	connection := b.dial(must(given("COMPAT_URI_LIMITED")), amqp.Config{})
	channel, queue := must(connection.Channel()), "allowed."+b.prefix
	durable(channel, queue, nil)
	must(channel.QueueDelete(queue, false, false, false))
	for _, forbidden := range []func(*amqp.Channel) error{
		func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare(b.prefix, true, false, false, false, nil)
			return err
		},
		func(channel *amqp.Channel) error {
			return channel.PublishWithContext(context.Background(), "amq.fanout", "", false, false, text("x"))
		},
		func(channel *amqp.Channel) error {
			return channel.ExchangeDeclare("allowed.x", "direct", false, false, false, false, amqp.Table{"alternate-exchange": "no"})
		},
	} {
		reason := refused(connection, 403, forbidden)
		same(reason, strings.HasPrefix(reason, "ACCESS_REFUSED - "), true)
	}
	return nil
}

// The broker is restarted under a publisher and a consumer: the library connects again, declares what is not durable, and
// consumes; nothing that was confirmed is lost.
func recovery(_ context.Context, b *broker) error {
	must(given("COMPAT_CONTROL"))
	queue := b.queue("recovery")
	connection := b.dial(b.uri, amqp.Config{Recovery: &amqp.Recovery{
		ReconnectionConfig: &amqp.ReconnectionConfig{
			MaxRetryCount: 200, RetryInterval: 200 * time.Millisecond,
		},
	}})
	channel := must(connection.Channel())
	check(channel.Confirm(false))
	durable(channel, queue, nil)
	exclusive := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
	check(channel.QueueBind(exclusive, "again", "amq.direct", false, nil))
	fleeting := must(channel.Consume(exclusive, "", true, false, false, false, nil))
	for number := range 100 {
		message := text(fmt.Sprint(number))
		message.DeliveryMode = amqp.Persistent
		confirmed(channel, "", queue, message)
	}
	check(control("restart"))

	_, witness := b.open()
	for number := range 100 {
		same("kept", string(take(witness, queue).Body), fmt.Sprint(number))
	}
	deadline := time.Now().Add(20 * time.Second)
	for again := false; !again; {
		if time.Now().After(deadline) {
			return fmt.Errorf("the consumer has not come back")
		}
		_ = witness.PublishWithContext(context.Background(), "amq.direct", "again", false, false, text("back"))
		select {
		case message := <-fleeting:
			again = string(message.Body) == "back"
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

func blocked(_ context.Context, b *broker) error {
	must(given("COMPAT_BLOCK"))
	queue := b.queue("blocked")
	connection, channel := b.open()
	told := connection.NotifyBlocked(make(chan amqp.Blocking, 2))
	durable(channel, queue, nil)
	check(control("block"))
	defer control("unblock")
	publish(channel, "", queue, text("waits"))
	blocking := receive("blocked", told)
	same("active", blocking.Active, true)
	same(blocking.Reason, strings.HasPrefix(blocking.Reason, "low on "), true)
	check(control("unblock"))
	same("active", receive("unblocked", told).Active, false)
	until("the message", func() bool { return depth(channel, queue) == 1 })
	return nil
}
