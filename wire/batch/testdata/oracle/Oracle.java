// SPDX-License-Identifier: Apache-2.0

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.stream.Collectors;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.BufferSupplier;
import org.apache.kafka.common.utils.internals.PrimitiveRef;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

/**
 * Asks Apache Kafka 4.4.0 what it makes of the batches in a file of cases:
 *
 *   go test ./wire/batch -run TestAgainstKafka -cases cases.txt
 *   java -cp 'libs/*' Oracle.java cases.txt > wire/batch/testdata/oracle/kafka-4.4.0.txt
 *
 * The checks between the request and LogValidator (base offset, size, CRC) stand in UnifiedLog, which needs a whole
 * log; they are repeated here in its order.
 */
public class Oracle {
    static final LogValidator.MetricsRecorder NO_METRICS = new LogValidator.MetricsRecorder() {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    };

    public static void main(String[] args) throws Exception {
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            if (line.isEmpty()) continue;
            System.out.println(line + "\t" + judge(line.split("\t", -1)));
        }
    }

    static String judge(String[] f) {
        try {
            return accept(f);
        } catch (RecordValidationException e) {
            return Errors.forException(e.invalidException()).name() + " " + e.recordErrors().stream()
                .map(r -> String.valueOf(r.batchIndex)).collect(Collectors.joining(","));
        } catch (Throwable e) {
            return Errors.forException(e).name();
        }
    }

    static String accept(String[] f) {
        short version = Short.parseShort(f[1]);
        int codec = Integer.parseInt(f[2]);
        boolean compacted = f[3].equals("compacted");
        TimestampType type = TimestampType.forName(f[4]);
        long before = Long.parseLong(f[5]), after = Long.parseLong(f[6]), now = Long.parseLong(f[7]);
        int recordMax = Integer.parseInt(f[8]), messageMax = Integer.parseInt(f[9]);
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(f[10])));
        ProduceRequest.validateRecords(version, records);
        RecordBatch first = null;
        for (MutableRecordBatch b : records.batches()) {
            if (b.baseOffset() != 0) return "INVALID_RECORD";
            if (b.sizeInBytes() > messageMax) return "MESSAGE_TOO_LARGE";
            b.ensureValid();
            if (first == null) first = b;
        }
        CompressionType source = CompressionType.forId(first.compressionType().id);
        Compression target = codec < 0 ? Compression.of(source).build() : Compression.of(CompressionType.forId(codec)).build();
        LogValidator v = new LogValidator(records, new TopicPartition("t", 0), new Fixed(now), source, target, compacted,
            (byte) 2, type, before, after, 0, AppendOrigin.CLIENT, recordMax);
        LogValidator.ValidationResult r = v.validateMessagesAndAssignOffsets(PrimitiveRef.ofLong(0), NO_METRICS, BufferSupplier.NO_CACHING);
        StringBuilder s = new StringBuilder("OK");
        for (RecordBatch b : r.validatedRecords().batches()) {
            b.ensureValid();
            s.append(' ').append(b.compressionType().name).append(' ').append(b.timestampType()).append(' ').append(b.maxTimestamp())
                .append(' ').append(b.lastOffset()).append(' ').append(b.producerId()).append(' ').append(b.isTransactional());
            for (Record rec : b) {
                s.append(' ').append(rec.offset()).append(':').append(rec.timestamp()).append(':').append(rec.keySize())
                    .append(':').append(rec.valueSize()).append(':').append(rec.headers().length);
            }
        }
        return s.toString();
    }

    record Fixed(long now) implements Time {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1_000_000; }
        public void sleep(long ms) { }
        public void waitObject(Object o, java.util.function.Supplier<Boolean> c, long d) { }
        public org.apache.kafka.common.utils.Timer timer(long ms) { throw new UnsupportedOperationException(); }
    }
}
