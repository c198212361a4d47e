package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confirmChannel opens a channel in confirm mode and declares a durable queue on it.
func confirmChannel(b *broker, queue string) (*amqp.Channel, error) {
	channel, err := b.channel()
	if err != nil {
		return nil, err
	}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	_, err = channel.QueueDeclare(queue, true, false, false, false, nil)
	return channel, err
}

// order publishes a persistent message, mandatory so that none is lost unnoticed.
func order(ctx context.Context, channel *amqp.Channel, queue string, number int) (*amqp.DeferredConfirmation, error) {
	message := text(fmt.Sprintf("order %d", number))
	message.DeliveryMode = amqp.Persistent
	message.MessageId = strconv.Itoa(number)
	return channel.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, message)
}

func wait(ctx context.Context, confirmation *amqp.DeferredConfirmation) error {
	acked, err := confirmation.WaitContext(ctx)
	if err != nil {
		return fmt.Errorf("waiting for confirm %d: %w", confirmation.DeliveryTag, err)
	}
	return expect(fmt.Sprintf("message %d acked", confirmation.DeliveryTag), acked, true)
}

func confirmsOneByOne(ctx context.Context, b *broker) error {
	queue := b.queue("one")
	channel, err := confirmChannel(b, queue)
	if err != nil {
		return err
	}
	for number := 1; number <= 20; number++ {
		confirmation, err := order(ctx, channel, queue, number)
		if err != nil {
			return err
		}
		if err := wait(ctx, confirmation); err != nil {
			return err
		}
		if err := expectDepth(channel, queue, number); err != nil {
			return err
		}
	}

	return confirmLost(ctx, b)
}

// confirmLost publishes a message that no queue gets: it comes back first, and is then confirmed.
func confirmLost(ctx context.Context, b *broker) error {
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	// Unbuffered, so that one reader of both sees them in the order in which the broker sent them.
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation))
	returns := channel.NotifyReturn(make(chan amqp.Return))
	if _, err := order(ctx, channel, b.queue("missing"), 21); err != nil {
		return err
	}
	select {
	case returned := <-returns:
		if err := expect("returned", returned.MessageId, "21"); err != nil {
			return err
		}
		if err := expect("reply code", returned.ReplyCode, uint16(amqp.NoRoute)); err != nil {
			return err
		}
	case <-confirms:
		go drain(returns)
		return errors.New("a message without a queue was confirmed before it was returned")
	case <-ctx.Done():
		return fmt.Errorf("waiting for the returned message: %w", ctx.Err())
	}
	select {
	case confirmation := <-confirms:
		return expect("confirm", confirmation, amqp.Confirmation{DeliveryTag: 1, Ack: true})
	case <-ctx.Done():
		return fmt.Errorf("waiting for the returned message's confirm: %w", ctx.Err())
	}
}

func confirmsInBatches(ctx context.Context, b *broker) error {
	const batches, size = 10, 50
	queue := b.queue("batch")
	channel, err := confirmChannel(b, queue)
	if err != nil {
		return err
	}
	for batch := range batches {
		var confirmations []*amqp.DeferredConfirmation
		for number := range size {
			confirmation, err := order(ctx, channel, queue, batch*size+number)
			if err != nil {
				return err
			}
			confirmations = append(confirmations, confirmation)
		}
		for _, confirmation := range confirmations {
			if err := wait(ctx, confirmation); err != nil {
				return err
			}
		}
		if err := expectDepth(channel, queue, (batch+1)*size); err != nil {
			return err
		}
	}
	return nil
}

// Up to 1000 messages are outstanding, and every 100th cannot be routed.
func confirmsAsynchronous(ctx context.Context, b *broker) error {
	const total, limit, lost = 2000, 1000, 100
	queue, missing := b.queue("async"), b.queue("missing")
	channel, err := confirmChannel(b, queue)
	if err != nil {
		return err
	}
	// The library gives the confirms in the order of the messages, whatever order they came in.
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation))
	returns := channel.NotifyReturn(make(chan amqp.Return))

	// A place in the window is taken before publishing and given back by a confirm.
	window := make(chan struct{}, limit)
	checked := make(chan error, 1)
	go func() { checked <- checkConfirms(ctx, confirms, returns, window, total, lost) }()

	for number := 1; number <= total; number++ {
		select {
		case window <- struct{}{}:
		case err := <-checked:
			return err
		}
		key := queue
		if number%lost == 0 {
			key = missing
		}
		if _, err := order(ctx, channel, key, number); err != nil {
			return err
		}
	}
	if err := <-checked; err != nil {
		return err
	}
	return expectDepth(channel, queue, total-total/lost)
}

// checkConfirms reads one confirm for each message, in the order of their numbers, and what the broker
// returns, which has to come before its confirm.
func checkConfirms(ctx context.Context, confirms <-chan amqp.Confirmation, returns <-chan amqp.Return,
	window <-chan struct{}, total, lost int) error {
	defer func() { // so that the library is never stuck with one that nobody takes
		go drain(confirms)
		go drain(returns)
	}()
	returned := map[string]bool{}
	for number := 1; number <= total; {
		select {
		case message := <-returns:
			if err := expect("reply code", message.ReplyCode, uint16(amqp.NoRoute)); err != nil {
				return err
			}
			returned[message.MessageId] = true
		case confirmation := <-confirms:
			wanted := amqp.Confirmation{DeliveryTag: uint64(number), Ack: true}
			if err := expect("confirm", confirmation, wanted); err != nil {
				return err
			}
			if number%lost == 0 && !returned[strconv.Itoa(number)] {
				return fmt.Errorf("message %d was confirmed before it was returned", number)
			}
			<-window
			number++
		case <-ctx.Done():
			return fmt.Errorf("waiting for confirm %d: %w", number, ctx.Err())
		}
	}
	return expect("number of returned messages", len(returned), total/lost)
}

func drain[T any](channel <-chan T) {
	for range channel {
	}
}
