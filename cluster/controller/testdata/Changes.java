// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Collectors;

import java.nio.ByteBuffer;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.controller.PartitionChangeBuilder;
import org.apache.kafka.metadata.LeaderRecoveryState;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.metadata.PartitionRegistration;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.server.common.MetadataVersion;

/**
 * Writes what Apache Kafka's controller makes of random states of a partition.
 *
 * <pre>
 * java -cp 'kafka/libs/*' cluster/controller/testdata/Changes.java > cluster/controller/testdata/changes.vectors
 * </pre>
 *
 * A line holds: metadata.version level, min ISR, ELR enabled, election (0 preferred, 1 online, 2 unclean), leader, recovering,
 * replicas, ISR, removing, adding, ELR, last known ELR, target ISR, target recovering, brokers that may lead, broker of an unclean
 * shutdown or -1; then the PartitionChangeRecord in hexadecimal, or none. Lists are joined by commas; - is the empty one. The
 * directory of a replica is the id (broker, broker).
 */
public class Changes {
    static final Random random = new Random(966);

    public static void main(String[] args) throws Exception {
        short[] levels = {7, 11, 12, 16, 17, 22, 23, 33};
        for (int i = 0; i < 600; ) {
            short level = levels[i % 2 == 0 ? 7 : random.nextInt(levels.length)];
            boolean elrEnabled = level >= 23 && random.nextBoolean();
            List<Integer> replicas = shuffled(List.of(1, 2, 3, 4, 5)).subList(0, 1 + random.nextInt(4));
            List<Integer> removing = List.of(), adding = List.of();
            if (replicas.size() > 1 && random.nextInt(4) == 0) {
                removing = List.of(replicas.get(random.nextInt(replicas.size())));
                if (random.nextBoolean()) {
                    List<Integer> gone = removing;
                    adding = some(replicas.stream().filter(r -> !gone.contains(r)).toList(), 0.5);
                }
            }
            List<Integer> isr = some(replicas, 0.6);
            if (isr.isEmpty() && !elrEnabled) continue;
            List<Integer> isrNow = isr;
            List<Integer> elr = elrEnabled ? some(replicas.stream().filter(r -> !isrNow.contains(r)).toList(), 0.5) : List.of();
            elr = elr.stream().sorted().toList();
            int leader = isr.isEmpty() || random.nextInt(4) == 0 ? -1 : isr.get(random.nextInt(isr.size()));
            List<Integer> last = elrEnabled && leader == -1 && random.nextBoolean() ? List.of(replicas.get(random.nextInt(replicas.size()))) : List.of();
            boolean recovering = isr.size() == 1 && random.nextInt(5) == 0;
            int unclean = elrEnabled && random.nextInt(4) == 0 ? replicas.get(random.nextInt(replicas.size())) : -1;
            List<Integer> target = switch (random.nextInt(3)) {
                case 0 -> isr;
                case 1 -> some(isr, 0.6);
                default -> some(replicas, 0.7);
            };
            int lost = unclean;
            target = target.stream().filter(r -> r != lost).toList();
            boolean targetRecovering = recovering && random.nextBoolean();
            List<Integer> live = some(replicas, 0.7).stream().filter(r -> r != lost).toList();
            int minIsr = 1 + random.nextInt(Math.min(3, replicas.size()));
            PartitionChangeBuilder.Election election = PartitionChangeBuilder.Election.values()[random.nextInt(3)];

            PartitionRegistration partition = new PartitionRegistration.Builder().
                setReplicas(ints(replicas)).setIsr(ints(isr)).setRemovingReplicas(ints(removing)).setAddingReplicas(ints(adding)).
                setElr(ints(elr)).setLastKnownElr(ints(last)).setLeader(leader).setLeaderEpoch(7).setPartitionEpoch(9).
                setDirectories(replicas.stream().map(Changes::dir).toArray(Uuid[]::new)).
                setLeaderRecoveryState(LeaderRecoveryState.of((byte) (recovering ? 1 : 0))).build();
            PartitionChangeBuilder builder = new PartitionChangeBuilder(partition, new Uuid(1, 1), 0, live::contains,
                MetadataVersion.fromFeatureLevel(level), minIsr, elrEnabled).
                setElection(election).setTargetIsr(target).setDefaultDirProvider(Changes::dir).
                setTargetLeaderRecoveryState(LeaderRecoveryState.of((byte) (targetRecovering ? 1 : 0)));
            if (unclean != -1) builder.setUncleanShutdownReplicas(List.of(unclean));
            Optional<ApiMessageAndVersion> record = builder.build();
            System.out.println(String.join(" ", "" + level, "" + minIsr, elrEnabled ? "1" : "0", "" + election.ordinal(), "" + leader, recovering ? "1" : "0",
                text(replicas), text(isr), text(removing), text(adding), text(elr), text(last), text(target), targetRecovering ? "1" : "0",
                text(live), "" + unclean, record.isPresent() ? hex(record.get()) : "none"));
            i++;
        }
    }

    static Uuid dir(int broker) {
        return new Uuid(broker, broker);
    }

    static String hex(ApiMessageAndVersion data) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(MetadataRecordSerde.INSTANCE.recordSize(data, cache));
        MetadataRecordSerde.INSTANCE.write(data, cache, new ByteBufferAccessor(buffer));
        return HexFormat.of().formatHex(buffer.array());
    }

    static List<Integer> shuffled(List<Integer> list) {
        List<Integer> copy = new ArrayList<>(list);
        Collections.shuffle(copy, random);
        return copy;
    }

    static List<Integer> some(List<Integer> list, double probability) {
        return list.stream().filter(r -> random.nextDouble() < probability).collect(Collectors.toList());
    }

    static int[] ints(List<Integer> list) {
        return list.stream().mapToInt(Integer::intValue).toArray();
    }

    static String text(List<Integer> list) {
        return list.isEmpty() ? "-" : list.stream().map(String::valueOf).collect(Collectors.joining(","));
    }
}
