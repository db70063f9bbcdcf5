// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Collectors;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.metadata.placement.ClusterDescriber;
import org.apache.kafka.metadata.placement.PlacementSpec;
import org.apache.kafka.metadata.placement.StripedReplicaPlacer;
import org.apache.kafka.metadata.placement.UsableBroker;

/**
 * Writes where Apache Kafka's controller places the replicas of new partitions, with a source of randomness that gives only zeros.
 *
 * <pre>
 * java -cp 'kafka/libs/*' cluster/controller/testdata/Placements.java > cluster/controller/testdata/placements.vectors
 * </pre>
 *
 * A line holds the brokers as id/rack, with ! behind fenced ones and - for no rack; the replication factor; the replicas of each
 * partition.
 */
public class Placements {
    public static void main(String[] args) {
        Random random = new Random(7);
        Random zeros = new Random() {
            @Override
            public int nextInt(int bound) {
                return 0;
            }
        };
        for (int i = 0; i < 80; i++) {
            int racks = random.nextInt(4);
            List<UsableBroker> brokers = new ArrayList<>();
            for (int id = 1, n = 1 + random.nextInt(8); id <= n; id++) {
                Optional<String> rack = racks == 0 || random.nextInt(9) == 0 ? Optional.empty() : Optional.of("r" + random.nextInt(racks));
                brokers.add(new UsableBroker(id, rack, id > 1 && random.nextInt(4) == 0));
            }
            int factor = 1 + random.nextInt(Math.min(4, brokers.size()));
            ClusterDescriber cluster = new ClusterDescriber() {
                @Override
                public java.util.Iterator<UsableBroker> usableBrokers() {
                    return brokers.iterator();
                }

                @Override
                public Uuid defaultDir(int brokerId) {
                    return Uuid.ZERO_UUID;
                }
            };
            String placed = new StripedReplicaPlacer(zeros).place(new PlacementSpec(0, 12, (short) factor), cluster).assignments().stream().
                map(a -> a.replicas().stream().map(String::valueOf).collect(Collectors.joining(","))).collect(Collectors.joining(" "));
            String described = brokers.stream().map(b -> b.id() + "/" + b.rack().orElse("-") + (b.fenced() ? "!" : "")).collect(Collectors.joining(","));
            System.out.println(described + " " + factor + " " + placed);
        }
    }
}
