// SPDX-License-Identifier: Apache-2.0

import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.*;
import org.apache.kafka.coordinator.group.modern.*;

/**
 * Runs the assignors of Apache Kafka 4.4 on random groups and prints what they
 * were given and what they gave. kafka.txt is its output:
 *
 * java -cp "$KAFKA_LIBS/*" testdata/Assign.java 300 > testdata/kafka.txt
 */
public class Assign {
    static final Random random = new Random(1);

    public static void main(String[] args) {
        int cases = Integer.parseInt(args[0]);
        for (int i = 0; i < cases; i++) {
            boolean same = random.nextBoolean();
            int[] partitions = new int[1 + random.nextInt(5)];
            for (int t = 0; t < partitions.length; t++) partitions[t] = 1 + random.nextInt(12);
            chain(same, partitions);
        }
    }

    /** A group as it goes on: members come, leave and change their topics. */
    static void chain(boolean same, int[] partitions) {
        PartitionAssignor assignor = random.nextInt(4) == 0 ? new RangeAssignor() : new UniformAssignor();
        TreeMap<String, TreeMap<Uuid, Set<Integer>>> had = new TreeMap<>();
        for (int step = 0; step < 4; step++) {
            int members = 1 + random.nextInt(7);
            TreeMap<String, MemberSubscriptionAndAssignmentImpl> specs = new TreeMap<>();
            TreeSet<Uuid> all = topics(partitions.length);
            Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
            System.out.println("group " + assignor.name() + " " + (same ? "homogeneous" : "heterogeneous"));
            for (int t = 0; t < partitions.length; t++) System.out.println("topic " + (t + 1) + " " + partitions[t]);
            while (specs.size() < members) {
                String id = "m" + random.nextInt(9);
                if (specs.containsKey(id)) continue;
                Optional<String> instance = id.compareTo("m3") < 0 ? Optional.of("i" + (9 - id.charAt(1))) : Optional.empty();
                TreeSet<Uuid> topics = same ? all : topics(partitions.length);
                TreeMap<Uuid, Set<Integer>> own = had.getOrDefault(id, new TreeMap<>());
                own.forEach((topic, ps) -> ps.forEach(p -> inverted.computeIfAbsent(topic, k -> new HashMap<>()).put(p, id)));
                specs.put(id, new MemberSubscriptionAndAssignmentImpl(Optional.empty(), instance, topics, new Assignment(own)));
            }
            specs.forEach((id, m) -> System.out.println("member " + id + " " + m.instanceId().orElse("-") + " reads " + show(m.subscribedTopicIds()) + " had " + show(m.partitions())));
            GroupAssignment result = assignor.assign(
                new GroupSpecImpl(specs, same ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS, inverted),
                new SubscribedTopicDescriber() {
                    public int numPartitions(Uuid topic) { return partitions[(int) topic.getLeastSignificantBits() - 1]; }
                    public Set<String> racksForPartition(Uuid topic, int partition) { return Set.of(); }
                });
            had.clear();
            for (String id : specs.keySet()) {
                TreeMap<Uuid, Set<Integer>> got = new TreeMap<>();
                MemberAssignment a = result.members().get(id);
                if (a != null) a.partitions().forEach((topic, ps) -> { if (!ps.isEmpty()) got.put(topic, new TreeSet<>(ps)); });
                System.out.println("gets " + id + " " + show(got));
                had.put(id, got);
            }
        }
    }

    static TreeSet<Uuid> topics(int n) {
        TreeSet<Uuid> topics = new TreeSet<>();
        int first = 1 + random.nextInt(n);
        for (int t = first; t <= n; t++) if (t == first || random.nextInt(3) > 0) topics.add(new Uuid(0, t));
        return topics;
    }

    static String show(Set<Uuid> topics) {
        StringJoiner s = new StringJoiner(",");
        for (Uuid t : topics) s.add("" + t.getLeastSignificantBits());
        return s.toString();
    }

    static String show(Map<Uuid, Set<Integer>> assignment) {
        StringJoiner s = new StringJoiner(" ", "[", "]");
        new TreeMap<>(assignment).forEach((t, ps) -> { for (int p : new TreeSet<>(ps)) s.add(t.getLeastSignificantBits() + "-" + p); });
        return s.toString();
    }
}
