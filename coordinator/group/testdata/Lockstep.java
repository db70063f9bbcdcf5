// SPDX-License-Identifier: Apache-2.0
package org.apache.kafka.coordinator.group;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.security.Provider;
import java.security.SecureRandomSpi;
import java.security.Security;
import java.util.*;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.requests.JoinGroupResponse;
import org.apache.kafka.common.requests.TransactionResult;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.LogContext;
import org.apache.kafka.coordinator.common.runtime.*;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.*;
import org.apache.kafka.coordinator.group.metrics.GroupCoordinatorMetrics;
import org.apache.kafka.coordinator.group.modern.*;
import org.apache.kafka.coordinator.group.modern.share.ShareGroupConfig;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.timeline.SnapshotRegistry;

/**
 * One partition of Apache Kafka's group coordinator, without a broker: lines in,
 * lines out, and a time that the lines tell.
 *
 * new KEY=VALUE ...          starts anew
 * topics VERSION NAME:ID:PARTITIONS ...   the metadata from now on
 * at MS                      lets the time pass
 * send TOKEN RANDOM KEY VERSION CLIENT HEX    a request, as on the wire; RANDOM is the number before that of the next random id
 * load                       reads the log, anew if it has been read
 * marker PRODUCER commit|abort   ends a transaction
 *
 * Each answers with what came of it: "at MS" before an event of its own, "rec
 * KEY VALUE", "resp TOKEN HEX", and "done".
 */
