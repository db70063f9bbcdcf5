// SPDX-License-Identifier: Apache-2.0

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;

import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.image.MetadataDelta;
import org.apache.kafka.image.MetadataImage;
import org.apache.kafka.image.MetadataProvenance;
import org.apache.kafka.image.writer.ImageWriterOptions;
import org.apache.kafka.image.writer.RecordListWriter;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.server.common.EligibleLeaderReplicasVersion;

/**
 * Replays histories of metadata records by Apache Kafka's own image, and writes them with the records of the snapshot that it makes.
 *
 * <pre>
 * go test ./cluster/controller -run TestWriteHistories -histories histories.txt
 * java -cp 'kafka/libs/*' cluster/image/testdata/Snapshots.java histories.txt > cluster/image/testdata/histories.vectors
 * </pre>
 *
 * A line "history" starts one; "+" goes before a record and "=" before one of the snapshot, which are sorted.
 */
public class Snapshots {
    public static void main(String[] args) throws Exception {
        List<ApiMessageAndVersion> history = null;
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            if (line.equals("history")) {
                finish(history);
                history = new ArrayList<>();
                System.out.println(line);
                continue;
            }
            System.out.println(line);
            byte[] value = HexFormat.of().parseHex(line.substring(2));
            history.add(MetadataRecordSerde.INSTANCE.read(new ByteBufferAccessor(ByteBuffer.wrap(value)), value.length));
        }
        finish(history);
    }

    static void finish(List<ApiMessageAndVersion> history) {
        if (history == null) return;
        MetadataImage image = MetadataImage.EMPTY;
        for (ApiMessageAndVersion record : history) {
            MetadataDelta delta = new MetadataDelta.Builder().setImage(image).build();
            delta.replay(record.message());
            image = delta.apply(new MetadataProvenance(history.size(), 1, 0, true));
        }
        RecordListWriter writer = new RecordListWriter();
        boolean elr = image.features().finalizedVersions().getOrDefault(EligibleLeaderReplicasVersion.FEATURE_NAME, (short) 0) > 0;
        image.write(writer, new ImageWriterOptions.Builder(image.features().metadataVersionOrThrow()).setEligibleLeaderReplicasEnabled(elr).build());
        List<String> lines = new ArrayList<>();
        for (ApiMessageAndVersion record : writer.records()) {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer buffer = ByteBuffer.allocate(MetadataRecordSerde.INSTANCE.recordSize(record, cache));
            MetadataRecordSerde.INSTANCE.write(record, cache, new ByteBufferAccessor(buffer));
            lines.add("= " + HexFormat.of().formatHex(buffer.array()));
        }
        Collections.sort(lines);
        lines.forEach(System.out::println);
    }
}
