"""The few things the bench asks of Kafka beside what the products do, through librdkafka (which Pangea needs anyway)."""
import ctypes
import glob
import os
import time

R = ctypes.CDLL("librdkafka.so.1")
P, C, I64 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
for name, result, *arguments in (
        ("rd_kafka_conf_new", P), ("rd_kafka_conf_set", ctypes.c_int, P, C, C, P, ctypes.c_size_t),
        ("rd_kafka_destroy", None, P), ("rd_kafka_queue_destroy", None, P), ("rd_kafka_DeleteTopic_destroy", None, P),
        ("rd_kafka_new", P, ctypes.c_int, P, P, ctypes.c_size_t),
        ("rd_kafka_query_watermark_offsets", ctypes.c_int, P, C, ctypes.c_int32, P, P, ctypes.c_int),
        ("rd_kafka_queue_new", P, P), ("rd_kafka_queue_poll", P, P, ctypes.c_int), ("rd_kafka_event_destroy", None, P),
        ("rd_kafka_event_error", ctypes.c_int, P), ("rd_kafka_event_error_string", C, P),
        ("rd_kafka_DeleteTopic_new", P, C), ("rd_kafka_DeleteTopics", None, P, P, ctypes.c_size_t, P, P)):
    f = getattr(R, name)
    f.restype, f.argtypes = result, arguments


class Broker:
    def __init__(self, kafka):
        """kafka: harness.servers.Kafka."""
        self.kafka = kafka
        self.client = None

    def connected(self):
        """A client remembers for a while that a topic was not there: after an error a new one is used."""
        if self.client is None:
            conf, why = R.rd_kafka_conf_new(), ctypes.create_string_buffer(200)
            for key, value in (("bootstrap.servers", self.kafka.brokers), ("allow.auto.create.topics", "false"), ("log_level", "3")):
                assert R.rd_kafka_conf_set(conf, key.encode(), value.encode(), why, 200) == 0, why.value
            self.client = R.rd_kafka_new(1, conf, why, 200)
            assert self.client, why.value
        return self.client

    def forget(self):
        if self.client is not None:
            R.rd_kafka_destroy(self.client)
            self.client = None

    def end(self, topic):
        """The offset behind the last record; 0 while there is no such topic."""
        low, high = I64(), I64()
        error = R.rd_kafka_query_watermark_offsets(self.connected(), topic.encode(), 0, ctypes.byref(low), ctypes.byref(high), 5000)
        if error:
            self.forget()
            return 0
        return high.value

    def delete(self, topic, limit=30):
        """Deletes a topic and waits until its files have left the place where those of a new one will be."""
        client = self.connected()
        queue = R.rd_kafka_queue_new(client)
        one = (P * 1)(R.rd_kafka_DeleteTopic_new(topic.encode()))
        R.rd_kafka_DeleteTopics(client, one, 1, None, queue)
        event = R.rd_kafka_queue_poll(queue, int(limit * 1000))
        assert event, f"topic {topic}: not deleted within {limit} s"
        assert R.rd_kafka_event_error(event) == 0, R.rd_kafka_event_error_string(event)
        R.rd_kafka_event_destroy(event)
        R.rd_kafka_DeleteTopic_destroy(one[0])
        R.rd_kafka_queue_destroy(queue)
        self.forget()
        end = time.monotonic() + limit
        while self.folders(topic):
            assert time.monotonic() < end, f"topic {topic}: its files are still there"
            time.sleep(0.02)

    def folders(self, topic):
        """Of its partitions. A deleted one is renamed (`..-delete`), and goes a minute later."""
        found = glob.glob(os.path.join(self.kafka.folder, "data", glob.escape(topic) + "-[0-9]*"))
        return [d for d in found if d.rpartition("-")[2].isdigit()]

    def bytes(self, *topics):
        """On disk, without indexes."""
        return sum(os.path.getsize(f) for t in topics for d in self.folders(t) for f in glob.glob(d + "/*.log"))
