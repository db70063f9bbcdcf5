// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client by the convention of test/interop/client/doc.go: a verb as
 * argument, lines of JSON on stdin and stdout.
 */
public final class Client {
    private static final long DEADLINE_MS = 180_000;
    private static final int HEARTBEAT_MS = 500;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in));
    private static final PrintStream OUT = System.out;

    private Client() {
    }

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "describe" -> say(Map.of("version", version(), "codecs", List.of("none", "gzip", "snappy", "lz4", "zstd")));
            case "produce" -> produce(next());
            case "consume" -> consume();
            case "admin" -> administer(next());
            case "group" -> group(next());
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static String version() throws IOException {
        Properties properties = new Properties();
        try (InputStream file = KafkaProducer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            properties.load(file);
        }
        return properties.getProperty("version");
    }

    private static JsonNode next() throws IOException {
        String line = IN.readLine();
        return line == null ? null : JSON.readTree(line);
    }

    private static synchronized void say(Object line) throws IOException {
        OUT.println(JSON.writeValueAsString(line));
        OUT.flush();
    }

    private static byte[] bytes(JsonNode text) throws IOException {
        return text.isNull() ? null : text.binaryValue();
    }

    // ---- produce

    private static void produce(JsonNode request) throws Exception {
        boolean idempotent = request.get("idempotent").asBoolean();
        Map<String, Object> config = Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, request.get("bootstrap").asText(),
                ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class,
                ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class,
                ProducerConfig.COMPRESSION_TYPE_CONFIG, request.get("codec").asText(),
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, idempotent,
                ProducerConfig.ACKS_CONFIG, idempotent ? "all" : "1",
                ProducerConfig.LINGER_MS_CONFIG, 20);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            for (JsonNode record : request.get("records")) {
                ProducerRecord<byte[], byte[]> one = new ProducerRecord<>(request.get("topic").asText(), record.get("partition").asInt(),
                        record.get("timestamp").asLong(), bytes(record.get("key")), bytes(record.get("value")));
                for (JsonNode header : record.get("headers")) {
                    one.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(one));
            }
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get(DEADLINE_MS, TimeUnit.MILLISECONDS).offset());
        }
        say(Map.of("offsets", offsets));
    }

    // ---- consume

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode request, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, request.get("bootstrap").asText(),
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none"));
        config.putAll(more);
        return new KafkaConsumer<>(config);
    }

    private static void tell(ConsumerRecord<byte[], byte[]> got) throws IOException {
        ObjectNode record = JSON.createObjectNode();
        record.put("partition", got.partition()).put("offset", got.offset()).put("timestamp", got.timestamp());
        record.put("key", got.key()).put("value", got.value());
        ArrayNode headers = record.putArray("headers");
        for (Header header : got.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
        say(JSON.createObjectNode().set("record", record));
    }

    private static void consume() throws Exception {
        for (JsonNode request = next(); request != null; request = next()) {
            read(request);
        }
    }

    private static void read(JsonNode request) throws Exception {
        List<TopicPartition> parts = new ArrayList<>();
        for (JsonNode partition : request.get("partitions")) {
            parts.add(new TopicPartition(request.get("topic").asText(), partition.asInt()));
        }
        try (KafkaConsumer<byte[], byte[]> reader = consumer(request, Map.of())) {
            reader.assign(parts);
            if (request.has("time")) {
                long time = request.get("time").asLong();
                Map<TopicPartition, OffsetAndTimestamp> found =
                        reader.offsetsForTimes(parts.stream().collect(Collectors.toMap(p -> p, p -> time)));
                for (TopicPartition part : parts) {
                    if (found.get(part) == null) {
                        reader.seekToEnd(List.of(part));
                    } else {
                        reader.seek(part, found.get(part).offset());
                    }
                }
            } else if (request.has("offset")) {
                parts.forEach(part -> reader.seek(part, request.get("offset").asLong()));
            } else {
                reader.seekToBeginning(parts);
            }
            long end = System.currentTimeMillis() + DEADLINE_MS;
            for (int left = request.get("count").asInt(); left > 0;) {
                if (System.currentTimeMillis() > end) {
                    throw new IllegalStateException(left + " records are missing");
                }
                for (ConsumerRecord<byte[], byte[]> got : reader.poll(Duration.ofSeconds(1))) {
                    tell(got);
                    left--;
                }
            }
        }
        say(Map.of("done", true));
    }

    // ---- admin

    private static void administer(JsonNode first) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", first.get("bootstrap").asText()))) {
            for (JsonNode call = next(); call != null; call = next()) {
                ObjectNode line = JSON.createObjectNode();
                try {
                    line.set("answer", JSON.valueToTree(answer(admin, call)));
                } catch (UnsupportedOperationException lacks) {
                    line.put("lacks", true);
                } catch (ExecutionException | ApiException error) {
                    Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                    line.putObject("error").put("code", Errors.forException(cause).code()).put("text", cause.toString());
                }
                say(line);
            }
        }
    }

    private static ConfigResource resource(JsonNode call) {
        return new ConfigResource(ConfigResource.Type.valueOf(call.get("type").asText().toUpperCase()), call.get("name").asText());
    }

    private static Map<String, String> strings(JsonNode node) {
        Map<String, String> all = new TreeMap<>();
        node.properties().forEach(field -> all.put(field.getKey(), field.getValue().asText()));
        return all;
    }

    private static Object answer(Admin admin, JsonNode call) throws Exception {
        String topic = call.path("topic").asText();
        TopicPartition part = new TopicPartition(topic, call.path("partition").asInt());
        switch (call.get("call").asText()) {
            case "create_topic":
                NewTopic fresh = new NewTopic(topic, call.get("partitions").asInt(), (short) call.get("replicas").asInt()).configs(strings(call.get("configs")));
                admin.createTopics(List.of(fresh), new CreateTopicsOptions().validateOnly(call.path("validate_only").asBoolean())).all().get();
                return null;
            case "delete_topic":
                admin.deleteTopics(List.of(topic)).all().get();
                return null;
            case "list_topics":
                return new TreeSet<>(admin.listTopics().names().get());
            case "describe_topic":
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().stream()
                        .map(p -> Map.of("partition", p.partition(), "leader", p.leader().id(), "replicas", ids(p.replicas()), "isr", ids(p.isr()))).toList();
            case "describe_topic_partitions":
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().stream().map(p -> p.partition()).toList();
            case "create_partitions":
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(call.get("count").asInt()))).all().get();
                return null;
            case "describe_configs":
                Config found = admin.describeConfigs(List.of(resource(call))).all().get().get(resource(call));
                Map<String, Object> entries = new TreeMap<>();
                for (ConfigEntry e : found.entries()) {
                    Map<String, Object> entry = new HashMap<>();
                    entry.put("value", e.value());
                    entry.put("default", e.isDefault());
                    entries.put(e.name(), entry);
                }
                return entries;
            case "incremental_alter_configs":
                List<AlterConfigOp> operations = new ArrayList<>();
                for (JsonNode o : call.get("operations")) {
                    operations.add(new AlterConfigOp(new ConfigEntry(o.get("key").asText(), o.path("value").asText(null)),
                            AlterConfigOp.OpType.valueOf(o.get("operation").asText().toUpperCase())));
                }
                admin.incrementalAlterConfigs(Map.of(resource(call), operations)).all().get();
                return null;
            case "list_config_resources":
                return admin.listConfigResources(Set.of(ConfigResource.Type.valueOf(call.get("type").asText().toUpperCase())),
                        new ListConfigResourcesOptions()).all().get().stream().map(ConfigResource::name).sorted().toList();
            case "delete_records":
                return admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(call.get("before").asLong()))).lowWatermarks().get(part).get().lowWatermark();
            case "list_offsets":
                return admin.listOffsets(Map.of(part, spec(call.get("at")))).partitionResult(part).get().offset();
            case "describe_cluster":
                var cluster = admin.describeCluster();
                return Map.of("brokers", ids(cluster.nodes().get()), "controller", cluster.controller().get().id(), "cluster", cluster.clusterId().get());
            case "describe_log_dirs":
                return admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().stream()
                        .map(d -> d.replicaInfos().get(part)).filter(r -> r != null).findFirst().orElseThrow().size();
            case "describe_features":
                Map<String, Integer> levels = new TreeMap<>();
                admin.describeFeatures().featureMetadata().get().finalizedFeatures().forEach((name, range) -> levels.put(name, (int) range.maxVersionLevel()));
                return levels;
            case "describe_quorum":
                QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
                return Map.of("leader", quorum.leaderId(), "voters", quorum.voters().stream().map(v -> v.replicaId()).toList());
            case "describe_producers":
                return admin.describeProducers(List.of(part)).partitionResult(part).get().activeProducers().size();
            case "elect_leaders":
                var outcome = admin.electLeaders(ElectionType.PREFERRED, Set.of(part)).partitions().get().get(part);
                if (outcome.isPresent()) {
                    throw new ExecutionException(outcome.get());
                }
                return null;
            case "list_reassignments":
                return admin.listPartitionReassignments().reassignments().get().size();
            case "list_groups":
                return admin.listGroups().all().get().stream().map(GroupListing::groupId).sorted().toList();
            case "group_offsets":
                Map<String, Long> offsets = new TreeMap<>();
                admin.listConsumerGroupOffsets(call.get("group").asText()).partitionsToOffsetAndMetadata().get().forEach((p, at) -> offsets.put(p.toString(), at.offset()));
                return offsets;
            case "delete_group":
                admin.deleteConsumerGroups(List.of(call.get("group").asText())).all().get();
                return null;
            default:
                throw new UnsupportedOperationException(call.get("call").asText());
        }
    }

    private static OffsetSpec spec(JsonNode at) {
        if (at.isNumber()) {
            return OffsetSpec.forTimestamp(at.asLong());
        }
        return switch (at.asText()) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max_timestamp" -> OffsetSpec.maxTimestamp();
            default -> throw new IllegalArgumentException(at.asText());
        };
    }

    private static List<Integer> ids(Collection<Node> nodes) {
        return nodes.stream().map(Node::id).toList();
    }

    // ---- group

    /** A member of a group that does what stdin says between two polls. */
    private static void group(JsonNode request) throws Exception {
        ConcurrentLinkedQueue<String> commands = new ConcurrentLinkedQueue<>();
        Thread reading = new Thread(() -> {
            try {
                for (JsonNode line = next(); line != null; line = next()) {
                    commands.add(line.get("do").asText());
                }
            } catch (IOException broken) {
                throw new IllegalStateException(broken);
            }
            commands.add("close");
        });
        reading.setDaemon(true);
        reading.start();
        String protocol = request.get("protocol").asText();
        Map<String, Object> more = new HashMap<>(Map.of(ConsumerConfig.GROUP_ID_CONFIG, request.get("group").asText(),
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        if (protocol.equals("consumer")) {
            more.put(ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol);
        } else {
            more.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, request.get("session_timeout_ms").asInt());
            more.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, HEARTBEAT_MS);
        }
        if (protocol.equals("cooperative")) {
            more.put(ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, CooperativeStickyAssignor.class.getName());
        }
        List<String> topics = new ArrayList<>();
        request.get("topics").forEach(t -> topics.add(t.asText()));
        try (KafkaConsumer<byte[], byte[]> member = consumer(request, more)) {
            member.subscribe(topics, new Telling());
            for (String command = ""; !"close".equals(command); command = commands.poll()) {
                if ("commit".equals(command)) {
                    commit(member);
                }
                for (ConsumerRecord<byte[], byte[]> got : member.poll(Duration.ofMillis(100))) {
                    tell(got);
                }
            }
        }
        say(Map.of("done", true));
    }

    private static void commit(KafkaConsumer<byte[], byte[]> member) throws IOException {
        try {
            member.commitSync();
            Map<String, Long> at = new TreeMap<>();
            for (Map.Entry<TopicPartition, OffsetAndMetadata> e : member.committed(member.assignment()).entrySet()) {
                if (e.getValue() != null) {
                    at.put(e.getKey().toString(), e.getValue().offset());
                }
            }
            say(Map.of("committed", at));
        } catch (KafkaException error) {
            say(Map.of("error", Map.of("code", Errors.forException(error).code(), "text", error.toString())));
        }
    }

    /** Tells what the group gives and takes. */
    private static final class Telling implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> parts) {
            tell("assigned", parts);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> parts) {
            tell("revoked", parts);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> parts) {
            tell("lost", parts);
        }

        private static void tell(String what, Collection<TopicPartition> parts) {
            try {
                say(Map.of(what, parts.stream().map(p -> List.of(p.topic(), p.partition())).toList()));
            } catch (IOException broken) {
                throw new IllegalStateException(broken);
            }
        }
    }
}
