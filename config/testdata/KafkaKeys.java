// SPDX-License-Identifier: Apache-2.0

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Asks Apache Kafka what it knows of each key and what it takes for it, and java.util.Properties how it reads a file.
 * Run with Kafka 4.4.0's jars, in this folder:
 *
 *   javac -cp "$KAFKA_LIBS/*" -d /tmp KafkaKeys.java && java -cp "$KAFKA_LIBS/*:/tmp" KafkaKeys
 */
public class KafkaKeys {
    static final String[] NUMBERS = {"-2147483649", "-131073", "-131072", "-3", "-2", "-1", "0", "1", "2", "3", "4", "5", "6", "9", "10", "11", "17",
        "18", "22", "23", "25", "26", "99", "100", "101", "500", "501", "999", "1000", "1001", "1023", "1024", "2000", "2001", "3600", "3601", "9999",
        "10000", "10001", "29999", "30000", "30001", "32767", "32768", "86400", "86401", "524287", "524288", "1048575", "1048576", "3600000", "3600001",
        "8388607", "8388608", "2147483639", "2147483640", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "+7", " 7 ", "07",
        "0x7", "7.0", "7L", "1e3", "seven", ""};
    static final String[] DOUBLES = {"-0.1", "0", "0.5", ".5", "0.50001", "1", "1.01", "1e-1", "1E400", "0.5d", "0.5F", "0x1p-2", "NaN", "Infinity",
        "Inf", "inf", "nan", "1_0", "half", ""};
    static final String[] BOOLEANS = {"true", "TRUE", " false ", "False", "1", "yes", "t", ""};
    static final String[] TEXTS = {"", "a", "a,a", "a,,b", " a , b ", "a,", "none", "gzip", "GZIP", "zstd", "producer", "uncompressed", "CreateTime",
        "createtime", "LogAppendTime", "compact", "compact,delete", "Compact", "broker", "broker,controller", "controller, broker", "classic,consumer",
        "share,streams", "upgrade", "UPGRADE", "es256", "PLAINTEXT", "plaintext", "SASL_SSL", "required", "localhost:9092", "localhost:9092,b:1", "localhost",
        "1@localhost:9093", "1@localhost:9093,2@b:1", "-1@localhost:9093", "x@localhost:9093", "1@localhost", "*", "0:1", "0:1,1:2", "0:1,", "*,0:1", "-1:2"};

    static String[] candidates(ConfigDef.Type type) {
        return switch (type) {
            case INT, LONG, SHORT -> NUMBERS;
            case DOUBLE -> DOUBLES;
            case BOOLEAN -> BOOLEANS;
            default -> TEXTS;
        };
    }

    static void write(String file, Map<String, ConfigDef.ConfigKey> keys) throws Exception {
        Map<String, String> modes = DynamicBrokerConfig.dynamicConfigUpdateModes();
        try (PrintWriter out = new PrintWriter(file, StandardCharsets.UTF_8)) {
            for (ConfigDef.ConfigKey k : new TreeMap<>(keys).values()) {
                String value = k.hasDefault() && k.defaultValue != null ? "=" + ConfigDef.convertToString(k.defaultValue, k.type) : "null";
                List<String> taken = new ArrayList<>();
                if (k.type != ConfigDef.Type.CLASS) {
                    for (String c : candidates(k.type)) {
                        try {
                            Object parsed = new ConfigDef().define(k).parse(Map.of(k.name, c)).get(k.name);
                            String text = k.type == ConfigDef.Type.PASSWORD ? c : ConfigDef.convertToString(parsed, k.type);
                            taken.add(text.equals(c) ? c : c + "=" + text);
                        } catch (RuntimeException refused) {
                            // not taken
                        }
                    }
                }
                out.println(String.join("\t", k.name, k.type.toString(), value, modes.getOrDefault(k.name, "read-only"), "" + k.internalConfig,
                    String.join("|", taken)));
            }
        }
    }

    static void refusals() throws Exception {
        String[][] tries = {
            {"no.such.key", "1"}, {"segment.bytes", "1"}, {"segment.bytes", "abc"}, {"segment.bytes", "2147483648"}, {"retention.ms", "-2"},
            {"cleanup.policy", "compact,compact"}, {"cleanup.policy", "foo"}, {"cleanup.policy", "delete,"}, {"preallocate", "1"},
            {"min.cleanable.dirty.ratio", "1.1"}, {"min.cleanable.dirty.ratio", "-1"}, {"min.cleanable.dirty.ratio", "x"}, {"compression.type", "GZIP"},
            {"compression.gzip.level", "0"}, {"compression.lz4.level", "18"}, {"message.timestamp.type", "createtime"},
            {"leader.replication.throttled.replicas", "x:1"}, {"min.insync.replicas", "0"}, {"min.compaction.lag.ms", "9223372036854775807"},
            {"max.compaction.lag.ms", "0"}, {"remote.storage.enable", "true"}, {"index.interval.bytes", "-1"}, {"max.decompressed.message.bytes", "2147483640"}};
        Map<String, Object> below = new LinkedHashMap<>();
        for (ConfigDef.ConfigKey k : LogConfig.configKeys().values()) below.put(k.name, k.defaultValue);
        below.put("max.compaction.lag.ms", 1000L);
        try (PrintWriter out = new PrintWriter("topic-refusals.tsv", StandardCharsets.UTF_8)) {
            for (String[] t : tries) {
                String told = "taken";
                try {
                    LogConfig.validate(Map.of(), Map.of(t[0], t[1]), below, false);
                } catch (RuntimeException refused) {
                    told = refused.getMessage();
                }
                out.println(t[0] + "\t" + t[1] + "\t" + told);
            }
        }
    }

    static void properties() throws Exception {
        Properties p = new Properties();
        try (var in = java.nio.file.Files.newBufferedReader(java.nio.file.Path.of("syntax.properties"), StandardCharsets.UTF_8)) {
            p.load(in);
        }
        try (PrintWriter out = new PrintWriter("syntax.txt", StandardCharsets.UTF_8)) {
            for (String k : new java.util.TreeSet<>(p.stringPropertyNames())) {
                out.println(hex(k) + " " + hex(p.getProperty(k)));
            }
        }
    }

    static String hex(String s) {
        StringBuilder b = new StringBuilder("x");
        for (byte c : s.getBytes(StandardCharsets.UTF_8)) b.append(String.format("%02x", c));
        return b.toString();
    }

    public static void main(String[] args) throws Exception {
        write("broker-keys.tsv", AbstractKafkaConfig.CONFIG_DEF.configKeys());
        write("topic-keys.tsv", LogConfig.configKeys());
        refusals();
        properties();
    }
}
