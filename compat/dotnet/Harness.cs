// Plays scenarios and prints a line for each; and what they share: connections, names of their own, and waiting for messages.

using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using System.Text;
using System.Threading;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

class Skipped : Exception
{
    public Skipped(string reason) : base(reason) { }
}

static class Harness
{
    public const int Patience = 5000; // milliseconds for one expected event
    const int Seconds = 20, LongSeconds = 70; // the longer where the broker is restarted

    /// What the runner says about the broker (see compat/runner/brokers.py).
    public static string Given(string variable)
    {
        var value = Environment.GetEnvironmentVariable(variable);
        if (string.IsNullOrEmpty(value)) throw new Skipped(variable + " is not given");
        return value;
    }

    /// Has the runner do something to the broker, and waits until it has.
    public static void Control(string action)
    {
        new WebClient().UploadString(Given("COMPAT_CONTROL") + "/" + action, "");
    }

    public static void Expect<T>(string what, T actual, T wanted)
    {
        if (!EqualityComparer<T>.Default.Equals(actual, wanted))
            throw new Exception(string.Format("{0}: got {1}, wanted {2}", what, actual, wanted));
    }

    public static void Until(string what, Func<bool> condition)
    {
        var deadline = DateTime.UtcNow.AddMilliseconds(Patience);
        while (!condition())
        {
            if (DateTime.UtcNow > deadline) throw new Exception(what + ": not in time");
            Thread.Sleep(20);
        }
    }

    /// The code with which the broker closes the channel, after what is done on it.
    public static int Refusal(IModel channel, Action<IModel> forbidden)
    {
        try
        {
            forbidden(channel);
            Until("the refusal", () => channel.CloseReason != null);
        }
        catch (OperationInterruptedException)
        {
            // the reason is the channel's
        }
        return channel.CloseReason.ReplyCode;
    }

    static string Play(int seconds, Action scenario)
    {
        var outcome = "FAILED {0}: not finished after " + seconds + " s";
        var thread = new Thread(() =>
        {
            try
            {
                scenario();
                outcome = "ok {0}";
            }
            catch (Skipped reason)
            {
                outcome = "skipped {0}: " + reason.Message;
            }
            catch (Exception error)
            {
                var text = error.GetType().Name + ": " + error.Message.Replace("\n", " ").Replace("{", "(").Replace("}", ")");
                outcome = "FAILED {0}: " + text;
            }
        });
        thread.IsBackground = true;
        thread.Start();
        thread.Join(seconds * 1000);
        return outcome;
    }

    public static int Run(string[] arguments, Dictionary<string, Action<Broker>> scenarios)
    {
        if (arguments.Length < 1)
        {
            Console.Error.WriteLine("usage: compat.exe amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]");
            return 2;
        }
        var chosen = scenarios.Keys.Where(name => arguments.Length == 1 || arguments.Skip(1).Contains(name)).ToList();
        Console.WriteLine("scenarios " + string.Join(" ", chosen));
        var failures = 0;
        foreach (var name in chosen)
        {
            var broker = new Broker(arguments[0]);
            var outcome = Play(name == "recovery" ? LongSeconds : Seconds, () => scenarios[name](broker));
            var cleaned = Play(Seconds, broker.CleanUp);
            if (outcome.StartsWith("ok") && !cleaned.StartsWith("ok")) outcome = cleaned;
            if (outcome.StartsWith("FAILED")) failures++;
            Console.WriteLine(outcome, name);
        }
        return failures > 0 ? 1 : 0;
    }
}

/// Names and connections of one scenario.
class Broker
{
    public readonly string Uri, Prefix = "compat.dotnet." + Guid.NewGuid().ToString("N").Substring(0, 12);
    public readonly List<string> Queues = new List<string>(), Exchanges = new List<string>();
    readonly List<IConnection> connections = new List<IConnection>();

    public Broker(string uri)
    {
        Uri = uri;
    }

