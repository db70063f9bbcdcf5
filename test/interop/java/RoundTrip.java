// SPDX-License-Identifier: Apache-2.0

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client with its defaults (idempotent, acks=all) against one broker:
 * writes and reads a topic in each codec, then asks what an application asks.
 * Arguments: bootstrap, records, codecs. Prints each codec that is done.
 */
public final class RoundTrip {
    private static final int PARTITIONS = 3;
    private static final long FIRST_TIMESTAMP = 1_700_000_000_000L;

    private final String bootstrap;
    private final String topic;
    private final String codec;
    private final int records;

    private RoundTrip(String bootstrap, int records, String codec) {
        this.bootstrap = bootstrap;
        this.topic = "java-" + codec;
        this.codec = codec;
        this.records = records;
    }

    public static void main(String[] arguments) throws Exception {
        for (String codec : List.of(arguments).subList(2, arguments.length)) {
            new RoundTrip(arguments[0], Integer.parseInt(arguments[1]), codec).run();
            System.out.println(codec + " is done");
        }
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            create(admin);
            produce();
            consume();
            ask(admin);
            misbehave();
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    private void create(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        try {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
            throw new AssertionError("the topic was created twice");
        } catch (ExecutionException expected) {
            check(expected.getCause() instanceof TopicExistsException, expected.getCause());
        }
        TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        check(described.partitions().size() == PARTITIONS, described);
        check(admin.describeCluster().nodes().get().size() == 1, "nodes");
        check(admin.describeCluster().controller().get() != null, "controller");
    }

    private static byte[] key(int i) {
        return i % 10 == 0 ? null : ("key-" + i).getBytes();
    }

    private static byte[] value(int i) {
        return i % 11 == 0 ? null : ("value " + i + " ").repeat(1 + i % 30).getBytes();
    }

    private Map<String, Object> producerConfig() {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.serializer", ByteArraySerializer.class);
        config.put("value.serializer", ByteArraySerializer.class);
        config.put("compression.type", codec);
        return config;
    }

    private void produce() throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(producerConfig())) {
            for (int i = 0; i < records; i++) {
                ProducerRecord<byte[], byte[]> one =
                        new ProducerRecord<>(topic, i % PARTITIONS, FIRST_TIMESTAMP + i, key(i), value(i));
                for (int h = 0; h < i % 3; h++) {
                    one.headers().add("header-" + h, h == 0 ? null : ("h" + i).getBytes());
                }
                sent.add(producer.send(one));
            }
        }
        for (int i = 0; i < records; i++) {
            RecordMetadata at = sent.get(i).get();
            check(at.offset() == i / PARTITIONS, "record " + i + " is at offset " + at.offset());
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        return new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none",
                "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class));
    }

    private List<TopicPartition> partitions() {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) {
            all.add(new TopicPartition(topic, p));
        }
        return all;
    }

    private void consume() {
        long[] next = new long[PARTITIONS];
        int seen = 0;
        long deadline = System.currentTimeMillis() + 180_000;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions());
            consumer.seekToBeginning(partitions());
            while (seen < records) {
                check(System.currentTimeMillis() < deadline, seen + " records of " + records + " arrived");
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(Duration.ofSeconds(1))) {
                    check(got.offset() == next[got.partition()]++, "offset " + got.offset() + " of partition " + got.partition());
                    int i = (int) got.offset() * PARTITIONS + got.partition();
                    check(Arrays.equals(got.key(), key(i)), "key of record " + i);
                    check(Arrays.equals(got.value(), value(i)), "value of record " + i);
                    check(got.timestamp() == FIRST_TIMESTAMP + i, "timestamp of record " + i);
                    Header[] headers = got.headers().toArray();
                    check(headers.length == i % 3, "headers of record " + i);
                    for (int h = 0; h < headers.length; h++) {
                        check(headers[h].key().equals("header-" + h), "header key of record " + i);
                        check(Arrays.equals(headers[h].value(), h == 0 ? null : ("h" + i).getBytes()), "header of record " + i);
                    }
                    seen++;
                }
            }
        }
    }

    /** Offsets by time and by place, through the consumer and the admin client. */
    private void ask(Admin admin) throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        long count = (records + PARTITIONS - 1) / PARTITIONS;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            check(consumer.beginningOffsets(Set.of(first)).get(first) == 0, "beginning");
            check(consumer.endOffsets(Set.of(first)).get(first) == count, "end");
            long middle = count / 2;
            // One millisecond after a record of this partition lies before the next one.
            OffsetAndTimestamp found =
                    consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP + middle * PARTITIONS + 1)).get(first);
            check(found.offset() == middle + 1, found);
            check(found.timestamp() == FIRST_TIMESTAMP + (middle + 1) * PARTITIONS, found);
            check(consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP * 2)).get(first) == null, "a time after the last record");
            check(consumer.partitionsFor(topic).size() == PARTITIONS, "partitionsFor");
        }
        check(admin.listOffsets(Map.of(first, OffsetSpec.maxTimestamp())).partitionResult(first).get().offset() == count - 1, "max timestamp");
        check(admin.listOffsets(Map.of(first, OffsetSpec.latest())).partitionResult(first).get().offset() == count, "latest");
    }

    /** What must fail has to fail with the error that applications wait for. */
    private void misbehave() throws Exception {
        Map<String, Object> config = producerConfig();
        config.put("max.request.size", 8 << 20);
        config.put("compression.type", "none");
        config.put("buffer.memory", 32L << 20);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[4 << 20])).get();
            throw new AssertionError("a record above max.message.bytes was accepted");
        } catch (ExecutionException expected) {
            check(expected.getCause() instanceof RecordTooLargeException, expected.getCause());
        }
        TopicPartition first = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(Set.of(first));
            consumer.seek(first, 1_000_000_000L);
            long deadline = System.currentTimeMillis() + 180_000;
            while (System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofSeconds(1));
            }
            throw new AssertionError("an offset beyond the log's end gave no error");
        } catch (OffsetOutOfRangeException expected) {
            check(expected.offsetOutOfRangePartitions().containsKey(first), expected);
        }
    }

    private static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(String.valueOf(what));
        }
    }
}
