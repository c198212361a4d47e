// Runs scenarios with RabbitMQ.Client for .NET and prints one line for each: mono compat.exe URI [SCENARIO ...]

using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

static class Scenarios
{
    const int Limit = 16 << 20; // the largest message that a broker takes, unless told otherwise

    static void HelloWorld(Broker broker)
    {
        IModel sender = broker.Channel(), receiver = broker.Channel();
        var queue = sender.Durable(broker.Queue("hello"));
        sender.Publish("", queue, "Grüß Gott", properties =>
        {
            properties.ContentType = "text/plain";
            properties.Headers = Convenience.Table("lang", "de", "tries", 1);
        });
        var got = receiver.Consume(queue, true).Next();
        Harness.Expect("body", got.Body.Text(), "Grüß Gott");
        Harness.Expect("delivery", got.Exchange + got.RoutingKey + got.Redelivered, queue + false);
        Harness.Expect("content type", got.BasicProperties.ContentType, "text/plain");
        Harness.Expect("headers", got.BasicProperties.Headers["lang"].Text() + got.BasicProperties.Headers["tries"], "de1");
    }

    static void WorkQueues(Broker broker)
    {
        var publisher = broker.Channel();
        var queue = publisher.Durable(broker.Queue("tasks"));
        var counts = new int[2];
        for (var number = 0; number < 2; number++)
        {
            int worker = number, pause = number == 0 ? 100 : 10;
            var channel = broker.Channel();
            channel.BasicQos(0, 1, false);
            var consumer = channel.Consume(queue, false);
            var thread = new Thread(() =>
            {
                try
                {
                    for (;;)
                    {
                        var task = consumer.Next();
                        Thread.Sleep(pause);
                        counts[worker]++;
                        channel.BasicAck(task.DeliveryTag, false);
                    }
                }
                catch (Exception)
                {
                    // the scenario is over
                }
            });
            thread.IsBackground = true;
            thread.Start();
        }
        for (var number = 0; number < 30; number++)
            publisher.Publish("", queue, "task " + number, properties => properties.DeliveryMode = 2);
        Harness.Until("all tasks", () => counts.Sum() == 30);
        Harness.Expect("the fast one does more", 0 < counts[0] && counts[0] < counts[1], true);
    }

    static void PublishSubscribe(Broker broker)
    {
        var news = broker.Exchange("news");
        var publisher = broker.Channel();
        publisher.Exchange(news, "fanout");
        var subscribers = new List<KeyValuePair<IModel, string>>();
        for (var number = 0; number < 2; number++)
        {
            var channel = broker.Channel();
            subscribers.Add(new KeyValuePair<IModel, string>(channel, channel.Temporary()));
            channel.Bind(subscribers.Last().Value, news, "");
        }
        foreach (var headline in new[] { "one", "two", "end" }) publisher.Publish(news, "", headline);
        foreach (var each in subscribers) Harness.Expect("headlines", each.Key.TextsUntil("end", each.Value), "one two");
    }

    /// Publishes the keys, and compares what comes by each list of patterns with what is wanted.
    static void Routed(Broker broker, string kind, string keys, Dictionary<string, string> interests)
    {
        var name = broker.Exchange(kind);
        var channel = broker.Channel();
        channel.Exchange(name, kind);
        var queues = interests.Keys.ToDictionary(patterns => patterns, patterns =>
        {
            var queue = channel.Temporary();
            foreach (var pattern in (patterns + " end").Split(' ')) channel.Bind(queue, name, pattern);
            return queue;
        });
        foreach (var key in (keys + " end").Split(' ')) channel.Publish(name, key, key);
        foreach (var each in interests) Harness.Expect(each.Key, channel.TextsUntil("end", queues[each.Key]), each.Value);
    }

    static void Routing(Broker broker)
    {
        Routed(broker, "direct", "notice critical debug warning critical.disk critical", new Dictionary<string, string>
        {
            { "critical", "critical critical" },
            { "notice warning critical", "notice critical warning critical" },
        });
    }

    static void Topics(Broker broker)
    {
        const string keys = "home.kitchen.heat home office.lab.heat office.lab.rack.heat";
        Routed(broker, "topic", keys, new Dictionary<string, string>
        {
            { "home.#", "home.kitchen.heat home" },
            { "home.*", "" },
            { "*.*.heat", "home.kitchen.heat office.lab.heat" },
            { "#", keys },
        });
    }