    public IConnection Connect(string uri = null, ushort heartbeat = 0)
    {
        var address = new Uri(uri ?? Uri);
        var who = address.UserInfo.Split(':');
        var vhost = System.Uri.UnescapeDataString(address.AbsolutePath.Substring(1).Replace("%2F", "/"));
        var factory = new ConnectionFactory
        {
            UserName = who[0],
            Password = who[1],
            VirtualHost = vhost == "" ? "/" : vhost,
            RequestedHeartbeat = heartbeat,
            // The newest version of the protocol that this version of the library knows.
            Endpoint = new AmqpTcpEndpoint(Protocols.AMQP_0_9, address.Host, address.Port),
        };
        var connection = factory.CreateConnection();
        connections.Add(connection);
        return connection;
    }

    public IModel Channel()
    {
        return Connect().CreateModel();
    }

    /// A queue name that no other run uses; CleanUp deletes the queue.
    public string Queue(string label)
    {
        Queues.Add(Prefix + "." + label);
        return Queues.Last();
    }

    /// The same for an exchange.
    public string Exchange(string label)
    {
        Exchanges.Add(Prefix + "." + label);
        return Exchanges.Last();
    }

    public void CleanUp()
    {
        foreach (var connection in connections.Where(each => each.IsOpen)) connection.Abort();
        var channel = Channel();
        foreach (var queue in Queues) channel.QueueDelete(queue, false, false, false);
        foreach (var exchange in Exchanges) channel.ExchangeDelete(exchange, false, false);
        connections.Last().Close();
    }
}

/// What the library leaves to its users.
static class Convenience
{
    public static Hashtable Table(params object[] pairs)
    {
        var table = new Hashtable();
        for (var i = 0; i < pairs.Length; i += 2) table[pairs[i]] = pairs[i + 1];
        return table;
    }

    public static string Durable(this IModel channel, string queue, params object[] arguments)
    {
        return channel.QueueDeclare(queue, false, true, false, false, false, Table(arguments));
    }

    /// A queue named by the server, which goes with its connection.
    public static string Temporary(this IModel channel)
    {
        return channel.QueueDeclare("", false, false, true, false, false, null);
    }

    public static void Exchange(this IModel channel, string name, string kind, params object[] arguments)
    {
        channel.ExchangeDeclare(name, kind, false, true, false, false, false, Table(arguments));
    }

    public static void Bind(this IModel channel, string queue, string exchange, string key, params object[] arguments)
    {
        channel.QueueBind(queue, exchange, key, false, Table(arguments));
    }

    public static void Publish(this IModel channel, string exchange, string key, string body, Action<IBasicProperties> set = null)
    {
        var properties = channel.CreateBasicProperties();
        if (set != null) set(properties);
        channel.BasicPublish(exchange, key, properties, Encoding.UTF8.GetBytes(body));
    }

    /// One message by basic.get, which may take a moment to come.
    public static BasicGetResult Take(this IModel channel, string queue)
    {
        BasicGetResult got = null;
        Harness.Until("a message in " + queue, () => (got = channel.BasicGet(queue, true)) != null);
        return got;
    }

    public static QueueingBasicConsumer Consume(this IModel channel, string queue, bool noAck, params object[] arguments)
    {
        var consumer = new QueueingBasicConsumer(channel);
        channel.BasicConsume(queue, noAck, Table(arguments), consumer);
        return consumer;
    }

    public static BasicDeliverEventArgs Next(this QueueingBasicConsumer consumer)
    {
        object message;
        if (!consumer.Queue.Dequeue(Harness.Patience, out message)) throw new Exception("no message in time");
        return (BasicDeliverEventArgs)message;
    }

    /// The bodies that the queue holds before the one that says it is the last.
    public static string TextsUntil(this IModel channel, string last, string queue)
    {
        var consumer = channel.Consume(queue, true);
        var texts = new List<string>();
        for (var text = consumer.Next().Body.Text(); text != last; text = consumer.Next().Body.Text()) texts.Add(text);
        channel.BasicCancel(consumer.ConsumerTag);
        return string.Join(" ", texts);
    }

    public static string Text(this byte[] octets)
    {
        return Encoding.UTF8.GetString(octets);
    }

    public static string Text(this object header)
    {
        return header is byte[] ? ((byte[])header).Text() : Convert.ToString(header);
    }
}
