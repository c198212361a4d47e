// Runs scenarios with Watermill over AMQP and prints one line for each: watermill URI [SCENARIO ...]
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
)

const patience = 20 * time.Second

var errSkipped = errors.New("COMPAT_CONTROL is not given")

type pair struct {
	publisher  *amqp.Publisher
	subscriber *amqp.Subscriber
	topic      string
}

func open(config amqp.Config) (*pair, error) {
	publisher, err := amqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	subscriber, err := amqp.NewSubscriber(config, watermill.NopLogger{})
	return &pair{publisher, subscriber, "compat.watermill." + watermill.NewShortUUID()}, err
}

func (p *pair) close() {
	_ = p.publisher.Close()
	_ = p.subscriber.Close()
}

func (p *pair) publish(text string) error {
	each := message.NewMessage(watermill.NewUUID(), []byte(text))
	each.Metadata.Set("kind", "order")
	return p.publisher.Publish(p.topic, each)
}

func receive(messages <-chan *message.Message, want string) error {
	select {
	case got := <-messages:
		if got == nil {
			return errors.New("the subscription ended")
		}
		got.Ack()
		if string(got.Payload) != want || got.Metadata.Get("kind") != "order" {
			return fmt.Errorf("got %q with %v", got.Payload, got.Metadata)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no message %q", want)
	}
}

// queue: a nacked message comes again.
func queue(uri string) error {
	p, err := open(amqp.NewDurableQueueConfig(uri))
	if err != nil {
		return err
	}
	defer p.close()
	messages, err := p.subscriber.Subscribe(context.Background(), p.topic)
	if err != nil {
		return err
	}
	if err := p.publish("one"); err != nil {
		return err
	}
	select {
	case first := <-messages:
		first.Nack()
	case <-time.After(patience):
		return errors.New("no message")
	}
	return receive(messages, "one")
}

// publishSubscribe: each group of subscribers gets all.
func publishSubscribe(uri string) error {
	p, err := open(amqp.NewDurablePubSubConfig(uri, amqp.GenerateQueueNameTopicNameWithSuffix("one")))
	if err != nil {
		return err
	}
	defer p.close()
	other, err := amqp.NewSubscriber(amqp.NewDurablePubSubConfig(uri, amqp.GenerateQueueNameTopicNameWithSuffix("two")), watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer other.Close()
	first, err := p.subscriber.Subscribe(context.Background(), p.topic)
	if err != nil {
		return err
	}
	second, err := other.Subscribe(context.Background(), p.topic)
	if err != nil {
		return err
	}
	if err := p.publish("news"); err != nil {
		return err
	}
	return errors.Join(receive(first, "news"), receive(second, "news"))
}

// router: a handler that fails twice is called again.
func router(uri string) error {
	p, err := open(amqp.NewDurableQueueConfig(uri))
	if err != nil {
		return err
	}
	defer p.close()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	var calls atomic.Int32
	done := make(chan struct{})
	router.AddNoPublisherHandler("orders", p.topic, p.subscriber, func(*message.Message) error {
		if calls.Add(1) < 3 {
			return errors.New("not yet")
		}
		close(done)
		return nil
	})
	go func() { _ = router.Run(context.Background()) }()
	<-router.Running()
	defer router.Close()
	if err := p.publish("one"); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("called %d times", calls.Load())
	}
}

// recovery: the broker is restarted, and the subscription goes on.
func recovery(uri string) error {
	control := os.Getenv("COMPAT_CONTROL")
	if control == "" {
		return errSkipped
	}
	p, err := open(amqp.NewDurableQueueConfig(uri))
	if err != nil {
		return err
	}
	defer p.close()
	messages, err := p.subscriber.Subscribe(context.Background(), p.topic)
	if err != nil {
		return err
	}
	answer, err := http.Post(control+"/restart", "", nil)
	if err != nil {
		return err
	}
	answer.Body.Close()
	for begin := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		if err = p.publish("after"); err == nil {
			return receive(messages, "after")
		}
		if time.Since(begin) > patience {
			return err
		}
	}
}

func main() {
	scenarios := []struct {
		name string
		run  func(string) error
	}{
		{"watermill-queue", queue}, {"watermill-publish-subscribe", publishSubscribe}, {"watermill-router", router},
		{"watermill-recovery", recovery},
	}
	only := os.Args[2:]
	scenarios = slices.DeleteFunc(scenarios, func(each struct {
		name string
		run  func(string) error
	}) bool {
		return len(only) > 0 && !slices.Contains(only, each.name)
	})
	fmt.Print("scenarios")
	for _, scenario := range scenarios {
		fmt.Print(" ", scenario.name)
	}
	fmt.Println()
	status := 0
	for _, scenario := range scenarios {
		switch err := scenario.run(os.Args[1]); {
		case err == nil:
			fmt.Println("ok", scenario.name)
		case errors.Is(err, errSkipped):
			fmt.Printf("skipped %s: %v\n", scenario.name, err)
		default:
			status = 1
			fmt.Printf("FAILED %s: %s\n", scenario.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	os.Exit(status)
}