    static void Rpc(Broker broker)
    {
        IModel server = broker.Channel(), client = broker.Channel();
        var queue = server.Durable(broker.Queue("squares"));
        var requests = server.Consume(queue, false);
        var serving = new Thread(() =>
        {
            for (var answered = 0; answered < 12; answered++)
            {
                var request = requests.Next();
                var number = int.Parse(request.Body.Text());
                var asked = request.BasicProperties;
                server.Publish("", asked.ReplyTo, (number * number).ToString(), reply => reply.CorrelationId = asked.CorrelationId);
                server.BasicAck(request.DeliveryTag, false);
            }
        });
        serving.IsBackground = true;
        serving.Start();
        var replies = client.Temporary();
        var answers = client.Consume(replies, true);
        for (var number = 0; number < 12; number++)
        {
            var id = number.ToString();
            client.Publish("", queue, id, request =>
            {
                request.ReplyTo = replies;
                request.CorrelationId = id;
            });
        }
        for (var number = 0; number < 12; number++)
        {
            var answer = answers.Next();
            var asked = int.Parse(answer.BasicProperties.CorrelationId);
            Harness.Expect("square", answer.Body.Text(), (asked * asked).ToString());
        }
    }

    static void ConnectionOptions(Broker broker)
    {
        var connection = broker.Connect(Harness.Given("COMPAT_URI_VHOST"), 7);
        Harness.Expect("heartbeat", (int)connection.Heartbeat, 7);
        Harness.Expect("product", connection.ServerProperties["product"].Text(), "RabbitMQ");
        var channel = connection.CreateModel();
        var queue = channel.Temporary();
        channel.Publish("", queue, new string('x', 1000000)); // in several frames
        Harness.Expect("body", channel.Take(queue).Body.Length, 1000000);
        foreach (var uri in new[] { broker.Uri.Replace("guest:guest", "guest:wrong"), broker.Uri + "no-such-vhost" })
        {
            try
            {
                broker.Connect(uri);
            }
            catch (Exception error) when (error is BrokerUnreachableException || error is OperationInterruptedException)
            {
                continue;
            }
            throw new Exception(uri + " is let in");
        }
    }

    static void Get(Broker broker)
    {
        var channel = broker.Channel();
        var queue = channel.Durable(broker.Queue("get"));
        Harness.Expect("from an empty queue", channel.BasicGet(queue, false), null);
        foreach (var text in new[] { "one", "two" }) channel.Publish("", queue, text);
        foreach (var redelivered in new[] { false, true })
        {
            BasicGetResult got = null;
            Harness.Until("a message", () => (got = channel.BasicGet(queue, false)) != null);
            Harness.Expect("message", got.Body.Text() + got.Redelivered, "one" + redelivered);
            if (redelivered) channel.BasicAck(got.DeliveryTag, false);
            else channel.BasicReject(got.DeliveryTag, true);
        }
        Harness.Expect("left", (int)channel.QueuePurge(queue, false), 1);
    }

    static void Acknowledgements(Broker broker)
    {
        var channel = broker.Channel();
        var queue = channel.Durable(broker.Queue("acks"));
        for (var number = 0; number < 4; number++) channel.Publish("", queue, number.ToString());
        var consumer = channel.Consume(queue, false);
        var seen = Enumerable.Range(0, 4).Select(_ => consumer.Next()).ToList();
        channel.BasicAck(seen[1].DeliveryTag, true);
        channel.BasicReject(seen[2].DeliveryTag, false);
        channel.BasicReject(seen[3].DeliveryTag, true);
        var again = consumer.Next();
        Harness.Expect("again", again.Body.Text() + again.Redelivered, "3" + true);
        channel.BasicAck(again.DeliveryTag, false);
        channel.Close();
        Harness.Expect("left", (int)broker.Channel().QueuePurge(queue, false), 0);
    }

    static void Prefetch(Broker broker)
    {
        var channel = broker.Channel();
        var queue = channel.Durable(broker.Queue("prefetch"));
        for (var number = 0; number < 10; number++) channel.Publish("", queue, number.ToString());
        channel.BasicQos(0, 3, false);
        var consumer = channel.Consume(queue, false);
        var tags = Enumerable.Range(0, 3).Select(_ => consumer.Next().DeliveryTag).ToList();
        object more;
        Harness.Expect("a fourth one", consumer.Queue.Dequeue(200, out more), false);
        channel.BasicAck(tags[1], true);
        consumer.Next();
        consumer.Next();
        Harness.Expect("then", consumer.Queue.Dequeue(200, out more), false);
    }

