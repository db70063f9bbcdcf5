// SPDX-License-Identifier: Apache-2.0

// Copies the batches of the partition folder in its first argument, in the form that a follower gets them, into a
// log that Apache Kafka 4.4 writes in the folder of its second: so the files in t-0 came to be.
//
//	javac -cp "$KAFKA/libs/*" Copy.java && java -cp "$KAFKA/libs/*:." Copy t-0 /tmp/new/t-0

import java.io.File;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class Copy {
    public static void main(String[] args) throws Exception {
        File to = new File(args[1]);
        to.mkdirs();
        Map<String, String> config = Map.of("internal.segment.bytes", "6000", "index.interval.bytes", "300", "segment.index.bytes", "4096");
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        UnifiedLog log = UnifiedLog.create(to, new LogConfig(config), 0L, 0L, scheduler, new BrokerTopicStats(), Time.SYSTEM, 900000,
            new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600000, new LogDirFailureChannel(10), true, Optional.empty());
        File[] files = new File(args[0]).listFiles((dir, name) -> name.endsWith(".log"));
        Arrays.sort(files);
        for (File file : files) {
            try (FileRecords records = FileRecords.open(file)) {
                for (RecordBatch batch : records.batches()) {
                    ByteBuffer buffer = ByteBuffer.allocate(batch.sizeInBytes());
                    batch.writeTo(buffer);
                    buffer.flip();
                    log.appendAsFollower(MemoryRecords.readableRecords(buffer), Integer.MAX_VALUE);
                    log.updateHighWatermark(log.logEndOffset());
                }
            }
        }
        log.prepareActiveSegmentForClose();
        log.close();
        System.exit(0);
    }
}
