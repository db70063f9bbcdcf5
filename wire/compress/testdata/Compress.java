// SPDX-License-Identifier: Apache-2.0

import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.utils.internals.ByteBufferOutputStream;

/**
 * Writes what Apache Kafka 4.4.0's producer makes of 200,000 bytes, to kafka-4.4.0.CODEC beside it:
 *
 *   java -cp 'libs/*' Compress.java
 */
public class Compress {
    public static void main(String[] args) throws Exception {
        byte[] text = new byte[200_000];
        int x = 1;
        for (int i = 0; i < text.length; i++) {
            if (i % 64 == 0) x = x * 1664525 + 1013904223;
            text[i] = (byte) ('a' + ((x >>> 16) + i % 64 / 8) % 26);
        }
        for (CompressionType type : CompressionType.values()) {
            if (type == CompressionType.NONE) continue;
            ByteBufferOutputStream out = new ByteBufferOutputStream(1024);
            try (OutputStream w = Compression.of(type).build().wrapForOutput(out, (byte) 2)) {
                w.write(text);
            }
            out.buffer().flip();
            byte[] b = new byte[out.buffer().remaining()];
            out.buffer().get(b);
            Files.write(Path.of("kafka-4.4.0." + type.name), b);
        }
    }
}