    static void Returns(Broker broker)
    {
        var channel = broker.Channel();
        string came = null;
        channel.BasicReturn += (_, told) => came = told.ReplyCode + " " + told.ReplyText + " " + told.Body.Text();
        channel.BasicPublish("", broker.Prefix + ".missing", true, false, null, System.Text.Encoding.UTF8.GetBytes("lost"));
        Harness.Until("the return", () => came != null);
        Harness.Expect("returned", came, "312 NO_ROUTE lost");
    }

    static void Transactions(Broker broker)
    {
        IModel channel = broker.Channel(), observer = broker.Channel();
        var queue = channel.Durable(broker.Queue("tx"));
        channel.TxSelect();
        channel.Publish("", queue, "rolled back");
        channel.TxRollback();
        channel.Publish("", queue, "committed");
        Harness.Expect("before the commit", observer.BasicGet(queue, true), null);
        channel.TxCommit();
        Harness.Expect("message", observer.Take(queue).Body.Text(), "committed");
    }

    static void Ttl(Broker broker)
    {
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var queue = channel.Durable(broker.Queue("long"));
        var gone = channel.Durable(broker.Queue("gone"), "x-expires", 200);
        channel.Publish("", queue, "by itself", properties => properties.Expiration = "100");
        channel.Publish("", queue, "stays");
        Thread.Sleep(600);
        Harness.Expect("left", channel.Take(queue).Body.Text(), "stays");
        var code = Harness.Refusal(connection.CreateModel(), doomed => doomed.BasicGet(gone, true));
        Harness.Expect("the unused queue", code, 404);
    }

    static void DeadLetters(Broker broker)
    {
        var channel = broker.Channel();
        string dead = channel.Durable(broker.Queue("dead")), work = broker.Queue("work");
        channel.Durable(work, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead);
        channel.Publish("", work, "job");
        channel.BasicReject(channel.Consume(work, false).Next().DeliveryTag, false);
        var headers = channel.Take(dead).BasicProperties.Headers;
        var death = (IDictionary)((IList)headers["x-death"])[0];
        var told = death["queue"].Text() + " " + death["reason"].Text() + " " + death["count"];
        Harness.Expect("death", told, work + " rejected 1");
    }

    static void Priorities(Broker broker)
    {
        var channel = broker.Channel();
        var queue = channel.Durable(broker.Queue("priorities"), "x-max-priority", 5);
        foreach (var priority in new byte[] { 0, 5, 1, 9, 1 })
            channel.Publish("", queue, priority.ToString(), properties => properties.Priority = priority);
        channel.TxSelect(); // its answer comes after what was published has been taken
        Harness.Expect("order", string.Concat(Enumerable.Range(0, 5).Select(_ => channel.Take(queue).Body.Text())), "59110");
    }

    static void BigMessage(Broker broker)
    {
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var queue = channel.Durable(broker.Queue("big"));
        var large = Enumerable.Range(0, Limit).Select(index => (byte)index).ToArray();
        channel.BasicPublish("", queue, null, large);
        Harness.Expect("the same", channel.Take(queue).Body.SequenceEqual(large), true);
        var code = Harness.Refusal(connection.CreateModel(), doomed => doomed.BasicPublish("", queue, null, new byte[Limit + 1]));
        Harness.Expect("reply code", code, 406);
    }

    static void HeaderTypes(Broker broker)
    {
        var channel = broker.Channel();
        var queue = channel.Durable(broker.Queue("headers"));
        var headers = Convenience.Table(
            "int", -7, "long", 1L << 40, "text", "ä€𝄞", "decimal", 1.5m, "time", new AmqpTimestamp(1772323199), "none", null,
            "table", Convenience.Table("deep", 1), "list", new ArrayList { 1, "two" }
        );
        channel.Publish("", queue, "", properties =>
        {
            properties.Headers = headers;
            properties.ContentType = "a/b";
            properties.DeliveryMode = 2;
            properties.Priority = 3;
            properties.CorrelationId = "c";
            properties.MessageId = "m";
            properties.UserId = "guest";
            properties.Timestamp = new AmqpTimestamp(1);
        });
        var came = channel.Take(queue).BasicProperties;
        foreach (var name in new[] { "int", "long", "text", "decimal", "none" })
            Harness.Expect(name, came.Headers[name].Text(), headers[name].Text());
        Harness.Expect("time", ((AmqpTimestamp)came.Headers["time"]).UnixTime, 1772323199);
        Harness.Expect("table", ((IDictionary)came.Headers["table"])["deep"].Text(), "1");
        Harness.Expect("list", string.Join(" ", ((IList)came.Headers["list"]).Cast<object>().Select(each => each.Text())), "1 two");
        var told = string.Join(" ", came.ContentType, came.DeliveryMode, came.Priority, came.CorrelationId, came.MessageId, came.UserId);
        Harness.Expect("properties", told, "a/b 2 3 c m guest");
        Harness.Expect("timestamp", came.Timestamp.UnixTime, 1);
    }