public class Lockstep {
    static final PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false);
    static Object service;
    static final GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();

    public static class Uniform extends Sorted implements ConsumerGroupPartitionAssignor {
        public Uniform() { super(new UniformAssignor()); }
    }

    public static class Range extends Sorted implements ConsumerGroupPartitionAssignor {
        public Range() { super(new RangeAssignor()); }
    }

    /** Members and topics in sorted order, so that no hash table decides. */
    static class Sorted {
        final PartitionAssignor inner;
        Sorted(PartitionAssignor inner) { this.inner = inner; }
        public String name() { return inner.name(); }
        public GroupAssignment assign(GroupSpec spec, SubscribedTopicDescriber topics) {
            TreeMap<String, MemberSubscriptionAndAssignmentImpl> members = new TreeMap<>();
            Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
            for (String id : spec.memberIds()) {
                MemberSubscription s = spec.memberSubscription(id);
                TreeMap<Uuid, Set<Integer>> own = new TreeMap<>();
                spec.memberAssignment(id).partitions().forEach((t, ps) -> {
                    own.put(t, new TreeSet<>(ps));
                    ps.forEach(p -> inverted.computeIfAbsent(t, k -> new HashMap<>()).put(p, id));
                });
                members.put(id, new MemberSubscriptionAndAssignmentImpl(s.rackId(), s.instanceId(), new TreeSet<>(s.subscribedTopicIds()), new Assignment(own)));
            }
            return inner.assign(new GroupSpecImpl(members, spec.subscriptionType(), inverted), topics);
        }
    }

    /** Numbers in a row instead of chance, for member ids. */
    public static class Row extends SecureRandomSpi {
        static long last;
        protected void engineSetSeed(byte[] seed) { }
        protected void engineNextBytes(byte[] bytes) {
            Arrays.fill(bytes, (byte) 0);
            if (bytes.length == 16) ByteBuffer.wrap(bytes).putLong(8, ++last);
        }
        protected byte[] engineGenerateSeed(int n) { return new byte[n]; }
    }

    static class RowProvider extends Provider {
        RowProvider() {
            super("row", "1", "numbers in a row");
            put("SecureRandom.Row", Row.class.getName());
        }
    }

    static class Clock implements Time {
        long ms;
        public long milliseconds() { return ms; }
        public long nanoseconds() { return ms * 1_000_000; }
        public void sleep(long n) { }
    }

    record Task(String key, long dueMs, long order, CoordinatorTimer.TimeoutOperation<CoordinatorRecord> operation) { }

    class Timers implements CoordinatorTimer<CoordinatorRecord> {
        final Map<String, Task> tasks = new HashMap<>();
        long order;
        public void schedule(String key, long delay, TimeUnit unit, boolean retry, TimeoutOperation<CoordinatorRecord> operation) {
            tasks.put(key, new Task(key, clock.ms + unit.toMillis(delay), loading ? 0 : ++order, operation));
        }
        public void schedule(String key, long delay, TimeUnit unit, boolean retry, long backoff, TimeoutOperation<CoordinatorRecord> operation) {
            schedule(key, delay, unit, retry, operation);
        }
        public void scheduleIfAbsent(String key, long delay, TimeUnit unit, boolean retry, TimeoutOperation<CoordinatorRecord> operation) {
            if (!tasks.containsKey(key)) schedule(key, delay, unit, retry, operation);
        }
        public void cancel(String key) { tasks.remove(key); }
        public boolean isScheduled(String key) { return tasks.containsKey(key); }
        /** Those that were started while loading are in the order of members, not in that of a hash table. */
        Task next() {
            return tasks.values().stream().min(Comparator.comparingLong(Task::dueMs).thenComparingLong(Task::order)
                .thenComparing(t -> t.key.substring(t.key.indexOf("-g-") + 1)).thenComparing(Task::key, Comparator.reverseOrder())).orElse(null);
        }
    }

    class Executor implements CoordinatorExecutor<CoordinatorRecord> {
        final LinkedHashMap<String, Runnable> tasks = new LinkedHashMap<>();
        public <R> boolean schedule(String key, TaskRunnable<R> task, TaskOperation<CoordinatorRecord, R> operation) {
            return tasks.putIfAbsent(key, () -> {
                R result = null;
                Throwable failed = null;
                try { result = task.run(); } catch (Throwable e) { failed = e; }
                tasks.remove(key);
                apply(operation.onComplete(result, failed));
            }) == null;
        }
        public boolean isScheduled(String key) { return tasks.containsKey(key); }
        public void cancel(String key) { tasks.remove(key); }
    }

    record Topic(String name, Uuid id, int partitionCount) implements CoordinatorMetadataImage.TopicMetadata {
        public List<String> partitionRacks(int partition) {
            return new ArrayList<>(name.equals("u") ? List.of("r" + partition % 2, "é", "a") : List.of());
        }
    }

    static class Image implements CoordinatorMetadataImage {
        final long version;
        final Map<String, Topic> byName = new TreeMap<>();
        final Map<Uuid, Topic> byId = new HashMap<>();
        Image(long version) { this.version = version; }
        public Set<Uuid> topicIds() { return byId.keySet(); }
        public Set<String> topicNames() { return byName.keySet(); }
        public Optional<TopicMetadata> topicMetadata(String name) { return Optional.ofNullable(byName.get(name)); }
        public Optional<TopicMetadata> topicMetadata(Uuid id) { return Optional.ofNullable(byId.get(id)); }
        public CoordinatorMetadataDelta emptyDelta() { return CoordinatorMetadataDelta.EMPTY; }
        public long version() { return version; }
        public boolean isEmpty() { return byName.isEmpty(); }
    }

    record Delta(List<Uuid> created, List<Uuid> changed, Set<Uuid> deleted, Image image) implements CoordinatorMetadataDelta {
        public Collection<Uuid> createdTopicIds() { return created; }
        public Collection<Uuid> changedTopicIds() { return changed; }
        public Set<Uuid> deletedTopicIds() { return deleted; }
    }

    record Context(String clientId, int requestType, int requestVersion) implements AuthorizableRequestContext {
        public String listenerName() { return "l"; }
        public SecurityProtocol securityProtocol() { return SecurityProtocol.PLAINTEXT; }
        public KafkaPrincipal principal() { return KafkaPrincipal.ANONYMOUS; }
        public InetAddress clientAddress() {
            try { return InetAddress.getByAddress(new byte[] {(byte) 192, 0, 2, 1}); } catch (Exception e) { throw new RuntimeException(e); }
        }
        public int correlationId() { return 0; }
    }

    final Clock clock = new Clock();
    Map<String, String> settings = Map.of();
    Image image = new Image(0);
    Timers timers = new Timers();
    Executor executor = new Executor();
    SnapshotRegistry registry;
    GroupCoordinatorShard shard;
    GroupCoordinatorConfig config;
    /** A record, or the marker of a transaction, with its producer. */
    record Logged(byte[] key, byte[] value, long producer, TransactionResult marker) { }

    final List<Logged> log = new ArrayList<>();
    final Map<String, CompletableFuture<?>> waiting = new LinkedHashMap<>();
    long written;
    boolean loading;

    void load() {
        timers = new Timers();
        executor = new Executor();
        config = GroupCoordinatorConfig.fromProps(settings);
        GroupConfigManager groups = new GroupConfigManager(config, new ShareGroupConfig(new org.apache.kafka.common.config.AbstractConfig(org.apache.kafka.common.utils.Utils.mergeConfigs(List.of(ShareGroupConfig.CONFIG_DEF, GroupCoordinatorConfig.CONFIG_DEF)), Map.of(), false)));
        registry = new SnapshotRegistry(new LogContext());
        shard = (GroupCoordinatorShard) new GroupCoordinatorShard.Builder(config, groups).withAuthorizerPlugin(Optional.empty())
            .withLogContext(new LogContext()).withSnapshotRegistry(registry).withTime(clock).withTimer(timers).withExecutor(executor)
            .withCoordinatorMetrics(new GroupCoordinatorMetrics()).withTopicPartition(new TopicPartition("__consumer_offsets", 0)).build();
        long offset = 0;
        for (Logged r : log) {
            if (r.marker != null) {
                shard.replayEndTransactionMarker(r.producer, (short) 0, r.marker);
                offset++;
                continue;
            }
            shard.replay(offset++, r.producer, (short) (r.producer < 0 ? -1 : 0), serde.deserialize(ByteBuffer.wrap(r.key), r.value == null ? null : ByteBuffer.wrap(r.value)));
        }
        written = log.size();
        registry.idempotentCreateSnapshot(written);
        loading = true;
        shard.onLoaded(image);
        loading = false;
    }

    void apply(CoordinatorResult<?, CoordinatorRecord> result) { apply(result, -1); }

    void apply(CoordinatorResult<?, CoordinatorRecord> result, long producer) {
        for (CoordinatorRecord r : result.records()) {
            byte[] key = serde.serializeKey(r), value = serde.serializeValue(r);
            out.println("rec " + hex(key) + " " + (value == null ? "-" : hex(value)));
            log.add(new Logged(key, value, producer, null));
            if (result.replayRecords()) shard.replay(written, producer, (short) (producer < 0 ? -1 : 0), r);
            written++;
        }
        committed();
        if (result.appendFuture() != null) result.appendFuture().complete(null);
    }

    void committed() {
        registry.idempotentCreateSnapshot(written);
        registry.deleteSnapshotsUpTo(written);
    }

    void marker(long producer, TransactionResult result) {
        log.add(new Logged(null, null, producer, result));
        shard.replayEndTransactionMarker(producer, (short) 0, result);
        written++;
        committed();
    }

    void tasks() {
        while (!executor.tasks.isEmpty()) {
            out.println("at " + clock.ms);
            executor.tasks.values().iterator().next().run();
        }
    }

    void until(long ms) {
        for (;;) {
            tasks();
            Task t = timers.next();
            if (t == null || t.dueMs > ms) break;
            clock.ms = Math.max(clock.ms, t.dueMs);
            timers.tasks.remove(t.key);
            out.println("at " + clock.ms);
            apply(t.operation.generateRecords());
            answer();
        }
        clock.ms = ms;
    }

    void topics(String[] words) {
        Image now = new Image(Long.parseLong(words[1]));
        for (int i = 2; i < words.length; i++) {
            String[] f = words[i].split(":");
            ByteBuffer id = ByteBuffer.wrap(unhex(f[1]));
            Topic t = new Topic(f[0], new Uuid(id.getLong(), id.getLong()), Integer.parseInt(f[2]));
            now.byName.put(t.name, t);
            now.byId.put(t.id, t);
        }
        List<Uuid> created = new ArrayList<>(), changed = new ArrayList<>();
        Set<Uuid> deleted = new HashSet<>();
        List<GroupCoordinatorShard.DeletedTopic> gone = new ArrayList<>();
        for (Topic t : now.byId.values()) {
            Topic had = image.byId.get(t.id);
            if (had == null) created.add(t.id);
            if (!t.equals(had)) changed.add(t.id);
        }
        for (Topic t : image.byId.values()) {
            if (!now.byId.containsKey(t.id)) {
                deleted.add(t.id);
                gone.add(new GroupCoordinatorShard.DeletedTopic(t.id, t.name));
            }
        }
        Image before = image;
        image = now;
        if (shard == null) return;
        shard.onMetadataUpdate(new Delta(created, changed, deleted, before), now);
        if (!gone.isEmpty()) apply(shard.onTopicsDeleted(gone));
    }

    /** What Kafka's service looks at before it asks a partition. */
    void validate(ConsumerGroupHeartbeatRequestData q, int version) throws Exception {
        if (service == null) {
            Field unsafe = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
            unsafe.setAccessible(true);
            service = ((sun.misc.Unsafe) unsafe.get(null)).allocateInstance(GroupCoordinatorService.class);
            Field assignors = GroupCoordinatorService.class.getDeclaredField("consumerGroupAssignors");
            assignors.setAccessible(true);
            assignors.set(service, Set.of("uniform", "range"));
        }
        Method m = GroupCoordinatorService.class.getDeclaredMethod("throwIfConsumerGroupHeartbeatRequestIsInvalid", ConsumerGroupHeartbeatRequestData.class, int.class);
        m.setAccessible(true);
        try { m.invoke(service, q, version); } catch (InvocationTargetException e) { throw (Exception) e.getCause(); }
    }

    interface Work<T> { CoordinatorResult<T, CoordinatorRecord> run() throws Exception; }

    void send(String[] w) throws Exception {
        String token = w[1];
        Row.last = Long.parseLong(w[2]);
        short key = Short.parseShort(w[3]), version = Short.parseShort(w[4]);
        Context by = new Context(w[5], key, version);
        ByteBufferAccessor in = new ByteBufferAccessor(ByteBuffer.wrap(unhex(w[6])));
        switch (key) {
            case 68 -> {
                ConsumerGroupHeartbeatRequestData q = new ConsumerGroupHeartbeatRequestData(in, version);
                simple(token, version, () -> {
                    validate(q, version);
                    return shard.consumerGroupHeartbeat(by, q);
                }, e -> new ConsumerGroupHeartbeatResponseData().setErrorCode(e.code()));
            }
            case 69 -> {
                ConsumerGroupDescribeRequestData q = new ConsumerGroupDescribeRequestData(in, version);
                respond(token, version, new ConsumerGroupDescribeResponseData().setGroups(shard.consumerGroupDescribe(q.groupIds(), written)));
            }
            case 11 -> {
                JoinGroupRequestData q = new JoinGroupRequestData(in, version);
                CompletableFuture<JoinGroupResponseData> f = new CompletableFuture<>();
                waiting.put(token + " " + version, f);
                try {
                    CoordinatorResult<Boolean, CoordinatorRecord> r = shard.classicGroupJoin(by, q, f, true);
                    apply(r);
                } catch (Throwable e) {
                    f.complete(new JoinGroupResponseData().setErrorCode(code(e))); // as the service does
                }
            }
            case 14 -> {
                SyncGroupRequestData q = new SyncGroupRequestData(in, version);
                CompletableFuture<SyncGroupResponseData> f = new CompletableFuture<>();
                waiting.put(token + " " + version, f);
                try { apply(shard.classicGroupSync(by, q, f)); } catch (Throwable e) { f.complete(new SyncGroupResponseData().setErrorCode(code(e))); }
            }
            case 12 -> {
                HeartbeatRequestData q = new HeartbeatRequestData(in, version);
                simple(token, version, () -> shard.classicGroupHeartbeat(by, q), e -> new HeartbeatResponseData().setErrorCode(e.code()));
            }
            case 13 -> {
                LeaveGroupRequestData q = new LeaveGroupRequestData(in, version);
                simple(token, version, () -> shard.classicGroupLeave(by, q), e -> e != Errors.UNKNOWN_MEMBER_ID ? new LeaveGroupResponseData().setErrorCode(e.code())
                    : new LeaveGroupResponseData().setMembers(q.members().stream().map(m -> new LeaveGroupResponseData.MemberResponse()
                        .setMemberId(m.memberId()).setGroupInstanceId(m.groupInstanceId()).setErrorCode(e.code())).toList()));
            }
            case 8 -> {
                OffsetCommitRequestData q = new OffsetCommitRequestData(in, version);
                q.topics().forEach(t -> image.topicMetadata(t.name()).ifPresent(known -> t.setTopicId(known.id()))); // as its caller does
                simple(token, version, () -> shard.commitOffset(by, q), e -> org.apache.kafka.common.requests.OffsetCommitRequest.getErrorResponse(q, e));
            }
            case 9 -> {
                OffsetFetchRequestData q = new OffsetFetchRequestData(in, version);
                OffsetFetchResponseData r = new OffsetFetchResponseData();
                for (OffsetFetchRequestData.OffsetFetchRequestGroup g : q.groups()) {
                    try { r.groups().add(shard.fetchOffsets(g, q.requireStable() ? Long.MAX_VALUE : written)); } catch (Throwable e) {
                        r.groups().add(new OffsetFetchResponseData.OffsetFetchResponseGroup().setGroupId(g.groupId()).setErrorCode(code(e)));
                    }
                }
                respond(token, version, r);
            }
            case 28 -> {
                TxnOffsetCommitRequestData q = new TxnOffsetCommitRequestData(in, version);
                q.topics().forEach(t -> image.topicMetadata(t.name()).ifPresent(known -> t.setTopicId(known.id())));
                TxnOffsetCommitResponseData answer;
                try {
                    CoordinatorResult<TxnOffsetCommitResponseData, CoordinatorRecord> r = shard.commitTransactionalOffset(by, q);
                    apply(r, q.producerId());
                    answer = r.response();
                } catch (Throwable e) {
                    answer = org.apache.kafka.common.requests.TxnOffsetCommitRequest.getErrorResponse(q, Errors.forException(e));
                    if (Errors.forException(e) == Errors.UNKNOWN_SERVER_ERROR) e.printStackTrace();
                }
                respond(token, version, answer);
            }
            case 47 -> {
                OffsetDeleteRequestData q = new OffsetDeleteRequestData(in, version);
                simple(token, version, () -> shard.deleteOffsets(by, q), e -> new OffsetDeleteResponseData().setErrorCode(e.code()));
            }
            case 42 -> {
                DeleteGroupsRequestData q = new DeleteGroupsRequestData(in, version);
                CoordinatorResult<DeleteGroupsResponseData.DeletableGroupResultCollection, CoordinatorRecord> r = shard.deleteGroups(by, q.groupsNames());
                apply(r);
                respond(token, version, new DeleteGroupsResponseData().setResults(r.response()));
            }
            default -> throw new IllegalArgumentException("key " + key);
        }
        answer();
    }

    <T extends ApiMessage> void simple(String token, short version, Work<T> work, java.util.function.Function<Errors, T> failed) {
        T answer;
        try {
            CoordinatorResult<T, CoordinatorRecord> r = work.run();
            apply(r);
            answer = r.response();
        } catch (Throwable e) {
            answer = failed.apply(Errors.forException(e));
            if (Errors.forException(e) == Errors.UNKNOWN_SERVER_ERROR) e.printStackTrace();
        }
        respond(token, version, answer);
    }

    static short code(Throwable e) {
        if (Errors.forException(e) == Errors.UNKNOWN_SERVER_ERROR) e.printStackTrace();
        return Errors.forException(e).code();
    }

    void answer() throws RuntimeException {
        for (Iterator<Map.Entry<String, CompletableFuture<?>>> i = waiting.entrySet().iterator(); i.hasNext();) {
            Map.Entry<String, CompletableFuture<?>> e = i.next();
            if (!e.getValue().isDone()) continue;
            i.remove();
            String[] w = e.getKey().split(" ");
            respond(w[0], Short.parseShort(w[1]), (ApiMessage) e.getValue().join());
        }
    }

    void respond(String token, short version, ApiMessage answer) {
        if (answer instanceof JoinGroupResponseData j) answer = new JoinGroupResponse(j, version).data();
        ByteBuffer b = MessageUtil.toByteBufferAccessor(answer, version).buffer();
        byte[] bytes = new byte[b.remaining()];
        b.get(bytes);
        out.println("resp " + token + " " + hex(bytes));
    }

    static String hex(byte[] b) { return HexFormat.of().formatHex(b); }
    static byte[] unhex(String s) { return HexFormat.of().parseHex(s); }

    public static void main(String[] args) throws Exception {
        Security.insertProviderAt(new RowProvider(), 1);
        Lockstep l = null;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            String[] w = line.split(" ");
            switch (w[0]) {
                case "new" -> {
                    l = new Lockstep();
                    l.clock.ms = Long.parseLong(w[1]);
                    Map<String, String> s = new HashMap<>();
                    for (int i = 2; i < w.length; i++) s.put(w[i].substring(0, w[i].indexOf('=')), w[i].substring(w[i].indexOf('=') + 1));
                    l.settings = s;
                }
                case "topics" -> l.topics(w);
                case "load" -> {
                    if (l.shard != null) l.shard.onUnloaded();
                    l.answer();
                    l.load();
                }
                case "marker" -> l.marker(Long.parseLong(w[1]), w[2].equals("commit") ? TransactionResult.COMMIT : TransactionResult.ABORT);
                case "at" -> l.until(Long.parseLong(w[1]));
                case "send" -> l.send(w);
                default -> throw new IllegalArgumentException(line);
            }
            out.println("done");
            out.flush();
        }
    }
}