    static void AlternateExchange(Broker broker)
    {
        var channel = broker.Channel();
        string main = broker.Exchange("main"), other = broker.Exchange("other"), queue = channel.Durable(broker.Queue("unrouted"));
        channel.Exchange(other, "fanout");
        channel.Exchange(main, "direct", "alternate-exchange", other);
        channel.Bind(queue, other, "");
        channel.Publish(main, "nobody", "caught");
        var got = channel.Take(queue);
        Harness.Expect("message", got.Exchange + " " + got.RoutingKey, main + " nobody");
    }

    static void HeadersExchange(Broker broker)
    {
        var channel = broker.Channel();
        var name = broker.Exchange("headers");
        channel.Exchange(name, "headers");
        var queues = new[] { "all", "any" }.ToDictionary(match => match, match =>
        {
            var queue = channel.Temporary();
            channel.Bind(queue, name, "", "x-match", match, "format", "pdf", "pages", 3);
            channel.Bind(queue, name, "end", "x-match", "all", "end", "yes");
            return queue;
        });
        Action<string, Hashtable> publish = (text, headers) => channel.Publish(name, "", text, properties => properties.Headers = headers);
        publish("both", Convenience.Table("format", "pdf", "pages", 3));
        publish("one", Convenience.Table("format", "pdf", "pages", 4));
        publish("none", Convenience.Table("format", "txt"));
        publish("end", Convenience.Table("end", "yes"));
        Harness.Expect("all", channel.TextsUntil("end", queues["all"]), "both");
        Harness.Expect("any", channel.TextsUntil("end", queues["any"]), "both one");
    }

    static void ExclusiveQueues(Broker broker)
    {
        IConnection owner = broker.Connect(), stranger = broker.Connect();
        var queue = owner.CreateModel().Temporary();
        Harness.Expect("named by the server", queue.StartsWith("amq.gen-"), true);
        Harness.Expect("to another connection", Harness.Refusal(stranger.CreateModel(), each => each.BasicGet(queue, true)), 405);
        owner.Close();
        Harness.Until("it goes", () => Harness.Refusal(stranger.CreateModel(), each => each.BasicGet(queue, true)) == 404);
    }

    static void AutoDelete(Broker broker)
    {
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var name = broker.Prefix + ".fleeting";
        channel.QueueDeclare(name, false, true, false, true, false, null);
        channel.BasicCancel(channel.Consume(name, true).ConsumerTag);
        Harness.Expect("the queue", Harness.Refusal(connection.CreateModel(), each => each.BasicGet(name, true)), 404);
    }

    static void SingleActive(Broker broker)
    {
        var channel = broker.Channel();
        var queue = broker.Queue("single");
        channel.Durable(queue, "x-queue-type", "quorum", "x-single-active-consumer", true);
        QueueingBasicConsumer first = channel.Consume(queue, true), second = channel.Consume(queue, true);
        foreach (var text in new[] { "1", "2" })
        {
            channel.Publish("", queue, text);
            Harness.Expect("to the first", first.Next().Body.Text(), text);
        }
        channel.BasicCancel(first.ConsumerTag);
        channel.Publish("", queue, "3");
        Harness.Expect("to the second", second.Next().Body.Text(), "3");
    }

    static void QuorumQueue(Broker broker)
    {
        var channel = broker.Channel();
        string dead = channel.Durable(broker.Queue("dead")), queue = broker.Queue("quorum");
        channel.Durable(queue, "x-queue-type", "quorum", "x-delivery-limit", 2, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead);
        channel.Publish("", queue, "poison");
        var consumer = channel.Consume(queue, false);
        for (var count = 0; count < 3; count++)
        {
            var message = consumer.Next();
            var headers = message.BasicProperties.Headers;
            Harness.Expect("delivery count", headers == null ? "" : headers["x-delivery-count"].Text(), count == 0 ? "" : count.ToString());
            channel.BasicReject(message.DeliveryTag, true);
        }
        Harness.Expect("given up", broker.Channel().Take(dead).Body.Text(), "poison");
    }

    static void Stream(Broker broker)
    {
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var queue = channel.Durable(broker.Queue("stream"), "x-queue-type", "stream");
        for (var number = 0; number < 20; number++) channel.Publish("", queue, number.ToString());
        foreach (var offset in new object[] { "first", 15L })
        {
            var reader = connection.CreateModel();
            reader.BasicQos(0, 5, false);
            var consumer = reader.Consume(queue, false, "x-stream-offset", offset);
            for (var number = offset is long ? 15 : 0; number < 20; number++)
            {
                var message = consumer.Next();
                Harness.Expect("offset", message.BasicProperties.Headers["x-stream-offset"].Text(), number.ToString());
                Harness.Expect("body", message.Body.Text(), number.ToString());
                reader.BasicAck(message.DeliveryTag, false);
            }
            reader.Close();
        }
    }

    static void ManyChannels(Broker broker)
    {
        var connection = broker.Connect();
        var queue = connection.CreateModel().Durable(broker.Queue("many"));
        var channels = Enumerable.Range(0, 200).Select(_ => connection.CreateModel()).ToList();
        foreach (var channel in channels) channel.Publish("", queue, "x");
        foreach (var channel in channels) channel.Take(queue);
    }

    static void MissingExchange(Broker broker)
    {
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var name = broker.Prefix + ".missing";
        Harness.Expect("code", Harness.Refusal(channel, each => each.Publish(name, "k", "lost")), 404);
        Harness.Expect("text", channel.CloseReason.ReplyText, "NOT_FOUND - no exchange '" + name + "' in vhost '/'");
        Harness.Expect("another channel", connection.CreateModel().IsOpen, true);
    }

    static void PermissionDenied(Broker broker)
    {
        var connection = broker.Connect(Harness.Given("COMPAT_URI_LIMITED"));
        var channel = connection.CreateModel();
        channel.QueueDelete(channel.Durable("allowed." + broker.Prefix), false, false, false);
        Harness.Expect("declare", Harness.Refusal(connection.CreateModel(), each => each.Durable(broker.Prefix)), 403);
        Harness.Expect("publish", Harness.Refusal(connection.CreateModel(), each => each.Publish("amq.fanout", "", "x")), 403);
    }

    /// The broker is restarted under a publisher, who connects anew: what was committed is there.
    static void Recovery(Broker broker)
    {
        Harness.Given("COMPAT_CONTROL");
        var connection = broker.Connect();
        var channel = connection.CreateModel();
        var queue = channel.Durable(broker.Queue("kept"), "x-queue-type", "quorum");
        channel.TxSelect();
        for (var number = 0; number < 50; number++) channel.Publish("", queue, number.ToString(), each => each.DeliveryMode = 2);
        channel.TxCommit();
        Harness.Control("restart");
        Harness.Until("the connection's end", () => !connection.IsOpen);
        var again = broker.Channel();
        for (var number = 0; number < 50; number++) Harness.Expect("kept", again.Take(queue).Body.Text(), number.ToString());
    }

    static int Main(string[] arguments)
    {
        var status = Harness.Run(arguments, new Dictionary<string, Action<Broker>>
        {
            { "hello-world", HelloWorld },
            { "work-queues", WorkQueues },
            { "publish-subscribe", PublishSubscribe },
            { "routing", Routing },
            { "topics", Topics },
            { "rpc", Rpc },
            { "connection-options", ConnectionOptions },
            { "get", Get },
            { "acknowledgements", Acknowledgements },
            { "prefetch", Prefetch },
            { "returns", Returns },
            { "transactions", Transactions },
            { "ttl", Ttl },
            { "dead-letters", DeadLetters },
            { "priorities", Priorities },
            { "big-message", BigMessage },
            { "header-types", HeaderTypes },
            { "alternate-exchange", AlternateExchange },
            { "headers-exchange", HeadersExchange },
            { "exclusive-queues", ExclusiveQueues },
            { "auto-delete", AutoDelete },
            { "single-active-consumer", SingleActive },
            { "quorum-queue", QuorumQueue },
            { "stream", Stream },
            { "many-channels", ManyChannels },
            { "missing-exchange", MissingExchange },
            { "permission-denied", PermissionDenied },
            { "recovery", Recovery },
        });
        Environment.Exit(status); // whatever threads there still are
        return status;
    }
}
